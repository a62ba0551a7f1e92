"""`python -m rota.cli` is `rota`."""

from rota.cli import main

main()
