"""Contact with the outside: one outside thing per module."""
