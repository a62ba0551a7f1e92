"""What is measured on a host, read from the kernel, systemd and certificate files."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

REAL_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "vfat", "overlay"})
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Fill:
    """How full one file system is, in percent of what ordinary users may fill."""

    mount: str
    space: float
    inodes: float


def mounts(text: str) -> list[str]:
    """The mount points of /proc/self/mounts that hold files of their own, each device once."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        device, mount, kind, *_ = line.split()
        if kind in REAL_FILE_SYSTEMS:
            found.setdefault(f"{device} {kind}", mount.replace("\\040", " "))
    return sorted(found.values())


def fill(mount: str) -> Fill:
    status = os.statvfs(mount)
    used = status.f_blocks - status.f_bfree
    return Fill(
        mount=mount,
        space=percentage(used, used + status.f_bavail),
        inodes=percentage(status.f_files - status.f_ffree, status.f_files),
    )


def percentage(part: float, whole: float) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def memory_available(text: str) -> float:
    """The available memory in percent, from /proc/meminfo."""
    values = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in text.splitlines()) if rest
    }
    return percentage(values["MemAvailable"], values["MemTotal"])


def properties(text: str) -> Mapping[str, str]:
    """The `Key=value` lines systemd's programs print."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def first_words(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def closed(folders: list[Path]) -> list[Path]:
    """Those of these folders that are there, and whose files we may not see."""
    return [folder for folder in folders if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)]


def certificates(folders: list[Path]) -> Iterator[Path]:
    """The readable certificate files directly in these folders, or one below."""
    for folder in folders:
        for pattern in ("*.pem", "*.crt", "*/*.pem", "*/*.crt"):
            yield from (path for path in sorted(folder.glob(pattern)) if os.access(path, os.R_OK) and path.is_file())


def expiry(text: str) -> datetime | None:
    """When the first certificate in this text ends to be valid; None when there is none. Raises ValueError."""
    found = PEM.search(text)
    if not found:
        return None
    return not_after(ssl.PEM_cert_to_DER_cert(found[0]))


def not_after(der: bytes) -> datetime:
    """The second time of a certificate's Validity (RFC 5280 section 4.1): the first two times in it are its bounds.

    Raises ValueError.
    """
    times = [
        (tag, der[at + 2 : at + 2 + length])
        for at in range(len(der) - 2)
        for tag, length in [(der[at], der[at + 1])]
        if (tag, length) in ((0x17, 13), (0x18, 15)) and der[at + 1 + length : at + 2 + length] == b"Z"
    ]
    if len(times) < 2:
        raise ValueError("it says nothing of how long it is valid")
    return parse_time(*times[1])


def parse_time(tag: int, text: bytes) -> datetime:
    """A UTCTime, whose two-digit year means 1950 to 2049, or a GeneralizedTime (RFC 5280 section 4.1.2.5)."""
    digits = text.decode("ascii")[:-1]
    if tag == 0x17:
        digits = ("19" if int(digits[:2]) >= 50 else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


# How apt names where a package comes from: Debian-Security:12/stable-security, Ubuntu:24.04/noble-security.
UPGRADE = re.compile(r"Inst (\S+) \[\S+\] \((\S+) (.*?)\)")
SECURITY = re.compile(r"\S+-security\b", re.IGNORECASE)


def upgrade_command() -> list[str]:
    """What asks apt which packages it would upgrade: no network, no lock, no cache written."""
    options = ("Debug::NoLocking=true", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=")
    return ["apt-get", "--simulate", "--quiet", *(f"--option={each}" for each in options), "dist-upgrade"]


def security_updates(text: str) -> dict[str, str]:
    """Packages and the versions they would be upgraded to, of those with a security update, as apt-get writes it."""
    return {
        package: version
        for package, version, sources in UPGRADE.findall(text)
        if any(SECURITY.search(source) for source in sources.split(","))
    }
