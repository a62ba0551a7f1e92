"""What all tests share, whoever starts them.

A shell that starts them in the background has them ignore signals, and so all they start. Where Python is told to keep
no bytecode, each of the hundreds of processes that tests start would compile everything anew.
"""

import os
import signal
import sys


def pytest_configure() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
