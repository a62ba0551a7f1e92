"""A host of the lab booted once more as a virtual machine: Debian's kernel, control groups of version 2, no container.

What the machine's own kernel decides for the lab's hosts, memory limits above all, can only be tried here. Without
hardware's help QEMU translates each instruction, which takes long, and is the same everywhere.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from provision import lab as labs
from provision.lab.plan import STORE
from provision.lab.programs import call, locked

KERNEL = "linux-image-cloud-amd64"
BUSYBOX = "busybox-static"
MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "ext4")
"""What must be there before the root is; a kernel that has one built in has no file of it."""
FIREWALL = ("nft_ct", "nft_limit", "nft_log", "nft_reject_inet", "nf_log_syslog")
"""What the host's rules need: nothing in the copy could load it later, for the modules stay outside."""
BOOT_SECONDS = 300
MEMORY_MB = 1536
SWAP_MB = 256
MASKED = (
    *("e2scrub_reap.service", "nftables.service", "nginx.service", "postgresql@15-main.service", "rota-diary.socket"),
    *("rota-account.timer", "rota-alert.timer", "rota-alert@.service", "rota-look.service", "rota-ship.path"),
    *("rota-ship.timer", "rota-task-check_host.timer", "rota-task-process_logged_errors.timer"),
)
"""What would keep a slow machine without a network busy; `Machine.unmask` takes it back."""
MASKS = "etc/systemd/system.control"
"""Where masks go before the host's own units, which stay beneath."""

INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
for module in {modules}; do busybox insmod /modules/$module; done
busybox mount -t ext4 -o noatime,barrier=0 /dev/vda /root
busybox umount /proc
exec busybox switch_root /root /lib/systemd/systemd
"""

PORT_UNIT = """[Unit]
Description=Run what comes through the port of the virtual machine

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/rota-port.py
Environment=HOME=/root LANG=C.UTF-8
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
OOMScoreAdjust=-1000
"""

PORT_PROGRAM = """
import glob, json, subprocess
buffer = b""
with open(glob.glob("/dev/vport*p1")[0], "r+b", buffering=0) as port:
    while True:
        while b"\\n" not in buffer:
            buffer += port.read(65536)
        line, _, buffer = buffer.partition(b"\\n")
        asked = json.loads(line)
        done = subprocess.run(asked["argv"], input=asked["input"], capture_output=True, text=True, errors="replace")
        told = [asked["number"], done.returncode, done.stdout, done.stderr]
        answer = memoryview(json.dumps(told).encode() + b"\\n")
        while answer:
            answer = answer[port.write(answer):]
"""


class Machine:
    """The virtual machine, with the lab's own way to run a program on a host."""

    def __init__(self, port: socket.socket) -> None:
        self.port = port
        self.replies = port.makefile("rb")
        self.asked = 0

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - the word of subprocess.run
        check: bool = True,
        timeout: float | None = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there as root. Raises CalledProcessError when `check` and it failed, TimeoutError."""
        self.port.settimeout(timeout)
        self.asked += 1
        asked = {"number": self.asked, "argv": list(argv), "input": input or ""}
        self.port.sendall(json.dumps(asked).encode() + b"\n")
        number, code, said, errors = json.loads(self.replies.readline())
        assert number == self.asked, "an answer went missing: nothing can be asked after a timeout"
        done = subprocess.CompletedProcess(list(argv), code, said, errors)
        if check and code:
            error = subprocess.CalledProcessError(code, done.args, said, errors)
            error.add_note(f"{name} said: {said}{errors}".rstrip())
            raise error
        return done

    def unmask(self, name: str, *units: str) -> None:
        """Let these of MASKED start. `systemctl unmask` does not look where they are masked."""
        self.run(name, ["rm", "--", *(f"/{MASKS}/{unit}" for unit in units)])
        self.run(name, ["systemctl", "daemon-reload"])


@contextmanager
def booted(lab: labs.Lab, name: str) -> Iterator[Machine]:
    """A copy of the host as it is now, under a kernel of its own; the host itself is off while it is copied."""
    kernel = ensure_kernel()
    folder = lab.plan.folder / "own_kernel"
    folder.mkdir()
    try:
        lab.kill(name)
        try:
            make_image(lab.hosts[name].root, kernel, folder)
        finally:
            lab.boot(name)
        (folder / "initrd").write_bytes(initrd(kernel))
        with started(folder, kernel) as machine:
            yield machine
    finally:
        shutil.rmtree(folder)


def ensure_kernel() -> Path:
    """Debian's kernel and a static busybox, unpacked from their packages; nothing is installed."""
    package = depends_on(KERNEL)
    folder = STORE / f"kernel-{package}"
    with locked(STORE / "kernel.lock"):
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            (part / "debs").mkdir(parents=True)
            (part / "tree").mkdir()
            subprocess.run(["apt-get", "download", "-q", package, BUSYBOX], cwd=part / "debs", check=True)
            for deb in (part / "debs").iterdir():
                call(["dpkg-deb", "--extract", str(deb), str(part / "tree")])
            shutil.rmtree(part / "debs")
            part.rename(folder)
    return folder / "tree"


def depends_on(package: str) -> str:
    """The package of the very kernel that this one stands for."""
    said = call(["apt-cache", "depends", "--important", package])
    found = re.search(r"Depends: (linux-image-\S+)", said)
    assert found, f"apt knows no {package}: {said!r}"
    return found[1]


def make_image(root: Path, kernel: Path, folder: Path) -> None:
    """A file system with all that the host has but apt's packages, the masks, and our port."""
    for path, text in {
        "usr/local/lib/rota-port.py": PORT_PROGRAM,
        "etc/systemd/system/rota-port.service": PORT_UNIT,
        "etc/fstab": "",
    }.items():
        file = folder / "more" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    wants = folder / "more/etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "rota-port.service").symlink_to("/etc/systemd/system/rota-port.service")
    masks = folder / "more" / MASKS
    masks.mkdir()
    for unit in MASKED:
        (masks / unit).symlink_to("/dev/null")
    without_packages = folder / "more/var/cache/apt"
    without_packages.mkdir(parents=True)
    os.setxattr(without_packages, "trusted.overlay.opaque", b"y")
    (folder / "root").mkdir()
    layers = f"lowerdir={folder / 'more'}:{root}"
    call(["mount", "-t", "overlay", "-o", f"ro,{layers}", "rota-own-kernel", str(folder / "root")])
    try:
        call(["mke2fs", "-q", "-t", "ext4", "-d", str(folder / "root"), str(folder / "disk"), "4G"])
    finally:
        call(["umount", str(folder / "root")])
    with (folder / "swap").open("wb") as file:
        file.truncate(SWAP_MB << 20)


def initrd(kernel: Path) -> bytes:
    """What finds the root: busybox, the modules it takes, and a script that loads them in order."""
    files = {path.stem.replace("-", "_"): path for path in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name)
        if path is None or path in order:
            return
        for other in depends(path):
            add(other)
        order.append(path)

    for module in (*MODULES, *FIREWALL):
        add(module)
    entries = {"init": INIT.format(modules=" ".join(path.name for path in order)).encode()}
    entries |= {f"modules/{path.name}": path.read_bytes() for path in order}
    entries["bin/busybox"] = (kernel / "bin/busybox").read_bytes()
    folders = dict.fromkeys(("bin", "dev", "modules", "proc", "root"))
    return archive(folders | entries)


def depends(module: Path) -> list[str]:
    """The modules that this one names as those it needs."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [name for name in found[1].decode().replace("-", "_").split(",") if name] if found else []


def archive(entries: dict[str, bytes | None]) -> bytes:
    """A cpio archive (newc) of these files, executable, and folders (None)."""
    parts = []
    for number, (name, content) in enumerate([*entries.items(), ("TRAILER!!!", b"")], 1):
        mode = 0o040755 if content is None else 0o100755
        body, path = content or b"", name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
        parts += [head, b"\0" * (-len(head) % 4), body, b"\0" * (-len(body) % 4)]
    return b"".join(parts)


def command(folder: Path, kernel: Path) -> list[str]:
    (image,) = (kernel / "boot").glob("vmlinuz-*")
    disks = [
        word for name in ("disk", "swap")
        for word in ("-drive", f"file={folder / name},if=virtio,format=raw,cache=unsafe")
    ]  # fmt: skip
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", accelerator(), "-cpu", "max", "-smp", "2"),
        *("-m", str(MEMORY_MB), "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(folder / "initrd")),
        *("-append", "console=ttyS0 mitigations=off quiet panic=-1 systemd.getty_auto=0"),
        *("-serial", f"file:{folder / 'console.log'}", *disks),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port"),
        *("-chardev", f"socket,id=port,path={folder / 'port'},server=on,wait=off"),
    ]


def accelerator() -> str:
    """The hardware's help where there is one."""
    has_help = re.search(r"^flags\s*:.* (vmx|svm) ", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return "kvm" if has_help and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg,thread=multi"


@contextmanager
def started(folder: Path, kernel: Path) -> Iterator[Machine]:
    """Boot it, wait until its systemd runs what we ask for, and end it in the end."""
    with subprocess.Popen(command(folder, kernel), stdin=subprocess.DEVNULL) as qemu:
        try:
            deadline = time.monotonic() + BOOT_SECONDS
            with connected(folder / "port", qemu, deadline) as port:
                machine = Machine(port)
                machine.run("it", ["true"], timeout=BOOT_SECONDS)
                yield machine
        except TimeoutError as error:
            error.add_note((folder / "console.log").read_text(errors="replace")[-3000:])
            raise
        finally:
            qemu.kill()


def connected(path: Path, qemu: subprocess.Popen[bytes], deadline: float) -> socket.socket:
    port = socket.socket(socket.AF_UNIX)
    while True:
        try:
            port.connect(str(path))
            return port
        except OSError:
            assert qemu.poll() is None, "qemu has ended"
            assert time.monotonic() < deadline
            time.sleep(0.1)  # until qemu listens
