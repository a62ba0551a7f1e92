"""`python -m provision.lab.supervise GROUP COMMAND…`: boots a host again when it restarts itself.

systemd-nspawn leaves that to the service manager that started it, and here none did.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from provision.lab import groups

RESTART = 133  # systemd-nspawn(1): the container asked to be restarted


def supervise(group: str, argv: Sequence[str]) -> int:
    """Run the command in the group until it ends for another reason than a restart; returns its exit code."""
    enter = groups.make(group)
    # Apart from the container: a group of the second version cannot hold both processes and groups with limits.
    groups.make(f"{group}/supervise")()
    os.chdir("/")
    while (code := subprocess.run(argv, preexec_fn=enter, check=False).returncode) == RESTART:
        pass
    return code


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1], sys.argv[2:]))
