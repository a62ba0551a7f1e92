"""A real sshd on the loopback, for tests of what an operator's machine asks of hosts."""

import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Daemon:
    """One sshd with one host key, on a port that stays the same when it is started again."""

    folder: Path
    port: int
    process: "subprocess.Popen[str] | None" = None
    sockets: list[Path] = field(default_factory=list)

    @property
    def host_key(self) -> Path:
        return self.folder / "host_key"

    @property
    def user_key(self) -> Path:
        return self.folder / "user_key"

    def start(self) -> None:
        settings = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.user_key}.pub",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
        ]
        (self.folder / "sshd_config").write_text("\n".join(settings) + "\n")
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = [self.process.stderr.readline()]
        while "Server listening" not in said[-1]:
            assert said[-1], said
            said.append(self.process.stderr.readline())

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate()
            self.process = None

    def install_anew(self) -> None:
        self.stop()
        self.host_key.unlink()
        make_key(self.host_key)
        self.start()


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], input="y\n", text=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
