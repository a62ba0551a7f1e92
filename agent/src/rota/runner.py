"""One run of one task, from the lock to the end record.

Started by a unit as `/usr/bin/python3 -I -S -X utf8 -c LOADER KEY=VALUE... -- COMMAND...` (see `rota.units`):
everything it needs is in its arguments and the unit's environment, so that it costs no more than the interpreter. For
the same reason it imports only what is built into the interpreter (`posix` and `_signal` instead of `os` and `signal`
save 5 ms) and writes its JSON by hand.

Who may do what in the spool. Tasks run as different users, and each runner writes its own records as its task's user:

- `spool/` is 0710, owner and group `rota:rota-task`: only members of `rota-task`, which every task's unit is, get in.
- `spool/{tmp,running,done,output}/` are 3753, `rota:rota`: others may create entries but not list them; the sticky bit
  lets a user rename and remove only what is its own; the set-group bit gives each new file to the group `rota`. Files
  are 0640, and their names hold 74 random bits. The spare, for records that the spool does not take, is alike.
- So a task can write its own records and read or alter nobody else's; `rota`, who owns the folders, reads and moves
  all of them without any privilege; people in the group `rota` read them.
- A task can still forge a record: what it says of itself is testimony, and nothing here runs what a record says.
"""

import _signal as signal  # type: ignore[import-not-found]  # typeshed leaves it out
import fcntl
import posix
import select
import sys
import time

TYPE_CHECKING = False  # importing it from typing would cost more than all else here
if TYPE_CHECKING:
    from types import ModuleType

KEEP = 64 * 1024
"""How many bytes of an output's head, and as many of its tail, are kept."""
PIPE = 256 * 1024
"""How much the work may print ahead of us; with the 64 KiB that a pipe has, a gigabyte takes it 1.3 times as long."""
SLACK = 1024 * 1024
"""How far the output file may outgrow head and tail before its middle is dropped."""
REPORT_LIMIT = 4 * 1024 * 1024
"""How much of a report waits to be read; of one that is longer, what a record holds is kept and the rest counted."""
ITEM_ROOM = 3 * 1024 * 1024
"""How long the items of a record may be, as JSON: a record is of 4 MiB at most."""
MAX_ITEMS, MAX_COUNTS = 10_000, 500
MAX_TEXT, MAX_NAME, MAX_COUNT_NAME = 2_000, 255, 100
"""What a record may hold, texts in bytes of UTF-8; what exceeds `rota.core.record`'s limits the diary refuses."""
REFUSED, NO_ITEM, NO_COUNT = OURS = "refused report lines", "items not listed", "counts not listed"
RESERVE = 4096
"""How many bytes are set aside at the start, so that the end record of an ordinary run fits on a disk filled since."""
REQUEST_AGE = 60.0
TRIGGER_AGE = 15 * 60
"""How many seconds ago a timer may have elapsed that systemd tells of."""
SLOT_AGE = 60.0
"""How many seconds after its slot, and its spread, a start is taken for that slot's."""
MAX_PLAN = 4 * 1024 * 1024
SHORT_OF_MEMORY = "out of memory: a process that it started was killed"
SHIELD = b"-900\n"
"""The OOMScoreAdjust= of a unit with a limit: it shields the runner when memory runs out, for it has to tell."""
ENDED_BY_OTHERS = ("stopped", "host shut down")
NO_LOGIN_WAIT = 0.5
UNFINISHED = "tmp"
LOCKED, TIMED_OUT, NOT_EXECUTABLE, NOT_FOUND, CANNOT_LOCK = 75, 124, 126, 127, 73
SHOWN_SIGNALS = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1", 11: "SEGV",
    12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 24: "XCPU", 25: "XFSZ", 31: "SYS",
}  # fmt: skip

Field = str | int | float | None


class Settings:
    """What the arguments say: `KEY=VALUE` each, then `--` and the command."""

    def __init__(self, arguments: list[str]) -> None:
        mark = arguments.index("--")
        values = dict(argument.split("=", 1) for argument in arguments[:mark])
        self.command = arguments[mark + 1 :]
        self.task = values["task"]
        self.pack = values.get("pack") or None
        self.host = values["host"]
        self.environment = values["environment"]
        self.spool = values["spool"]
        self.spare = values.get("spare", "")
        self.lock = values["lock"]
        self.lock_wait = float(values.get("lock_wait", "0"))
        self.timeout = float(values.get("timeout", "0"))
        self.grace = float(values.get("grace", "10"))
        self.slot: str | None = None
        self.trigger = values.get("trigger", "manual")
        self.plan = values.get("plan", "")
        self.spread = float(values.get("spread", "0"))
        self.every = float(values.get("every", "0"))
        self.success = values.get("success", "")
        self.watch = values.get("watch", "")
        self.retry = values.get("retry", "")
        self.expect = values.get("expect", "")
        self.request = values.get("request", "")
        self.current = values.get("current", "")
        self.release = values.get("release", "")
        self.unit_hash = values.get("hash", "")
        self.attempt = to_whole(values.get("attempt", "1"))
        self.identifier = values.get("id", "")
        self.is_echoing = "echo" in values
        self.claimed = -1
        self.asked = ""
        self.is_dry_run = False
        self.is_attended = False
        self.again = 0
        self.variables: dict[bytes, bytes] = {}


class Stop:
    """Why the work is being stopped, if it is; set by SIGTERM, SIGINT or the timeout."""

    def __init__(self) -> None:
        self.reason = ""
        self.deadline = 0.0
        self.child = 0
        self.wakes, self.waker = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)

    def listen(self, grace: float) -> None:
        """Have SIGTERM, SIGINT and a closed terminal's SIGHUP ask for the end.

        They also wake a waiting `poll`, which else would sleep on.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.ask("stopped", grace))
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)

    def ask(self, reason: str, grace: float) -> None:
        if not self.reason:
            self.reason = reason
            self.deadline = time.monotonic() + grace
            self.kill(signal.SIGTERM)

    def kill(self, number: int) -> None:
        if self.child:
            try:
                posix.kill(-self.child, number)
            except ProcessLookupError:
                self.child = 0
            except PermissionError:
                warn("the work cannot be stopped: it runs as another user")


class Output:
    """The work's output on disk: its head, then its newest bytes; the file never outgrows 2 * KEEP + SLACK."""

    def __init__(self, path: str, *, is_echoing: bool, claimed: int = -1) -> None:
        self.seen = 0
        self.stored = 0
        self.buffer = bytearray(KEEP)
        self.is_echoing = is_echoing
        try:
            self.file = claimed if claimed >= 0 else make_output(path)
        except OSError as error:
            warn(f"the output cannot be kept: {error}")
            self.file = -1

    def add(self, chunk: memoryview) -> None:
        self.seen += len(chunk)
        if self.is_echoing:
            self._echo(chunk)
        if self.file < 0:
            return
        try:
            while chunk:
                written = posix.pwrite(self.file, chunk, self.stored)
                self.stored += written
                chunk = chunk[written:]
            if self.stored > 2 * KEEP + SLACK:
                self.drop_middle()
        except OSError:
            # A full disk costs the output, not the task; what did not fit counts as dropped.
            return

    def drop_middle(self) -> None:
        if self.file >= 0 and self.stored > 2 * KEEP:
            posix.preadv(self.file, [self.buffer], self.stored - KEEP)
            posix.pwrite(self.file, self.buffer, KEEP)
            posix.ftruncate(self.file, 2 * KEEP)
            self.stored = 2 * KEEP

    def _echo(self, chunk: memoryview) -> None:
        try:
            while chunk:
                chunk = chunk[posix.write(1, chunk) :]
        except OSError:
            self.is_echoing = False


def make_output(path: str) -> int:
    """Make this output's file, which nobody may have made before, and lock it. Raises OSError.

    The lock is held until this process ends, however it ends: so `rota reconcile` tells a lost run from a living one.
    """
    file = posix.open(path, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o640)
    posix.fchmod(file, 0o640)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


class End:
    """How the work ended."""

    def __init__(self, status: str, reason: str, returned: int, code: int | None = None, number: int | None = None):
        self.status = status
        self.reason = reason
        self.returned = returned
        self.code = code
        self.signal = number
        self.duration: float | None = None
        self.cpu: float | None = None
        self.memory_peak: int | None = None
        self.is_short_of_memory = False
        """Whether it succeeded although something of it was killed for want of memory."""


def main() -> None:
    # Nothing is left to be torn down, and tearing the interpreter down costs half a millisecond.
    posix._exit(run(Settings(sys.argv[1:])))


def run(settings: Settings) -> int:
    """Run the work once under its lock, leave its record, and return the exit code to pass on."""
    stop = Stop()
    stop.listen(settings.grace)
    command = pin_release(settings)
    barred = ""
    if settings.request and (asked := read_request(settings)):
        command += heed(settings, asked)
    elif settings.every and not rarely("runner_due").is_due(settings.success, settings.every, longest_wait(settings)):
        return 0
    elif settings.watch:
        if not rarely("runner_due").is_anything_in(settings.watch):
            return 0
        settings.trigger = "path"
    elif settings.trigger == "timer":
        barred = find_slot(settings, int(time.time()))
    if not settings.identifier:
        settings.identifier = make_identifier(time.time_ns() // 1_000_000, posix.urandom(10))
    start: dict[str, Field] = {
        "host": settings.host,
        "environment": settings.environment,
        "task": settings.task,
        "pack": settings.pack,
        "slot": settings.slot,
        "trigger": settings.trigger,
        "started": now(),
        "boot_id": read_first_line("/proc/sys/kernel/random/boot_id"),
        "invocation_id": environment("INVOCATION_ID")[:MAX_NAME],
        "release": settings.release,
        "unit_hash": settings.unit_hash,
        "attempt": settings.attempt,
    }
    if barred:
        # Nothing failed: nobody is alerted, and the unit is not among those that failed.
        return refuse(settings, start, End("skipped", cut(barred, MAX_TEXT), 0))
    try:
        held = take_lock(settings.lock, settings.lock_wait, stop)
    except OSError as error:
        return refuse(settings, start, End("failed", cut(f"cannot take the lock: {error}", MAX_TEXT), CANNOT_LOCK))
    if not held:
        return refuse(settings, start, End("skipped", stop.reason or "locked", LOCKED))
    end = attempt(settings, start, command, stop)
    while settings.again:
        end = retry(settings, start, command, stop)
    return end.returned


def attempt(settings: Settings, start: dict[str, Field], command: list[str], stop: Stop) -> End:
    """Do the work and leave its record; says in `settings.again` when it is to be done once more."""
    path = f"{settings.spool}/output/{settings.identifier}"
    output = Output(path, is_echoing=settings.is_echoing, claimed=settings.claimed)
    path = f"{settings.spool}/running/{settings.identifier}.json"
    store(settings, "start", path, record(settings, start, None))
    end, report = work(settings, command, stop, output)
    finish_output(output)
    is_considered = settings.retry or settings.expect or settings.every or end.is_short_of_memory
    told = consider(settings, end, output, report) if is_considered else ""
    if settings.is_attended and is_held(settings.request):  # whoever watches holds it until they leave
        told += ',"attended":true'
    store_end(settings, record(settings, start, end, output, report, told))
    if report:
        remove(progress_of(settings))
    if settings.again and output.file >= 0:
        posix.close(output.file)
    return end


def consider(settings: Settings, end: End, output: Output, report: bytes) -> str:
    """What the task's expectations and its rule for retries make of the end: JSON for the record, after a comma."""
    told = ""
    plan = read_text(settings.plan, MAX_PLAN) if settings.plan else ""
    if settings.every and not settings.is_dry_run:
        rarely("runner_due").note(settings.success, end.status)
    sentences: list[str] = [SHORT_OF_MEMORY] if end.is_short_of_memory else []
    if settings.expect and end.status == "succeeded" and not settings.is_dry_run:
        items, counts = measure(report)
        values = {**counts, "items": items, "duration": end.duration or 0.0, "output_bytes": output.seen}
        sentences += rarely("runner_expect").unexpected(settings.expect, values, plan)
    if sentences:
        told = f',"unexpected":[{",".join(quote(cut(each, MAX_TEXT)) for each in sentences)}]'
    if settings.retry and settings.trigger != "manual" and end.status == "failed" and end.reason not in ENDED_BY_OTHERS:
        settings.again = rarely("runner_retry").next_moment(settings.retry, settings.attempt, plan, settings.grace)
        told = f',"retry_at":"{moment(settings.again)}"' if settings.again else ""
    return told


def measure(report: bytes) -> tuple[int, dict[str, float]]:
    """How many items were reported, and the counts."""
    import json

    items, counts = read_or_refuse(report)
    return len(json.loads(items)), json.loads(counts)


def retry(settings: Settings, start: dict[str, Field], command: list[str], stop: Stop) -> End:
    """Wait, then do the work once more as an attempt with a record of its own, which ends before the next slot."""
    module = rarely("runner_retry")
    module.wait(settings.again, stop.wakes)
    settings.again, settings.claimed = 0, -1
    settings.attempt += 1
    settings.identifier = make_identifier(time.time_ns() // 1_000_000, posix.urandom(10))
    start |= {"attempt": settings.attempt, "trigger": "retry", "started": now()}
    if stop.reason:
        end = End("failed", shown_stop(stop.reason), 128 + signal.SIGTERM)
        refuse(settings, start, end)
        return end
    left = module.seconds_left(read_text(settings.plan, MAX_PLAN), settings.grace) if settings.plan else 0.0
    settings.timeout = min(left or settings.timeout, settings.timeout or left)
    return attempt(settings, start, command, stop)


def longest_wait(settings: Settings) -> float:
    return max(map(float, settings.retry.split(","))) if settings.retry else 0.0


def rarely(name: str) -> "ModuleType":
    """A module beside this one that few tasks need."""
    sys.path.insert(0, __file__.rpartition("/")[0])
    try:
        return __import__(name)
    finally:
        del sys.path[0]


def refuse(settings: Settings, start: dict[str, Field], end: End) -> int:
    """Leave the record of a run whose work never began."""
    warn(f"{settings.task}: {end.reason}")
    store_end(settings, record(settings, start, end))
    return end.returned


def pin_release(settings: Settings) -> list[str]:
    """The command with the link to the current release resolved, so that a deploy cannot change it under the run."""
    if not settings.current:
        return settings.command
    try:
        target = posix.readlink(settings.current)
    except OSError:
        return settings.command
    if not target.startswith("/"):
        target = f"{settings.current.rpartition('/')[0]}/{target}"
    settings.release = target.rstrip("/").rpartition("/")[2]
    prefix = settings.current + "/"
    return [target + word[len(prefix) - 1 :] if word.startswith(prefix) else word for word in settings.command]


def read_request(settings: Settings) -> list[list[str]]:
    """The lines of a `rota.core.request`, its id first, that whoever starts this run left for it; none when nobody did.

    One that is old, or whose id a run has claimed already, was left behind by a `rota run` that died.
    """
    try:
        if abs(time.time() - posix.stat(settings.request).st_mtime) > REQUEST_AGE:
            return []
    except OSError:
        return []
    text = read_text(settings.request, 1 << 20).replace("\n ", "\0")
    lines = [line.replace("\0", "\n").split(" ", 1) for line in text.split("\n")[:-1]]
    identifier = lines[0][-1] if lines else ""
    if len(identifier) != 36 or not claim(settings, identifier):
        return []
    settings.identifier = identifier
    return lines


def heed(settings: Settings, asked: list[list[str]]) -> list[str]:
    """Take over what was asked for; what a record tells of it is kept as JSON. Returns words for the command."""
    told: list[str] = []
    words: list[str] = []
    settings.slot, settings.trigger = None, "manual"
    for key, value in asked[1:]:
        if key == "trigger":
            settings.trigger = value
        elif key == "slot":
            settings.slot = value
        elif key == "asked_by":
            told.append(f'"asked_by":{quote(cut(value, MAX_NAME))}')
        elif key == "parameters":
            told.append(f'"parameters":{value}')
        elif key == "dry_run":
            settings.is_dry_run = True
            told.append('"dry_run":true')
        elif key == "attended":
            settings.is_attended = True
        elif key == "environment":
            name, _, content = value.partition("=")
            settings.variables[name.encode()] = content.encode(errors="surrogateescape")
        elif key == "argument":
            words.append(value)
    settings.asked = ",".join(["", *told])
    return words


def claim(settings: Settings, identifier: str) -> bool:
    """Make the output of the run of this id; False when it is there: records move on, an output stays where it is."""
    try:
        settings.claimed = make_output(f"{settings.spool}/output/{identifier}")
    except FileExistsError:
        return False
    except OSError:
        pass  # a spool that takes nothing is no reason to lose the id
    return True


def exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def is_held(path: str) -> bool:
    """Whether somebody holds the kernel's lock on this file."""
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    is_free = try_lock(file)
    posix.close(file)
    return not is_free


def make_identifier(milliseconds: int, random: bytes) -> str:
    """A UUID of version 7 (RFC 9562 section 5.7): sorts by time, and nobody can guess it."""
    value = int.from_bytes(random, "big") & ((1 << 74) - 1)
    value = milliseconds << 80 | 7 << 76 | (value >> 62) << 64 | 2 << 62 | value & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def take_lock(path: str, wait: float, stop: Stop) -> bool:
    """Hold the kernel's lock on this file until this process ends; False when another holds it, or on a stop."""
    file = open_lock(path)
    if wait <= 0:
        return try_lock(file)
    deadline = time.monotonic() + wait
    while not try_lock(file):
        if stop.reason or time.monotonic() > deadline:
            return False
        select.poll().poll(100)
    return not stop.reason


def try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_lock(path: str) -> int:
    """Open the lock file for reading, which suffices for flock; on a host `rota sync` has made it."""
    return posix.open(path, posix.O_RDONLY | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o644)


def work(settings: Settings, command: list[str], stop: Stop, output: Output) -> tuple[End, bytes]:
    """Start the command, keep what it prints and reports, and wait for its end."""
    began = time.monotonic()
    printed, out = posix.pipe2(posix.O_CLOEXEC)
    widen(out)
    reported, report = posix.pipe2(posix.O_CLOEXEC)
    try:
        stop.child = spawn(settings, command, out, report)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        why = posix.strerror(error.errno or 0)
        end = End("failed", f"cannot start {cut(command[0], MAX_TEXT - 100)}: {why}", code, code)
        end.duration = time.monotonic() - began
        for file in (printed, out, reported, report):
            posix.close(file)
        return end, b""
    posix.close(out)
    posix.close(report)
    if stop.reason:
        stop.kill(signal.SIGTERM)
    # All of this costs nothing here: the child is being started meanwhile.
    import resource  # noqa: F401 - wait4 would import it later

    reserve(f"{settings.spool}/{UNFINISHED}/{settings.identifier}.end.json")
    groups = unit_groups(settings.task)
    killed = count_killed(groups)
    child = stop.child
    kept = supervise(settings, stop, printed, reported, output)
    stop.child = 0
    # Of this child alone: an attempt before it has its own.
    _, status, usage = posix.wait4(child, 0)
    is_left = kill_leftovers(child, groups)
    end = judge(status, stop.reason, is_short_of_memory=count_killed(groups) > killed)
    end.duration = time.monotonic() - began
    end.cpu = usage.ru_utime + usage.ru_stime
    end.memory_peak = usage.ru_maxrss * 1024
    if is_left and not end.reason:
        end.reason = "left processes behind"
    return end, kept


def widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
    except OSError:
        return  # a user with many pipes may not (pipe(7)); the work then waits for us more often


def spawn(settings: Settings, command: list[str], out: int, report: int) -> int:
    """Start the command in a process group of its own, its report on file descriptor 3. Returns its process id."""
    environ = dict(posix.environ)
    for key in (b"TRIGGER_UNIT", b"TRIGGER_TIMER_REALTIME_USEC", b"TRIGGER_TIMER_MONOTONIC_USEC"):
        environ.pop(key, None)
    environ[b"ROTA_RUN_ID"] = settings.identifier.encode()
    environ[b"ROTA_TASK"] = settings.task.encode()
    environ[b"ROTA_SLOT"] = (settings.slot or "").encode()
    environ[b"ROTA_ENVIRONMENT"] = settings.environment.encode()
    environ[b"ROTA_REPORT_FD"] = b"3"
    environ |= settings.variables
    nothing = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
    # All are lifted above 3 first: a dup2 onto itself would leave the descriptor to be closed by exec.
    lifted = empty, out, report = lift(nothing), lift(out), lift(report)
    actions = (
        (posix.POSIX_SPAWN_DUP2, empty, 0),
        (posix.POSIX_SPAWN_DUP2, out, 1),
        (posix.POSIX_SPAWN_DUP2, out, 2),
        (posix.POSIX_SPAWN_DUP2, report, 3),
    )
    defaults = (signal.SIGPIPE, signal.SIGXFSZ)  # which the interpreter ignores
    shield = lay_down_shield()
    try:
        return posix.posix_spawnp(command[0], command, environ, file_actions=actions, setpgroup=0, setsigdef=defaults)
    finally:
        take_up_shield(shield)
        for file in (nothing, *lifted):
            posix.close(file)


def lay_down_shield() -> int:
    """Be killed for want of memory like anybody else, as a process that is started now will be.

    It may take the shield up as well as we may: whoever is started inherits the lowest score that was ever allowed.
    Returns the file in which to take it up again, which the kernel allows to whom it was given; -1 without one.
    """
    try:
        file = posix.open("/proc/self/oom_score_adj", posix.O_RDWR | posix.O_CLOEXEC)
    except OSError:
        return -1
    if posix.read(file, 16) == SHIELD:
        posix.write(file, b"0")
        return file
    posix.close(file)
    return -1


def take_up_shield(file: int) -> None:
    if file < 0:
        return
    try:
        posix.write(file, SHIELD)
    except OSError as error:
        warn(f"nothing shields the runner when memory runs out: {error}")
    posix.close(file)


def lift(file: int) -> int:
    return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10)


def supervise(settings: Settings, stop: Stop, printed: int, reported: int, output: Output) -> bytes:
    """Read both pipes until the child has ended; stop it at the timeout. Returns what was reported."""
    ended = posix.pidfd_open(stop.child)
    poll = select.poll()
    sinks: dict[int, Output | bytearray] = {printed: output, reported: bytearray(), stop.wakes: bytearray()}
    for file in (ended, *sinks):
        posix.set_blocking(file, False)
        poll.register(file, select.POLLIN)
    timeout = time.monotonic() + settings.timeout if settings.timeout else 0.0
    is_over = False
    while not is_over:
        for file, event in poll.poll(milliseconds_until(stop.deadline or timeout)):
            if file == reported and event & select.POLLIN and not sinks[reported]:
                sinks[reported] = watched_report(settings)
            if file == ended:
                is_over = True
            elif read_some(file, output.buffer, sinks[file]) == 0:
                poll.unregister(file)
        if not is_over:
            enforce(settings, stop, timeout)
    # What the child wrote last; a bounded number of reads, for a leftover of its may print for ever.
    for file in (printed, reported):
        reads = 0
        while reads < 64 and read_once(file, output.buffer, sinks[file]) > 0:
            reads += 1
    for file in (ended, printed, reported):
        posix.close(file)
    report = sinks[reported]
    return b"" if isinstance(report, Output) else bytes(report)


def watched_report(settings: Settings) -> bytearray:
    """One that is in a file as well while the run goes on; only who reports pays for it."""
    report: bytearray = rarely("runner_progress").Progress(progress_of(settings))
    return report


def progress_of(settings: Settings) -> str:
    return f"{settings.spool}/{UNFINISHED}/{settings.identifier}.report"


def milliseconds_until(moment: float) -> int | None:
    return max(0, int((moment - time.monotonic()) * 1000) + 1) if moment else None


def enforce(settings: Settings, stop: Stop, timeout: float) -> None:
    """Ask the work to end when its time is over; when it was asked and stays beyond its grace, kill it."""
    if stop.reason and time.monotonic() >= stop.deadline:
        stop.kill(signal.SIGKILL)
        stop.deadline = time.monotonic() + 1
    elif timeout and not stop.reason and time.monotonic() >= timeout:
        stop.ask("timeout", settings.grace)


def read_some(file: int, buffer: bytearray, sink: Output | bytearray) -> int:
    """Move what waits in the pipe, at most a pipe's worth: a stop and the end have to be seen. Returns as read_once."""
    size = KEEP
    for _ in range(PIPE // KEEP):
        if size == KEEP:
            size = read_once(file, buffer, sink)
    return size


def read_once(file: int, buffer: bytearray, sink: Output | bytearray) -> int:
    """Move what is there from the pipe to its sink. Returns how many bytes; 0 at the pipe's end, -1 when none wait."""
    try:
        size = posix.readv(file, [buffer])
    except BlockingIOError:
        return -1
    chunk = memoryview(buffer)[:size]
    if isinstance(sink, Output):
        sink.add(chunk)
    else:
        sink += chunk
        if len(sink) > REPORT_LIMIT:
            sink[:] = shorten(bytes(sink))
    return size


def judge(status: int, stopped: str, *, is_short_of_memory: bool = False) -> End:
    """What the kernel's wait status means, in the words of a record."""
    number = posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else None
    code = None if number else posix.WEXITSTATUS(status)
    if stopped:
        returned = TIMED_OUT if stopped == "timeout" else 128 + signal.SIGTERM
        return End("failed", shown_stop(stopped), returned, code, number)
    if code == 0:
        end = End("succeeded", "", 0, code)
        end.is_short_of_memory = is_short_of_memory
        return end
    if is_short_of_memory:
        return End("failed", "out of memory", code or 128 + (number or 0), code, number)
    if number:
        name = SHOWN_SIGNALS.get(number)
        return End("failed", f"signal {number} ({name})" if name else f"signal {number}", 128 + number, None, number)
    return End("failed", f"exit {code}", code or 0, code)


def shown_stop(reason: str) -> str:
    return "host shut down" if reason == "stopped" and is_shutting_down() else reason


def kill_leftovers(group: int, groups: list[str]) -> bool:
    """Kill what remains of the child's process group, and of the unit; True when something did."""
    try:
        posix.kill(-group, signal.SIGKILL)
        is_left = True
    except (ProcessLookupError, PermissionError):
        is_left = False
    for process in unit_processes(groups):
        try:
            posix.kill(process, signal.SIGKILL)
            is_left = True
        except (ProcessLookupError, PermissionError):
            continue
    return is_left


def unit_processes(groups: list[str]) -> list[int]:
    """The other processes of the task's unit: in sessions of their own a process group does not have them."""
    for folder in groups:
        if found := read_text(f"{folder}/cgroup.procs", 1 << 16).split():
            own = str(posix.getpid())
            return [to_whole(process) for process in found if process != own]
    return []


def unit_groups(task: str) -> list[str]:
    """The folders of the task's unit among control groups, of version 2 and of systemd's own hierarchy beside it.

    Only of that very unit: elsewhere, as under a terminal that is a unit, what is in it would be somebody else's.
    """
    if not environment("INVOCATION_ID"):
        return []
    folders = []
    for line in read_text("/proc/self/cgroup").split("\n"):
        number, _, path = line.partition("::") if line.startswith("0::") else line.partition(":name=systemd:")
        if path.endswith(f"/rota-task-{task}.service"):
            folders.append(("/sys/fs/cgroup" if number == "0" else "/sys/fs/cgroup/systemd") + path)
    return folders


def is_shutting_down() -> bool:
    """Whether the host is going down, told by the file that then forbids logins (systemd-user-sessions(8)).

    systemd stops everything at once, so the file may come a moment later than our SIGTERM; asking systemd itself would
    take a bus that is going down as well.
    """
    if not environment("INVOCATION_ID"):
        return False
    deadline = time.monotonic() + NO_LOGIN_WAIT
    while not exists("/run/nologin"):
        if time.monotonic() > deadline:
            return False
        select.poll().poll(20)
    return True


def count_killed(groups: list[str]) -> int:
    """How often the kernel killed something of these groups for want of memory, the unit's or the host's.

    Only version 2 tells, in memory.events; and where a group outlives its unit, of former runs as well.
    """
    events = [line for folder in groups for line in read_text(f"{folder}/memory.events").split("\n")]
    return sum(to_whole(line[9:]) for line in events if line.startswith("oom_kill "))


def finish_output(output: Output) -> None:
    try:
        output.drop_middle()
    except OSError as error:
        warn(f"the output's middle could not be dropped: {error}")


def record(
    settings: Settings,
    start: dict[str, Field],
    end: End | None,
    output: Output | None = None,
    report: bytes = b"",
    told: str = "",
) -> bytes:
    """The run's record as one line of JSON, in the format of version 1."""
    status = end.status if end else "running"
    fields: dict[str, Field] = {"version": 1, "kind": "run", "id": settings.identifier, **start, "status": status}
    fields |= {
        "ended": now() if end else None,
        "reason": end.reason if end else "",
        "exit_code": end.code if end else None,
        "signal": end.signal if end else None,
        "duration": end.duration if end else None,
        "cpu": end.cpu if end else None,
        "memory_peak": end.memory_peak if end else None,
        "output_bytes": output.seen if output else 0,
        "output_dropped": output.seen - output.stored if output else 0,
    }
    items, counts = read_or_refuse(report)
    pairs = [f"{quote(key)}:{quote(value)}" for key, value in fields.items()]
    return ("{" + ",".join([*pairs, f'"items":{items}', f'"counts":{counts}']) + settings.asked + told + "}\n").encode()


def read_or_refuse(report: bytes) -> tuple[str, str]:
    """As read_report; what cannot be read at all is counted by lines."""
    try:
        return read_report(report)
    except Exception as error:  # whatever a task reports, it must not cost the record of its run
        warn(f"the report cannot be read: {error!r}")
        return "[]", f'{{"{REFUSED}":{report.count(10) or 1}}}'


def read_report(report: bytes) -> tuple[str, str]:
    """The reported items and counts as JSON within a record's limits. Only a run that reported pays for the import."""
    if not report:
        return "[]", "{}"
    import json

    items: list[str] = []
    counts: dict[str, float] = {}
    room = ITEM_ROOM

    def add(counted: str, value: float) -> None:
        counts[counted] = counts.get(counted, 0) + value

    for line in report.splitlines():
        try:
            entry = json.loads(line)
            if "item" not in entry:
                counted, value = read_count(entry)
                is_listed = counted in counts or len(counts) < MAX_COUNTS - 3
                add(*(counted, value) if is_listed else (NO_COUNT, 1))
            elif len(items) < MAX_ITEMS and room > 0:
                items.append(json.dumps(read_item(entry)))
                room -= len(items[-1])
            else:
                add(NO_ITEM, 1)
        except (ValueError, TypeError, KeyError, RecursionError):
            add(REFUSED, 1)
    return f"[{','.join(items)}]", json.dumps(counts)


def shorten(report: bytes) -> bytes:
    """A report that says in fewer lines what a record would hold of this one; its last line may go on."""
    import json

    end = report.rfind(b"\n") + 1
    lines, rest = report[:end], report[end:]
    items, counts = map(json.loads, read_or_refuse(lines))
    # First what is counted of the others: a record of many counts has room for these.
    told = [{"count": name, "value": counts[name]} for name in sorted(counts, key=lambda name: name not in OURS)]
    told += [{"item": each.pop("name"), **each} for each in items]
    # A line as long as all this is refused when it ends, whatever it was.
    return b"".join(json.dumps(line).encode() + b"\n" for line in told) + (rest if len(rest) < KEEP else b"?")


def read_item(entry: dict[str, object]) -> dict[str, str]:
    return {
        "name": name(entry["item"], MAX_TEXT),
        "outcome": name(entry.get("outcome", "done"), MAX_NAME),
        "message": cut(entry.get("message", ""), MAX_TEXT),
    }


def read_count(entry: dict[str, float]) -> tuple[str, float]:
    """The name and the value of a count. Raises ValueError for infinity, which Python's reader of JSON accepts."""
    value = entry["value"]
    if not -1e300 < value < 1e300:
        raise ValueError(value)
    return name(entry["count"], MAX_COUNT_NAME), value


def name(value: object, limit: int) -> str:
    text = cut(value, limit)
    return text if text.strip() else "?"


def cut(value: object, limit: int) -> str:
    """The value as text that can be stored anywhere, of at most so many bytes; a mark says where it was cut."""
    text = str(value).replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace")
    if len(text) <= limit:
        return text.decode()
    return text[: limit - 3].decode("utf-8", "ignore") + "…"


def quote(value: Field) -> str:
    """One JSON value."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, int):
        return str(value)
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    return '"' + "".join(quote_character(character) for character in value) + '"'


def quote_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    point = ord(character)
    if 0xD800 <= point < 0xE000:  # a byte that is not UTF-8, as the interpreter decodes arguments
        return "\\ufffd"
    return f"\\u{point:04x}" if point < 0x20 or point == 0x7F else character


def reserve(path: str) -> None:
    try:
        file = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o640)
        posix.fchmod(file, 0o640)
        posix.posix_fallocate(file, 0, RESERVE)
        posix.close(file)
    except OSError as error:
        warn(f"no room could be reserved for the end record: {error}")


def store_end(settings: Settings, line: bytes) -> None:
    path = f"{settings.spool}/done/{settings.identifier}.json"
    if not store(settings, "end", path, line):
        return
    # There is none when the work never began, or when the disk was full at the start.
    remove(f"{settings.spool}/running/{settings.identifier}.json")


def remove(path: str) -> None:
    try:
        posix.unlink(path)
    except OSError:
        return


def store(settings: Settings, word: str, path: str, line: bytes) -> bool:
    """Put the line on disk under this path, whole or not at all; into the spare when the spool cannot take it."""
    failure = write_and_rename(f"{settings.spool}/{UNFINISHED}/{settings.identifier}.{word}.json", path, line)
    if not failure:
        return True
    warn(f"the {word} record is not in the spool: {failure}")
    if settings.spare and word == "end":
        beside = f"{settings.spare}/{settings.identifier}.tmp"
        failure = write_and_rename(beside, f"{settings.spare}/{settings.identifier}.json", line)
    if failure:
        warn(f"the {word} record: {line.decode(errors='replace')}")
    return False


def write_and_rename(beside: str, path: str, line: bytes) -> OSError | None:
    """Write, fsync, rename. The folders cannot be fsynced, for a task's user may not open them.

    So after a power cut a record may still bear its name in tmp/, whole: `rota reconcile` takes it from there.
    """
    try:
        # The work may have put a pipe in its place, which would keep us waiting for a reader.
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK
        file = posix.open(beside, flags, 0o640)
        try:
            posix.fchmod(file, 0o640)
            rest = memoryview(line)
            while rest:
                rest = rest[posix.write(file, rest) :]
            posix.ftruncate(file, len(line))
            posix.fsync(file)
        finally:
            posix.close(file)
        posix.rename(beside, path)
    except OSError as error:
        return error
    return None


def find_slot(settings: Settings, second: int) -> str:
    """Find what this unit was started for at this second: its slot, and by what. Returns why that is not to run.

    It is the latest slot of the plan (see `rota.core.plan`), unless that is too long ago: then somebody started the
    unit. systemd tells since version 252 when the timer elapsed; 252 itself goes on telling of its first elapse ever
    after, so what is long past says nothing.
    """
    if environment("TRIGGER_UNIT").endswith(".path"):
        settings.trigger = "path"
        return ""
    slot, following = lines_around(settings.plan, f"{second:010d}")
    told = environment("TRIGGER_TIMER_REALTIME_USEC")
    elapsed, planned = to_whole(told) // 1_000_000 if told.isdigit() else 0, to_whole(slot[:10] or "0")
    is_told = max(planned, second - TRIGGER_AGE) <= elapsed <= second
    if slot and (elapsed if is_told else second) - planned <= settings.spread + SLOT_AGE:
        settings.slot = moment(planned * 1_000_000)
        return slot[11:]
    if (slot or following) and not is_told:
        settings.trigger = "manual"
    return ""


def lines_around(path: str, key: str) -> tuple[str, str]:
    """The latest slot of a plan that is not after this key, ten digits of seconds, and the one that follows it.

    The coming slots almost always begin within the first bytes.
    """
    found = ""
    for most in (4096, MAX_PLAN):
        text = read_text(path, most) if path else ""
        begin = 0
        while (end := text.find("\n", begin)) >= 0:
            line = text[begin:end]
            begin = end + 1
            if line[:1] == "#":
                continue
            if line[:10] > key:
                return found, line
            found = line
        if len(text) < 1024:  # of characters, of which one may take four bytes
            break
    return found, ""


def to_whole(digits: str) -> int:
    """The number, below 2^53: `int` of a text asks the C library for a logarithm, whose tables take 0.13 MB."""
    return int(float(digits))


def now() -> str:
    return moment(time.time_ns() // 1000)


def moment(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"


def environment(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode(errors="replace")


def read_first_line(path: str) -> str:
    return read_text(path).partition("\n")[0]


def read_text(path: str, most: int = 4096) -> str:
    """The first bytes of a small file; empty when it cannot be read."""
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(file, most).decode(errors="replace")
    except OSError:
        return ""
    finally:
        posix.close(file)


def warn(text: str) -> None:
    """A line on standard error, which is the journal's; its loss must not matter."""
    try:
        posix.write(2, f"rota: {text}\n".encode(errors="replace"))
    except OSError:
        return


if __name__ == "__main__":
    main()
