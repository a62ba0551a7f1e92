"""Backups: production sends them, the backup host keeps, checks and drills them, databases come back from them."""
