"""Starts the mirror's command line with another environment file: `driver.py FILE COMMAND...`; for tests that kill."""

import sys
from pathlib import Path

from rota.packs.mirror import mirroring
from rota.packs.mirror.__main__ import main

mirroring.ENVIRONMENT_FILE = Path(sys.argv.pop(1))
sys.exit(main())
