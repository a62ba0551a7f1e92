"""What tests of the control side share: a host to ask, on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.daemon import Daemon, free_port, make_key


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd drops its privileges there
    folder = tmp_path / "sshd"
    folder.mkdir()
    one = Daemon(folder, free_port())
    make_key(one.host_key)
    make_key(one.user_key)
    one.start()
    yield one
    one.stop()
