"""The diary's own management commands."""
