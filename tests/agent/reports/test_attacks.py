"""What scripts may try, and what comes of it: nothing, and an ending that tells so.

An attack is the body of a `try`: when it comes to its end it has reached what it must not. Those that harm nobody are
also run with no wall around them, where they do reach it: so each of them would, were it not for the wall.
"""

import os
import platform
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rota.packs.reports.sandbox import Limits, Reason
from rota.packs.reports.sandbox.bubblewrap import Bubblewrap
from rota.packs.reports.sandbox.podman import Podman
from tests.agent.neighbours import open_folder
from tests.agent.reports.sandboxes import (
    LIMITS,
    Host,
    drivers,
    host_with_treasures,
    left_of,
    podman_on_this_machine,
    run,
    run_outside,
)

ON_X86 = platform.machine() == "x86_64"

PRELUDE = """
import ctypes, errno, fcntl, mmap, os, re, resource, signal, socket, struct, subprocess, sys, time

libc = ctypes.CDLL(None, use_errno=True)

def call(x86, arm, *arguments):
    number = x86 if os.uname().machine == "x86_64" else arm
    arguments = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    answer = libc.syscall(ctypes.c_long(number), *arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer

def is_open(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
"""

OPERATION = "Operation not permitted"
ABSENT = "No such file or directory"
READ_ONLY = "Read-only file system"


@dataclass(frozen=True)
class Attack:
    """`refused` is what the script is told; `control` whether it is tried outside, `podman` whether there as well."""

    name: str
    body: str
    refused: str = OPERATION
    control: bool = False
    podman: bool = False


def calls(name: str, x86: int, arm: int, *arguments: object, refused: str = OPERATION) -> Attack:
    """An attack that is one call of the kernel."""
    words = ", ".join(map(repr, (x86, arm, *arguments)))
    return Attack(f"kernel call {name}", f"call({words})", refused, podman=True)


ATTACKS = [
    # the network
    Attack("TCP", "socket.create_connection(('127.0.0.1', {port}), 2)", control=True, podman=True),
    Attack("UDP", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))", control=True),
    Attack("IPv6", "socket.socket(socket.AF_INET6)", control=True),
    Attack("raw packets", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", podman=True),
    Attack("frames", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    Attack("netlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", control=True),
    Attack("virtual machine sockets", "socket.socket(40)"),
    Attack("the kernel's cryptography", "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)"),
    Attack("name resolution", "socket.getaddrinfo('example.org', 80)", "name resolution", podman=True),
    Attack("unix sockets", "socket.socket(socket.AF_UNIX)", control=True),
    # files
    Attack("the host's users", "open('/etc/passwd').read().split('root:x')[1]", f"{ABSENT}|IndexError", control=True),
    Attack("the host's passwords", "open('/etc/shadow').read()", ABSENT),
    Attack("home folders", "os.listdir('/root'), os.listdir('/home')", ABSENT, podman=True),
    Attack("other folders", "os.listdir({folder!r})", ABSENT, control=True, podman=True),
    Attack("another client's export", "open({export!r}).read()", ABSENT, control=True, podman=True),
    Attack("replacing another's export", "open({export!r}, 'r+')", ABSENT, control=True, podman=True),
    Attack(
        "a link planted to exports", "os.symlink({export!r}, '/tmp/x-{token}'); open('/tmp/x-{token}')", ABSENT, True
    ),
    Attack("a way up", "open('/scripts/../../../../..' + {export!r})", ABSENT),
    Attack("exports through a descriptor", "os.read({channel}, 10)", "Bad file descriptor", podman=True),
    Attack("any descriptor", "[os.fstat(fd) for fd in range(3, 1024) if is_open(fd)][0]", "IndexError"),
    Attack("its own script", "open('/scripts/main.py', 'a')", READ_ONLY, podman=True),
    Attack("a new module", "open('/scripts/json.py', 'w')", READ_ONLY),
    Attack("modes of its script", "os.chmod('/scripts/main.py', 0o777)", READ_ONLY),
    Attack("the libraries", "open('/libraries/psycopg/__init__.py', 'a')", READ_ONLY),
    Attack("a new library", "os.mkdir('/libraries/x')", READ_ONLY),
    Attack("Python itself", "open('/usr/lib/python3/x', 'w')", READ_ONLY + "|" + ABSENT, podman=True),
    Attack("the root folder", "os.mkdir('/x')", READ_ONLY, podman=True),
    Attack("memory as files", "open('/dev/shm/x', 'w')", READ_ONLY),
    Attack("devices", "open('/dev/x', 'w')", READ_ONLY),
    Attack("a hard link out of its tree", "os.link('/scripts/main.py', '/tmp/x')", "cross-device"),
    Attack("the machine's memory", "open('/dev/mem', 'rb').read(1)", ABSENT, podman=True),
    Attack("making a device", "os.mknod('/tmp/null', 0o20666, os.makedev(1, 3)); open('/tmp/null')", podman=True),
    Attack("the kernel's settings", "open('/sys/kernel/mm/ksm/run', 'w')", ABSENT, podman=True),
    Attack("programs", "subprocess.run(['/bin/sh', '-c', ':'], check=True)", ABSENT, control=True),
    Attack("programs that become root", "subprocess.run(['/usr/bin/su', '-c', 'id'], check=True)", ABSENT),
    # others' processes
    Attack("a neighbour's environment", "open('/proc/{victim}/environ').read()", ABSENT, control=True, podman=True),
    Attack("any process", "os.listdir('/proc')", ABSENT, control=True),
    Attack("its own memory by way of the root", "os.stat('/proc/self/root/')", ABSENT, control=True),
    Attack("a signal to a neighbour", "os.kill({victim}, 0)", "No such process", control=True, podman=True),
    Attack("a signal to the runner", "os.kill({runner}, 9)", "No such process", podman=True),
    Attack("a neighbour's handle", "os.pidfd_open({victim})", "No such process", control=True),
    Attack("tracing a neighbour", "call(101, 117, 16, {victim}, 0, 0)", podman=True),
    Attack("being traced", "call(101, 117, 0, 0, 0, 0)"),
    Attack("a neighbour's memory", "call(310, 270, {victim}, bytes(16), 1, bytes(16), 1, 0)", podman=True),
    Attack("writing a neighbour's memory", "call(311, 271, {victim}, bytes(16), 1, bytes(16), 1, 0)"),
    calls("pidfd_getfd", 438, 438, 3, 1, 0),
    Attack("the runner's secrets", "os.environ['SECRET']", "KeyError", control=True, podman=True),
    Attack("what the runner preloads", "os.environ['LD_PRELOAD']", "KeyError"),
    # the kernel
    calls("add_key", 248, 217, b"user", b"rota", b"x", 1, -2),
    calls("request_key", 249, 218, b"user", b"rota", 0, -2),
    calls("keyctl", 250, 219, 0, -3, 0),
    calls("unshare of users", 272, 97, 0x10000000),
    calls("unshare of mounts", 272, 97, 0x00020000),
    calls("clone with a new user namespace", 56, 220, 0x10000011, 0, 0, 0, 0),
    calls("clone3", 435, 435, 0, 0, refused="not implemented"),
    calls("setns", 308, 268, 0, 0),
    calls("mount", 165, 40, b"proc", b"/tmp", b"proc", 0, 0),
    calls("umount2", 166, 39, b"/scripts", 2),
    calls("pivot_root", 155, 41, b"/tmp", b"/tmp"),
    calls("chroot", 161, 51, b"/tmp"),
    calls("fsopen", 430, 430, b"tmpfs", 0),
    calls("open_tree", 428, 428, -100, b"/", 1),
    calls("move_mount", 429, 429, -100, b"/", -100, b"/tmp", 0),
    calls("bpf", 321, 280, 0, 0, 0),
    calls("perf_event_open", 298, 241, 0, 0, -1, -1, 0),
    calls("userfaultfd", 323, 282, 0),
    calls("io_uring_setup", 425, 425, 1, 0),
    calls("open_by_handle_at", 304, 265, -100, 0, 0),
    calls("name_to_handle_at", 303, 264, -100, b"/", 0, 0, 0),
    calls("kexec_load", 246, 104, 0, 0, 0, 0),
    calls("init_module", 175, 105, 0, 0, b""),
    calls("finit_module", 313, 273, 0, b"", 0),
    calls("swapon", 167, 224, b"/tmp/x", 0),
    calls("reboot", 169, 142, 0, 0, 0, 0),
    calls("clock_settime", 227, 112, 0, 0),
    calls("sethostname", 170, 161, b"x", 1),
    calls("personality", 135, 92, 0x0040000),
    calls("syslog", 103, 116, 3, 0, 0),
    calls("acct", 163, 89, 0),
    calls("quotactl", 179, 60, 0, 0, 0, 0),
    calls("setuid", 105, 146, 0),
    calls("seccomp", 317, 277, 0, 0, 0),
    calls("memfd_create", 319, 279, b"x", 0),
    calls("execveat", 322, 281, 0, b"", 0, 0, 0x1000),
    calls("shmget", 29, 194, 0, 4096, 0o1600),
    calls("msgget", 68, 186, 0, 0o1600),
    calls("mq_open", 240, 180, b"x", 0o102, 0o600, 0),
    calls("one of the future", 470, 470, refused="not implemented"),
    Attack("typing into a terminal", "fcntl.ioctl(0, 0x5412, b'x')"),
    Attack("typing with the upper half set", "call(16, 29, 0, 0x100005412, b'x')"),
    Attack("the terminal it came from", "os.open('/dev/tty', os.O_RDWR)", "No such device", podman=True),
    Attack("a terminal of its own", "os.openpty()"),
    Attack("being seen by tracers", "call(157, 167, 4, 1, 0, 0, 0)"),
    Attack("more memory", "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "not allowed", podman=True),
    Attack("more processes", "resource.setrlimit(resource.RLIMIT_NPROC, (1000, 1000))", "not allowed", podman=True),
    Attack("larger files", "os.truncate(os.open('/tmp/x', os.O_CREAT | os.O_RDWR), 1 << 40)", "too large", podman=True),
    Attack("many descriptors", "kept = [os.dup(0) for _ in range(2000)]", "Too many open files"),
    Attack("locked memory", "call(151, 230, 3)"),
    Attack("a name from another world", "__import__('sniplets.' + chr(0))", "null|No module"),
]


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder of our own that unprivileged accounts can enter; sandboxes' trees lie there, too."""
    with open_folder("wall") as folder:
        kept, tempfile.tempdir = tempfile.tempdir, str(folder)
        yield folder
        tempfile.tempdir = kept


@pytest.fixture(scope="module")
def host(ground: Path) -> Iterator[Host]:
    with host_with_treasures(ground / "host") as host:
        yield host


@pytest.fixture(scope="module")
def libraries(ground: Path) -> Path:
    return drivers(ground / "libraries")


@pytest.fixture(scope="module")
def bubblewrap(libraries: Path) -> Bubblewrap:
    return Bubblewrap(libraries)


@pytest.fixture(scope="module")
def podman(ground: Path) -> Podman:
    return podman_on_this_machine(ground / "image")


def attempt(attack: Attack, host: Host) -> str:
    """The attack as a function that tells what came of it."""
    values = {"port": host.port, "folder": str(host.folder), "export": str(host.export), "victim": host.victim.pid}
    values |= {"runner": os.getpid(), "channel": host.channel, "token": os.getpid()}
    known = {name: value for name, value in values.items() if f"{{{name}" in attack.body}
    body = attack.body.format(**known) if known else attack.body
    return f"""
def attempt():
    try:
        {body}
    except (Exception, SystemExit) as error:
        return f"refused: {{type(error).__name__}} {{error}}"
    return "reached"
"""


def script_of(attack: Attack, host: Host) -> str:
    return f"{PRELUDE}{attempt(attack, host)}\nprint(attempt())"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused(
    attack: Attack, bubblewrap: Bubblewrap, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the runner")
    came = run(bubblewrap, script_of(attack, host))
    assert came.output.startswith("refused:"), came
    assert any(words in came.output for words in attack.refused.split("|")), came.output
    assert (came.ending.reason, came.ending.exit_code, came.ending.errors) == (Reason.ENDED, 0, "")
    assert is_unharmed(host)


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.control], ids=lambda attack: attack.name)
def test_without_the_wall_the_same_attack_reaches_its_aim(attack: Attack, host: Host) -> None:
    assert run_outside(script_of(attack, host)) == "reached\n"


@pytest.fixture(scope="module")
def told_in_podman(podman: Podman, host: Host) -> dict[str, str]:
    """What came of each attack; all of them in one container, for its start takes half a second."""
    chosen = [attack for attack in ATTACKS if attack.podman]
    attempts = [f"{attempt(attack, host)}\nprint({attack.name!r}, attempt(), sep='\\t')" for attack in chosen]
    came = run(podman, PRELUDE + "".join(attempts))
    assert (came.ending.reason, came.ending.exit_code, came.ending.errors) == (Reason.ENDED, 0, "")
    return dict(line.split("\t") for line in came.output.splitlines())


@pytest.mark.servers
@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.podman], ids=lambda attack: attack.name)
def test_an_attack_is_refused_by_podman(attack: Attack, told_in_podman: dict[str, str], host: Host) -> None:
    assert told_in_podman[attack.name].startswith("refused:")
    assert is_unharmed(host)


def is_unharmed(host: Host) -> bool:
    return host.victim.poll() is None and host.export.read_text() == "secret of the other client"


def test_there_are_attacks_enough() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) > 80


# -- those that end, or would not


@dataclass(frozen=True)
class Siege:
    """A script that wears out what it is given, and the ending it leaves."""

    name: str
    script: str
    reason: Reason = Reason.ENDED
    exit_code: int | None = None
    signal: int | None = None
    errors: str = ""
    limits: Limits = LIMITS


SLEEP = "time.sleep(999)"  # until it is ended
SHORT = replace(LIMITS, seconds=0.5)
SIEGES = [
    Siege("a fork bomb", "while True: os.fork()", Reason.ENDED, 1, errors="BlockingIOError"),
    Siege(
        "a fork bomb that does not give up",
        "while True:\n try: os.fork()\n except OSError: pass",
        Reason.TIMEOUT,
        limits=SHORT,
    ),
    Siege(
        "threads without end",
        "import threading; threading.stack_size(1 << 18)\n"
        "while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        exit_code=1,
        errors="can't start new thread",
    ),
    Siege("memory at once", "bytearray(1 << 40)", Reason.OUT_OF_MEMORY, 1, errors="MemoryError"),
    Siege("memory bit by bit", "x = []\nwhile True: x.append(bytes(1 << 20))", Reason.OUT_OF_MEMORY, 1),
    Siege("memory that is mapped", "mmap.mmap(-1, 1 << 34)", exit_code=1, errors="Cannot allocate memory"),
    Siege(
        "the disk",
        "for n in range(99): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))",
        exit_code=1,
        errors="No space left on device",
    ),
    Siege("one big file", "open('/tmp/x', 'wb').write(bytes(9 << 20))", exit_code=1, errors="File too large"),
    Siege("endless output", "while True: print('x' * 9999)", Reason.TOO_MUCH_OUTPUT),
    Siege("endless errors", "while True: print('x' * 9999, file=sys.stderr)", Reason.TOO_MUCH_OUTPUT, errors="xxx"),
    Siege("endless errors of a child", "os.fork()\nwhile True: os.write(2, b'y' * 9999)", Reason.TOO_MUCH_OUTPUT),
    Siege("sleeping on", SLEEP, Reason.TIMEOUT, limits=SHORT),
    Siege("C code: a power", "pow(3, 10 ** 9)", Reason.TIMEOUT, limits=SHORT),
    Siege("C code: an expression", "re.match('(a+)+$', 'a' * 60 + 'b')", Reason.TIMEOUT, limits=SHORT),
    Siege(
        "deaf to signals",
        "for n in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(n, signal.SIG_IGN)\n"
        "while True: pass",
        Reason.TIMEOUT,
        limits=SHORT,
    ),
    Siege("stopping itself", "os.kill(os.getpid(), signal.SIGSTOP)", Reason.TIMEOUT, limits=SHORT),
    Siege("silent, its output closed", f"os.close(1); os.close(2); {SLEEP}", Reason.TIMEOUT, limits=SHORT),
    Siege(
        "a daemon",
        f"if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  os.close(1); os.close(2); {SLEEP}",
        exit_code=0,
    ),
    Siege("a daemon that holds its output", f"if os.fork() == 0: os.setsid(); {SLEEP}", exit_code=0),
    Siege("killing all it can", f"if os.fork() == 0: {SLEEP}\nos.kill(-1, 9); os.kill(1, 9)", exit_code=0),
    Siege("killing itself", "os.kill(os.getpid(), 9)", Reason.OUT_OF_MEMORY, signal=signal.SIGKILL),
    Siege("a crash", "ctypes.string_at(0)", signal=signal.SIGSEGV),
    Siege("no words to be had", "sys.stderr.buffer.write(b'\\xff\\0' * 9); exit(7)", exit_code=7, errors="\ufffd"),
    Siege("text no database takes", "raise ValueError('a' + chr(0) + chr(0xd800))", exit_code=1, errors="ValueError"),
    Siege("an exit without a number", "exit('no')", exit_code=1, errors="no"),
]
if ON_X86:  # other ways into the kernel, where calls have other numbers
    SIEGES += [
        Siege(
            "calls of 32 bits",
            "code = mmap.mmap(-1, 4096, prot=7); code.write(bytes.fromhex('b814000000cd80c3'))\n"
            "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()",
            signal=signal.SIGSYS,
        ),
        Siege("calls of x32", "call(0x40000000 | 39, 0)", signal=signal.SIGSYS),
    ]


@pytest.mark.parametrize("siege", SIEGES, ids=lambda siege: siege.name)
def test_a_siege_ends_as_it_must_and_leaves_nothing(
    siege: Siege, bubblewrap: Bubblewrap, host: Host, ground: Path
) -> None:
    came = run(bubblewrap, f"{PRELUDE}\n{siege.script}", siege.limits)
    ending = came.ending
    assert (ending.reason, ending.exit_code, ending.signal) == (siege.reason, siege.exit_code, siege.signal), ending
    assert siege.errors in ending.errors
    assert "\0" not in ending.errors
    assert len(ending.errors.encode()) <= 3 * siege.limits.errors
    assert ending.output_bytes <= siege.limits.output
    assert left_of(ground) == []
    assert is_unharmed(host)


PODMAN_SIEGES = (
    "a fork bomb that does not give up",
    "memory bit by bit",
    "endless output",
    "deaf to signals",
    "a daemon",
)


@pytest.mark.servers
@pytest.mark.parametrize("name", PODMAN_SIEGES)
def test_podman_ends_a_siege_the_same_way(name: str, podman: Podman, host: Host, ground: Path) -> None:
    siege = next(each for each in SIEGES if each.name == name)
    came = run(podman, f"{PRELUDE}\n{siege.script}", replace(siege.limits, seconds=12))
    assert (came.ending.reason, came.ending.exit_code) == (siege.reason, siege.exit_code), came.ending
    assert left_of(ground) == []
    assert is_unharmed(host)
