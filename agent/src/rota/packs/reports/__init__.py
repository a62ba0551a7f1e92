"""Reports: people's own SQL and Python, run for their clients every night, in a sandbox each."""
