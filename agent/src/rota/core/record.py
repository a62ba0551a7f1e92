"""A record as a value: of a run, a deploy, a caught letter, a catalogue, an answer; read strictly from JSON."""

import re
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from rota.core.errors import RotaError
from rota.core.secrecy import public_part, without_passwords
from rota.core.status import DeployAction, DeployStatus, Environment, Status, Trigger

VERSION = 1
KEEP_BYTES = 64 * 1024
"""How much of an output's head, and as much of its tail, is kept."""
MAX_OUTPUT = 2 * KEEP_BYTES + 200
MAX_ITEMS = 10_000
MAX_COUNTS = 500
MAX_TEXT = 2_000
MAX_NAME = 255
MAX_COUNT_NAME = 100
MAX_PARAMETERS = 100
MAX_RECEIVERS = 1_000
MAX_MESSAGE = 64 * 1024
"""Of a letter's text, in bytes of UTF-8."""
MAX_TASKS = 1_000
MAX_WINDOWS = 1_000
"""How many windows of time a task's schedule may be told with: a calendar's file has one for each event."""
MAX_HASH = 128
MAX_HARDENING = 500
"""How many lines may tell how a unit is hardened: one for each path that a task reads, and some sixty more."""
MAX_FIELD = 16 * 1024
"""Of one field of a task's definition, in bytes of UTF-8."""
MAX_SECONDS = 1e10
MAX_RECORDS = 500
"""How many records one request to the diary may hold."""
MAX_BYTES = 8 * 1024 * 1024
"""How large one request to the diary may be, unpacked."""
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(days=1)
"""How far a record's times may lie ahead of the clock of who receives it."""
TASK_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MEANS = re.compile(r"[a-z][a-z0-9_]{0,31}")
UNKNOWN_KIND = "'kind' is "
"""How every release says that it does not know a record's kind; another release may know it."""

Choice = TypeVar("Choice", bound=StrEnum)
ParameterValue = str | float | bool | list[str]
_SURFACE = reprlib.Repr()
_SURFACE.maxstring = 80


class BadRecord(RotaError):
    """This record breaks the format of version 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing a run worked on, with its outcome."""

    name: str
    outcome: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run on one host. `duration` and `cpu` are seconds, `memory_peak` and the output's sizes are bytes.

    A run whose work never began says nothing of what comes after `reason`.
    `asked_by` names who started it by hand and `parameters` what they asked for; `attended` says that they watched it
    on a terminal, so that its failure opens no incident; `unexpected` says what is suspicious
    about a success; `retry_at` is when the next attempt of a failed run begins, and None where there is none.
    """

    id: UUID
    host: str
    environment: Environment
    task: str
    pack: str | None
    slot: datetime | None
    trigger: Trigger
    started: datetime
    ended: datetime | None
    status: Status
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    duration: float | None = None
    cpu: float | None = None
    memory_peak: int | None = None
    output_bytes: int = 0
    output_dropped: int = 0
    output: str = ""
    items: tuple[Item, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    boot_id: str = ""
    invocation_id: str = ""
    release: str = ""
    unit_hash: str = ""
    attempt: int = 1
    asked_by: str = ""
    attended: bool = False
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    dry_run: bool = False
    unexpected: tuple[str, ...] = ()
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRecord:
    """One deploy, rollback or automatic return on one host."""

    id: UUID
    host: str
    environment: Environment
    action: DeployAction
    release: str
    commit: str
    ref: str
    who: str
    started: datetime
    ended: datetime
    duration: float
    status: DeployStatus
    reason: str
    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRecord:
    """Something that would have left the estate, and was caught on its host.

    `means` is how: `mail`, `channel`, `heartbeat`, or a pack's own, such as `ftp`. `to` are mail addresses or names; of
    a URL only what is no secret stays, and no password in `subject` or `text`. `task` and `run` are what it speaks of:
    empty and None where that is none, or several.
    """

    id: UUID
    host: str
    environment: Environment
    at: datetime
    task: str
    run: UUID | None
    means: str
    to: tuple[str, ...]
    subject: str
    text: str

    def __post_init__(self) -> None:
        """By construction, so that no file and no database ever holds what opens a door."""
        object.__setattr__(self, "to", tuple(public_part(each) for each in self.to))
        object.__setattr__(self, "subject", without_passwords(self.subject))
        object.__setattr__(self, "text", without_passwords(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One parameter of a task, as its `rota.core.parameter.Parameter` says it."""

    name: str
    kind: str
    is_many: bool
    choices: tuple[str, ...]
    default: ParameterValue | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A task's `rota.core.objective.Objective`; `within` and `fresh` are seconds."""

    success: float | None
    within: float
    fresh: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a task runs by itself on its host, so that its slots can be computed elsewhere; durations are seconds.

    It says what the task's fields of these names say. Where one names a calendar's file, the days and hours of its
    coming events stand instead.
    """

    schedule: tuple[str, ...]
    zone: str
    dst: str
    only: tuple[str, ...]
    excepted: tuple[str, ...]
    every: float | None
    spread: float
    lock_wait: float
    objective: Wanted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How the unit of a task confines it: lines such as `ProtectSystem=strict`, as systemd reads them.

    `hash` is what the records of its runs call `unit_hash`; `rota check` allows at most this `exposure`, from 0 to 10.
    """

    hash: str
    exposure: float
    hardening: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a task of a host is. `words` say when it runs, `fields` what else is not as Rota has it, as people read it.

    `is_asked` says that a run of it may be asked for in the diary, `has_dry_run` that it can show what it would do.
    `timing` and `unit` are None of a host whose release does not tell them, and of one without units.
    """

    description: str
    words: str
    pack: str
    is_asked: bool
    has_dry_run: bool
    parameters: tuple[Declared, ...]
    fields: Mapping[str, str]
    timing: Timing | None = None
    unit: Unit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A pause in force: until when (None: until it is resumed), by whom and why."""

    since: datetime
    until: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRecord:
    """All tasks of one host as they were at a moment, by name, and which of them are paused.

    `is_asking` says that the host heeds what people ask of it in the diary.
    """

    id: UUID
    host: str
    environment: Environment
    at: datetime
    release: str
    is_asking: bool
    tasks: Mapping[str, Definition]
    pauses: Mapping[str, Paused]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """What came of a request of the diary: it was carried out, or refused for this reason.

    `request` is its id, and that of the run which began where one was asked for.
    """

    id: UUID
    host: str
    environment: Environment
    at: datetime
    request: UUID
    is_done: bool
    reason: str


Record = RunRecord | DeployRecord | OutboundRecord | CatalogueRecord | AnswerRecord
KINDS: Mapping[type[Record], str] = {
    RunRecord: "run",
    DeployRecord: "deploy",
    OutboundRecord: "outbound",
    CatalogueRecord: "catalogue",
    AnswerRecord: "answer",
}


def parse_record(mapping: object, *, received: datetime | None = None) -> Record:
    """The record a decoded JSON value holds; with `received`, one of another host, whose clock may be wrong.

    Keys this version does not know are ignored: a newer agent may say more than an older diary understands.
    Raises BadRecord naming the key, its value and what would be right.
    """
    if not isinstance(mapping, Mapping):
        raise BadRecord(f"it is {_shown(mapping)}; it must be an object")
    keys = _Keys(mapping, latest=min(received + MAX_AHEAD, LATEST) if received else LATEST)
    version = keys.whole("version")
    if version != VERSION:
        raise BadRecord(f"'version' is {version}; this Rota understands {VERSION}")
    match keys.text("kind"):
        case "run":
            return _run(keys)
        case "deploy":
            return _deploy(keys)
        case "outbound":
            return _outbound(keys)
        case "catalogue":
            return _catalogue(keys)
        case "answer":
            return _answer(keys)
        case other:
            raise BadRecord(f"{UNKNOWN_KIND}{other!r}; it must be one of {', '.join(KINDS.values())}")


def parse_timing(mapping: Mapping[str, object]) -> Timing:
    """A timing from its plain values, as `as_mapping` writes them. Raises BadRecord."""
    return _timing(_Keys(mapping))


def plain_timing(timing: Timing) -> dict[str, object]:
    """The inverse of `parse_timing`."""
    return {f.name: _plain(getattr(timing, f.name)) for f in fields(timing)}


def as_mapping(record: Record) -> dict[str, object]:
    """The inverse of `parse_record`: plain values that `json` can write."""
    values = {f.name: _plain(getattr(record, f.name)) for f in fields(record)}
    return {"version": VERSION, "kind": KINDS[type(record)]} | values


def format_moment(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`, as records write it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def storable(text: str) -> str:
    """The text with what no database or page can hold (NUL, lone surrogates) replaced by visible marks."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode("utf-8")


def fitting(text: str, most: int) -> str:
    """The text as a record may hold it: storable, and cut visibly where it has more than so many bytes of UTF-8."""
    whole = storable(text).encode()
    if len(whole) <= most:
        return whole.decode()
    mark = " […]"
    return whole[: most - len(mark.encode())].decode("utf-8", "ignore") + mark


def _run(keys: "_Keys") -> RunRecord:
    record = RunRecord(
        id=keys.identifier("id"),
        host=keys.name("host"),
        environment=keys.choice("environment", Environment),
        task=keys.task_name("task"),
        pack=keys.text_or_none("pack"),
        slot=keys.moment_or_none("slot"),
        trigger=keys.choice("trigger", Trigger),
        started=keys.moment("started"),
        ended=keys.moment_or_none("ended"),
        status=keys.choice("status", Status),
        reason=keys.text("reason"),
        exit_code=keys.whole_or_none("exit_code", most=255),
        signal=keys.whole_or_none("signal", least=1, most=64),
        duration=keys.seconds_or_none("duration"),
        cpu=keys.seconds_or_none("cpu"),
        memory_peak=keys.whole_or_none("memory_peak"),
        output_bytes=keys.whole("output_bytes"),
        output_dropped=keys.whole("output_dropped"),
        output=keys.text("output", most=MAX_OUTPUT, default=""),
        items=keys.items("items"),
        counts=keys.counts("counts"),
        boot_id=keys.text("boot_id"),
        invocation_id=keys.text("invocation_id"),
        release=keys.text("release"),
        unit_hash=keys.text("unit_hash"),
        attempt=keys.whole("attempt", least=1),
        asked_by=keys.text("asked_by", default=""),
        attended=keys.boolean("attended"),
        parameters=keys.parameters("parameters"),
        dry_run=keys.boolean("dry_run"),
        unexpected=keys.texts("unexpected"),
        retry_at=keys.moment_or_none("retry_at") if "retry_at" in keys.mapping else None,
    )
    if record.status.is_final and record.ended is None:
        raise BadRecord(f"'ended' is null; a run that is {record.status} must say when it ended")
    if not record.status.is_final and record.ended is not None:
        raise BadRecord(f"'ended' is {format_moment(record.ended)}; a run that is running has no end yet")
    return record


def _deploy(keys: "_Keys") -> DeployRecord:
    return DeployRecord(
        id=keys.identifier("id"),
        host=keys.name("host"),
        environment=keys.choice("environment", Environment),
        action=keys.choice("action", DeployAction),
        release=keys.name("release"),
        commit=keys.text("commit"),
        ref=keys.text("ref"),
        who=keys.text("who"),
        started=keys.moment("started"),
        ended=keys.moment("ended"),
        duration=keys.seconds("duration"),
        status=keys.choice("status", DeployStatus),
        reason=keys.text("reason"),
        previous=keys.text_or_none("previous") or "",
    )


def _outbound(keys: "_Keys") -> OutboundRecord:
    return OutboundRecord(
        id=keys.identifier("id"),
        host=keys.name("host"),
        environment=keys.choice("environment", Environment),
        at=keys.moment("at"),
        task=keys.task_name("task") if keys.value("task") else keys.text("task"),
        run=None if keys.value("run") is None else keys.identifier("run"),
        means=keys.word("means", MEANS),
        to=keys.receivers("to"),
        subject=keys.text("subject"),
        text=keys.text("text", most=MAX_MESSAGE),
    )


def _catalogue(keys: "_Keys") -> CatalogueRecord:
    return CatalogueRecord(
        id=keys.identifier("id"),
        host=keys.name("host"),
        environment=keys.choice("environment", Environment),
        at=keys.moment("at"),
        release=keys.text("release"),
        is_asking=keys.answer("is_asking"),
        tasks={name: _definition(keys) for name, keys in keys.by_task("tasks")},
        pauses={name: _paused(keys) for name, keys in keys.by_task("pauses")},
    )


def _answer(keys: "_Keys") -> AnswerRecord:
    return AnswerRecord(
        id=keys.identifier("id"),
        host=keys.name("host"),
        environment=keys.choice("environment", Environment),
        at=keys.moment("at"),
        request=keys.identifier("request"),
        is_done=keys.answer("is_done"),
        reason=keys.text("reason"),
    )


def _definition(keys: "_Keys") -> Definition:
    return Definition(
        description=keys.text("description"),
        words=keys.text("words"),
        pack=keys.text("pack"),
        is_asked=keys.answer("is_asked"),
        has_dry_run=keys.answer("has_dry_run"),
        parameters=tuple(_declared(each) for each in keys.objects("parameters", most=MAX_PARAMETERS)),
        fields=keys.fields("fields"),
        timing=_timing(keys.within("timing", keys.value("timing"))) if keys.mapping.get("timing") else None,
        unit=_unit(keys.within("unit", keys.value("unit"))) if keys.mapping.get("unit") else None,
    )


def _timing(keys: "_Keys") -> Timing:
    return Timing(
        schedule=keys.texts("schedule"),
        zone=keys.text("zone"),
        dst=keys.text("dst"),
        only=keys.texts("only", most=MAX_WINDOWS),
        excepted=keys.texts("excepted", most=MAX_WINDOWS),
        every=keys.seconds_or_none("every"),
        spread=keys.seconds("spread"),
        lock_wait=keys.seconds("lock_wait"),
        objective=_wanted(keys.within("objective", keys.value("objective"))) if keys.value("objective") else None,
    )


def _unit(keys: "_Keys") -> Unit:
    return Unit(
        hash=keys.name("hash", most=MAX_HASH),
        exposure=float(keys.number("exposure")),
        hardening=keys.texts("hardening", most=MAX_HARDENING),
    )


def _wanted(keys: "_Keys") -> Wanted:
    return Wanted(
        success=keys.seconds_or_none("success"),
        within=keys.seconds("within"),
        fresh=keys.seconds_or_none("fresh"),
    )


def _declared(keys: "_Keys") -> Declared:
    return Declared(
        name=keys.task_name("name"),
        kind=keys.word("kind", MEANS),
        is_many=keys.answer("is_many"),
        choices=keys.texts("choices", most=MAX_ITEMS),
        default=None if keys.value("default") is None else keys.parameter("default", most=MAX_ITEMS),
        meaning=keys.text("meaning"),
    )


def _paused(keys: "_Keys") -> Paused:
    return Paused(
        since=keys.moment("since"),
        until=keys.moment_to_come("until"),
        by=keys.text("by"),
        reason=keys.text("reason"),
    )


def _plain(value: object) -> object:
    """The value as JSON holds it."""
    match value:
        case datetime():
            return format_moment(value)
        case UUID():
            return str(value)
        case StrEnum():
            return value.value
        case tuple() | list():
            return [_plain(each) for each in value]
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _shown(value: object) -> str:
    """The value as a person recognises it; however deep it nests, only its surface."""
    text = _SURFACE.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one record, each read as what it must be."""

    mapping: Mapping[str, object]
    latest: datetime = LATEST

    def value(self, key: str) -> object:
        if key not in self.mapping:
            raise BadRecord(f"{key!r} is missing")
        return self.mapping[key]

    def text(self, key: str, *, most: int = MAX_TEXT, default: str | None = None) -> str:
        value = default if default is not None and key not in self.mapping else self.value(key)
        if not isinstance(value, str):
            raise _wrong(key, value, "text")
        if len(value.encode("utf-8", "surrogatepass")) > most:
            raise BadRecord(f"{key!r} has {len(value)} characters; it may have {most} bytes of UTF-8")
        if value != storable(value):
            raise _wrong(key, value, "text without NUL characters and lone surrogates")
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self.value(key) is None else self.text(key)

    def name(self, key: str, *, most: int = MAX_NAME) -> str:
        value = self.text(key, most=most)
        if not value.strip():
            raise _wrong(key, value, "a name")
        return value

    def task_name(self, key: str) -> str:
        return self.word(key, TASK_NAME)

    def word(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self.text(key)
        if not pattern.fullmatch(value):
            raise _wrong(key, value, "a lower-case word of letters, digits and underscores")
        return value

    def identifier(self, key: str) -> UUID:
        value = self.text(key)
        try:
            identifier = UUID(value)
        except ValueError:
            raise _wrong(key, value, "a UUID") from None
        if str(identifier) != value or identifier.version != 7:
            raise _wrong(key, value, "a UUID of version 7 in lower case with hyphens")
        return identifier

    def choice(self, key: str, choices: type[Choice]) -> Choice:
        value = self.text(key)
        try:
            return choices(value)
        except ValueError:
            raise _wrong(key, value, f"one of {', '.join(choices)}") from None

    def moment(self, key: str) -> datetime:
        value = self.text(key)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _wrong(key, value, "a time like 2025-01-31T02:30:00.000000Z") from None
        if moment.tzinfo is None:
            raise _wrong(key, value, "a time with its zone, like 2025-01-31T02:30:00.000000Z")
        if not EARLIEST <= moment <= self.latest:
            right = f"between {EARLIEST:%Y-%m-%d} and {self.latest:%Y-%m-%d %H:%M} UTC; is the host's clock wrong?"
            raise _wrong(key, value, right)
        return moment.astimezone(UTC)

    def moment_or_none(self, key: str) -> datetime | None:
        return None if self.value(key) is None else self.moment(key)

    def whole(self, key: str, *, least: int = 0, most: int = 2**63 - 1) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _wrong(key, value, f"a whole number from {least} to {most}")
        return value

    def whole_or_none(self, key: str, *, least: int = 0, most: int = 2**63 - 1) -> int | None:
        return None if self.value(key) is None else self.whole(key, least=least, most=most)

    def number(self, key: str) -> float:
        value = self.value(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            raise _wrong(key, value, "a finite number")
        return value

    def seconds(self, key: str) -> float:
        value = self.number(key)
        if not 0 <= value <= MAX_SECONDS:
            raise _wrong(key, value, f"a number of seconds, zero or more and at most {MAX_SECONDS:g}")
        return float(value)

    def seconds_or_none(self, key: str) -> float | None:
        return None if self.value(key) is None else self.seconds(key)

    def items(self, key: str) -> tuple[Item, ...]:
        value = self.value(key)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise _wrong(key, value, f"a list of at most {MAX_ITEMS} items")
        return tuple(_item(f"{key}[{number}]", item) for number, item in enumerate(value))

    def counts(self, key: str) -> Mapping[str, float]:
        value = self.value(key)
        if not isinstance(value, Mapping) or len(value) > MAX_COUNTS:
            raise _wrong(key, value, f"an object of at most {MAX_COUNTS} numbers by name")
        for name in value:
            if not isinstance(name, str) or name != storable(name) or not 0 < len(name) <= MAX_COUNT_NAME:
                raise _wrong(f"a name in {key}", name, f"a text of 1 to {MAX_COUNT_NAME} characters")
        keys = _Keys(value)
        return {name: keys.number(name) for name in value}

    def boolean(self, key: str) -> bool:
        value = self.mapping.get(key)
        if not isinstance(value, bool | None):
            raise _wrong(key, value, "true or false")
        return bool(value)

    def answer(self, key: str) -> bool:
        value = self.value(key)
        if not isinstance(value, bool):
            raise _wrong(key, value, "true or false")
        return value

    def texts(self, key: str, *, most: int = MAX_PARAMETERS) -> tuple[str, ...]:
        value = self.mapping.get(key) or []
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(key, value, f"a list of at most {most} texts")
        keys = _Keys({f"{key}[{number}]": each for number, each in enumerate(value)})
        return tuple(keys.text(name) for name in keys.mapping)

    def receivers(self, key: str) -> tuple[str, ...]:
        value = self.value(key)
        if not isinstance(value, list) or not 0 < len(value) <= MAX_RECEIVERS:
            # The value is not shown, here and below: it may be a URL that is a secret.
            raise BadRecord(f"{key!r} must be a list of 1 to {MAX_RECEIVERS} receivers")
        for number, each in enumerate(value):
            if not is_receiver(each):
                raise BadRecord(f"'{key}[{number}]' must be a name, an address or a URL, on one line")
        return tuple(value)

    def parameters(self, key: str) -> Mapping[str, ParameterValue]:
        value = self.mapping.get(key) or {}
        if not isinstance(value, Mapping) or len(value) > MAX_PARAMETERS:
            raise _wrong(key, value, f"an object of at most {MAX_PARAMETERS} parameters by name")
        keys = _Keys({str(name): each for name, each in value.items()})
        return {storable(name): keys.parameter(name) for name in keys.mapping}

    def parameter(self, key: str, *, most: int = MAX_PARAMETERS) -> ParameterValue:
        value = self.value(key)
        if isinstance(value, list):
            return list(self.texts(key, most=most))
        if isinstance(value, bool):
            return value
        return self.text(key) if isinstance(value, str) else self.number(key)

    def moment_to_come(self, key: str) -> datetime | None:
        """A moment that may lie as far ahead as people plan."""
        return _Keys(self.mapping).moment_or_none(key)

    def within(self, key: str, value: object) -> "_Keys":
        """The keys of an object that stands under this key."""
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "an object")
        return _Keys(value, latest=self.latest)

    def objects(self, key: str, *, most: int) -> list["_Keys"]:
        value = self.value(key)
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(key, value, f"a list of at most {most} objects")
        return [self.within(f"{key}[{number}]", each) for number, each in enumerate(value)]

    def by_task(self, key: str) -> list[tuple[str, "_Keys"]]:
        value = self.value(key)
        if not isinstance(value, Mapping) or len(value) > MAX_TASKS:
            raise _wrong(key, value, f"an object of at most {MAX_TASKS} objects by task")
        for name in value:
            if not isinstance(name, str) or not TASK_NAME.fullmatch(name):
                raise _wrong(f"a name in {key}", name, "a task's name")
        return [(name, self.within(f"{key}.{name}", each)) for name, each in value.items()]

    def fields(self, key: str) -> Mapping[str, str]:
        value = self.value(key)
        if not isinstance(value, Mapping) or len(value) > MAX_PARAMETERS:
            raise _wrong(key, value, f"an object of at most {MAX_PARAMETERS} texts by field")
        keys = _Keys({str(name): each for name, each in value.items()})
        for name in keys.mapping:
            if not MEANS.fullmatch(name):
                raise _wrong(f"a name in {key}", name, "a task's field")
        return {name: keys.text(name, most=MAX_FIELD) for name in keys.mapping}


def is_receiver(value: object) -> bool:
    """Whether this can stand in a line of its own as somebody, or something, that gets a letter."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and len(f"{value}.".splitlines()) == 1
        and value == storable(value)
        and len(value.encode()) <= MAX_TEXT
    )


def _item(key: str, value: object) -> Item:
    if not isinstance(value, Mapping):
        raise _wrong(key, value, "an object with name, outcome and message")
    keys = _Keys(value)
    try:
        name = keys.name("name", most=MAX_TEXT)
        return Item(name=name, outcome=keys.name("outcome"), message=keys.text("message", default=""))
    except BadRecord as error:
        raise BadRecord(f"in {key!r}: {error.args[0]}") from None


def _wrong(key: str, value: object, right: str) -> BadRecord:
    return BadRecord(f"{key!r} is {_shown(value)}; it must be {right}")
