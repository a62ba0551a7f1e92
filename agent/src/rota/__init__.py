"""Rota's agent: runs, records and explains the scheduled work of a host."""
