"""A task as a value: scheduled work, declared once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TypeVar

from rota.core.expectation import Expectation
from rota.core.objective import Objective
from rota.core.parameter import Parameter, defaults, items_parameter, variables
from rota.core.retry import Retry
from rota.core.rule import Rule
from rota.core.status import Environment
from rota.core.window import Window

Function = TypeVar("Function", bound=Callable[..., None])


class CatchUp(StrEnum):
    """What to do about slots that passed while the host was down."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Dst(StrEnum):
    """What to do about local times that daylight saving leaves out in spring and repeats in autumn."""

    RUN_ONCE = "run_once"
    SKIP = "skip"
    BOTH = "both"


class Network(StrEnum):
    """How far a task's sockets reach."""

    NONE = "none"
    LOCAL = "local"
    ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a unit is compiled from. `memory` and `address_space` are systemd sizes, `cpu` a systemd percentage.

    `dry_run` are the words that make the command one that changes nothing; None where there is no such thing.
    """

    name: str
    description: str
    command: tuple[str, ...]
    pack: str | None = None
    schedule: tuple[str, ...] = ()
    zone: str | None = None
    dst: Dst | None = None
    only: tuple[Window, ...] = ()
    excepted: tuple[Window, ...] = ()
    every: timedelta | None = None
    watch: tuple[PurePosixPath, ...] = ()
    catch_up: CatchUp | None = None
    catch_up_window: timedelta = timedelta(days=1)
    environments: tuple[Environment, ...] = ()
    spread: timedelta = timedelta()
    timeout: timedelta = timedelta(hours=1)
    grace: timedelta = timedelta(seconds=10)
    lock: str | None = None
    lock_wait: timedelta = timedelta()
    user: str | None = None
    groups: tuple[str, ...] = ()
    network: Network = Network.NONE
    read: tuple[PurePosixPath, ...] = ()
    write: tuple[PurePosixPath, ...] = ()
    credentials: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    service: Mapping[str, str] = field(default_factory=dict)
    exposure: float = 1.5
    memory: str | None = None
    address_space: str | None = None
    cpu: str | None = None
    processes: int = 128
    io_weight: int | None = None
    heavy: bool = False
    state: bool = False
    objective: Objective | None = None
    alert: Rule = Rule()
    heartbeat: str | None = None
    nice: int = 5
    parameters: tuple[Parameter, ...] = ()
    items: tuple[str, ...] = ()
    dry_run: tuple[str, ...] | None = None
    retry: Retry | None = None
    expect: tuple[Expectation, ...] = ()
    asking: bool | None = None

    @property
    def may_be_asked(self) -> bool:
        """Whether a run may be asked for in the diary: unless it says so itself, where it runs by itself as well."""
        runs_by_itself = bool(self.schedule or self.every or self.watch)
        return runs_by_itself if self.asking is None else self.asking

    @property
    def lock_name(self) -> str:
        return self.lock or self.name

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """The declared parameters, and the one that chooses items, if there are some."""
        return (*self.parameters, items_parameter(self.items)) if self.items else self.parameters

    @property
    def variables(self) -> Mapping[str, str]:
        """The work's environment unless a run by hand says otherwise; a pack's task finds its settings elsewhere."""
        return {**({} if self.pack else variables(defaults(self.all_parameters))), **self.environment}

    @property
    def calendars(self) -> tuple[str, ...]:
        """The schedule as systemd reads it, each expression with its zone."""
        return tuple(f"{expression} {self.zone}" if self.zone else expression for expression in self.schedule)


@dataclass(frozen=True)
class Declaration:
    """What `@task` says of a pack's function: the fields of a task that a host need not repeat."""

    defaults: Mapping[str, object]


def task(**defaults: object) -> Callable[[Function], Function]:
    """Declare a function as a task of its pack; its keyword-only parameters are the task's settings.

    The defaults are fields as `/etc/rota/*.yml` writes them, which may override each. The function takes a Report and
    its settings, and fails by raising.
    """

    def declare(function: Function) -> Function:
        function.__rota__ = Declaration(defaults)  # type: ignore[attr-defined]  # functions take attributes
        return function

    return declare


def declaration(function: object) -> Declaration | None:
    """What `@task` said of this function, or None when it is no task."""
    said = getattr(function, "__rota__", None)
    return said if isinstance(said, Declaration) else None
