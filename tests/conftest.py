"""What all tests share: a shell that starts them in the background has them ignore signals, and so all they start."""

import signal


def pytest_configure() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
