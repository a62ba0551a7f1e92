"""Logs, and the health of the host they come from."""
