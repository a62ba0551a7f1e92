"""Every command an operator gives; `./run` lists them. The thought behind each lives in provision/."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabric import task
from invoke import Collection, Context, Exit

from provision.errors import OperatorError
from provision.inventory import ENVIRONMENTS

if TYPE_CHECKING:
    from provision.inventory import Inventory

ROOT = Path(__file__).resolve().parent

# The first word of a command line selects the environment, the second acts on it: `fab production deploy`.
selected: str | None = None


# The words of every command that can say what it would change.
PREVIEW = {
    "check": "change nothing, only say what would be done",
    "diff": "show what differs, line by line or file by file",
}


class NoEnvironment(OperatorError):
    """This command acts on an environment"""


class RefusedHere(OperatorError):
    """This environment does not take this command"""


def command(
    *, on: tuple[str, ...] = ENVIRONMENTS, refuse: dict[str, str] | None = None, called: str = "", **options: Any
) -> Any:
    """A task that acts on the selected environment; `refuse` gives the reason by environment."""

    def decorate(function: Callable[..., int | None]) -> Any:
        @functools.wraps(function)
        def checked(context: Context, *args: Any, **kwargs: Any) -> None:
            with sentences():
                environment = require_environment(called or function.__name__, on, refuse or {})
                inventory = load_inventory(context)
                hosts = inventory.hosts(environment)
                print(f"{environment}: inventory {inventory.name}, {describe(hosts)}", flush=True)
                leave(function(context, Target(inventory, environment, hosts), *args, **kwargs))

        return task(without_target(checked, function), **options)

    return decorate


class Target:
    """What a command acts on: an environment of an inventory, and its hosts."""

    def __init__(self, inventory: Inventory, environment: str, hosts: tuple[str, ...]) -> None:
        self.inventory, self.environment, self.hosts = inventory, environment, hosts

    def chosen(self, host: str | None) -> str:
        """One host of this environment: the named one, else the first."""
        if host and host not in self.hosts:
            raise RefusedHere(f"{host!r} is no host of {self.environment}; there are: {', '.join(self.hosts)}")
        return host or self.hosts[0]


def without_target(checked: Callable[..., None], function: Callable[..., Any]) -> Callable[..., None]:
    """Hide the second parameter from Invoke, which makes command line flags of what it sees."""
    import inspect

    signature = inspect.signature(function)
    shown = [parameter for name, parameter in signature.parameters.items() if name != "target"]
    checked.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined] # functions take it
    del checked.__wrapped__  # type: ignore[attr-defined] # else Invoke looks through to the original
    return checked


@contextmanager
def sentences() -> Iterator[None]:
    """Turn an OperatorError into one line and its exit code."""
    try:
        yield
    except OperatorError as error:
        raise Exit(str(error), code=error.exit_code) from None
    except BrokenPipeError:  # whoever read the answer has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def require_environment(name: str, on: tuple[str, ...], refuse: dict[str, str]) -> str:
    if selected is None:
        raise NoEnvironment(f"name it first, as in `fab {on[-1]} {name}`; there are: {', '.join(on)}")
    if selected in refuse:
        raise RefusedHere(f"{selected} {name}: {refuse[selected]}")
    if selected not in on:
        raise RefusedHere(f"{selected} {name}; it goes with: {', '.join(on)}")
    return selected


def load_inventory(context: Context) -> Inventory:
    from provision import inventory

    return inventory.load(context.config.rota.inventory, ROOT)


def describe(hosts: tuple[str, ...]) -> str:
    return f"host{'' if len(hosts) == 1 else 's'} {', '.join(hosts)}"


def leave(code: int | None) -> None:
    if code:
        raise Exit(code=code)


def select(environment: str) -> None:
    global selected
    selected = environment


# -- environments -----------------------------------------------------------------------------------------------


@task
def development(context: Context) -> None:
    """First word: act on the development hosts."""
    select("development")


@task
def staging(context: Context) -> None:
    """First word: act on the staging hosts."""
    select("staging")


@task
def production(context: Context) -> None:
    """First word: act on the production hosts."""
    select("production")


@task
def backup(context: Context) -> None:
    """First word: the backup hosts. Second: back up now."""
    if selected is None:
        select("backup")
    else:
        back_up_now.body(context)


# -- provision, deploy, go back ---------------------------------------------------------------------------------


@command(help=PREVIEW | {"tags": "only the steps with one of these tags, with commas between them"})
def provision(context: Context, target: Target, check: bool = False, diff: bool = False, tags: str = "") -> int:
    """Bring hosts to the described state [--check --diff]."""
    from provision.provisioning import provision_hosts

    words = tuple(word for word in tags.split(",") if word)
    return provision_hosts(target.inventory, target.environment, target.hosts, check=check, diff=diff, tags=words)


@command(
    refuse={"development": "a development host runs the working tree; `fab development provision` installs it"},
    help=PREVIEW
    | {
        "ref": "a commit, tag or branch; default the commit that is checked out",
        "dirty": "with changes that are not committed; never on production",
        "wait": "how many seconds to wait for another deploy to finish",
    },
)
def deploy(
    context: Context,
    target: Target,
    ref: str = "HEAD",
    dirty: bool = False,
    wait: int = 0,
    check: bool = False,
    diff: bool = False,
) -> int:
    """Deploy a commit [--ref REF]; goes back if it is ill."""
    from provision import deploying

    if check or diff:
        deploying.preview_deploy(target.inventory, target.environment, ref, dirty=dirty, diff=diff)
    return 0 if check else deploying.deploy(target.inventory, target.environment, ref, dirty=dirty, wait=wait)


@command(
    refuse={"development": "a development host runs the working tree and has no releases to go back to"},
    help=PREVIEW | {"to": "the release to bring back, as `releases` names it"},
)
def rollback(context: Context, target: Target, to: str = "", check: bool = False, diff: bool = False) -> int:
    """Go back to the previous release, or --to RELEASE."""
    from provision import deploying

    if check or diff:
        deploying.preview_rollback(target.inventory, target.environment, to or None, diff=diff)
    return 0 if check else deploying.rollback(target.inventory, target.environment, to or None)


@command()
def releases(context: Context, target: Target) -> int:
    """The releases on each host; the one in use marked."""
    return ask(target, ["sudo", "rota-release", "list"])


@command()
def verify(context: Context, target: Target) -> int:
    """Check that hosts are as provisioned; only reads."""
    from provision.ansible import run_playbook

    return run_playbook(target.inventory, "verify", target.hosts)


# -- look, and start --------------------------------------------------------------------------------------------


WORDS = "options as `rota {} --help` on a host names them, in one quoted word"


@command(help={"words": WORDS.format("status")})
def status(context: Context, target: Target, words: str = "") -> int:
    """Each task: last run, its result, the next slot."""
    return ask(target, rota("status", words))


@command(help={"words": WORDS.format("runs")})
def runs(context: Context, target: Target, words: str = "") -> int:
    """The latest runs of each host."""
    return ask(target, rota("runs", words))


@command(help={"to": "the folder to write them into, a file for each host"})
def rules(context: Context, target: Target, to: str = ".") -> int:
    """Alert rules for a Prometheus server, made from each host's tasks [--to FOLDER]."""
    from provision import estate

    ssh_config, argv = estate.ssh_config_of(target.inventory), rota("metrics", "--rules")
    return estate.save(ssh_config, target.hosts, argv, lambda host: Path(to) / f"rota-{host}.rules.yml")


@command(help={"follow": "go on with a run that is under way until it ends; its exit code is passed on"})
def logs(context: Context, target: Target, task: str, follow: bool = False) -> int:
    """What the latest run of TASK said [--follow]."""
    return ask(target, rota("show", "--log", "--follow" if follow else "", task=task), live=follow)


@command(help={"task": "only of this task", "words": WORDS.format("plan")})
def plan(context: Context, target: Target, task: str = "", words: str = "") -> int:
    """The next and past slots [--task TASK]."""
    return ask(target, rota("plan", words, task=task))


@command(
    help={
        "until": "when it goes on by itself: 2026-12-01 08:00, in the time of the host",
        "for": "how long: 2h",
        "reason": "shown wherever the pause is",
    }
)
def pause(context: Context, target: Target, task: str, until: str = "", for_: str = "", reason: str = "") -> int:
    """Let TASK's slots pass [--until TIME | --for 2h]."""
    given = {"--until": until, "--for": for_, "--reason": reason}
    wishes = [f"{option}={value}" for option, value in given.items() if value]
    return ask(target, [*rota("pause", task=task, says_who=True), *wishes])


@command()
def resume(context: Context, target: Target, task: str) -> int:
    """End the pause of TASK."""
    return ask(target, rota("resume", task=task, says_who=True))


@command()
def journal(context: Context, target: Target, lines: int = 50) -> int:
    """The end of each host's journal [--lines N]."""
    return ask(target, ["sudo", "journalctl", "--no-pager", f"--lines={lines}", "--output=short-iso"])


@command(help={"words": WORDS.format("run")})
def start(context: Context, target: Target, task: str, words: str = "") -> int:
    """Run TASK now: its lock, its limits, its exit code."""
    return ask(target, rota("run", words, task=task, says_who=True), live=True)


@command()
def shell(context: Context, target: Target, host: str = "") -> None:
    """Open a shell on the first host, or on --host HOST."""
    from provision import estate

    chosen = target.chosen(host or None)
    argv = estate.ssh_command(estate.ssh_config_of(target.inventory), chosen, [], terminal=True)
    os.execvp(argv[0], argv)  # noqa: S606 - becomes the shell on purpose


class BadWords(OperatorError):
    """These words cannot be taken apart"""


def rota(command: str, *words: str, task: str = "", says_who: bool = False) -> list[str]:
    """A command of the agent, with words as one types them; a task's name is one word whatever it holds.

    `says_who` has the record name the operator, for all of them come to a host as the same user.
    """
    import shlex

    from provision.deploying import whoami

    try:
        given = [each for word in words for each in shlex.split(word)]
    except ValueError as error:
        raise BadWords(f"{' '.join(words)!r}: {error}") from None
    who = ["env", f"ROTA_ASKED_BY={whoami()}"] if says_who else []
    return ["sudo", *who, "rota", command, *given, *([task] if task else [])]


def ask(target: Target, argv: list[str], *, live: bool = False) -> int:
    from provision import estate

    return estate.put(estate.ssh_config_of(target.inventory), target.hosts, argv, live=live)


# -- backups and the mirror -------------------------------------------------------------------------------------


@command(
    called="backup",
    on=("production",),
    refuse={
        "staging": "nothing there is backed up; `fab restore_staging` makes it of production",
        "development": "nothing there is backed up",
        "backup": "it keeps the backups of production: `fab production backup` makes one",
    },
)
def back_up_now(context: Context, target: Target) -> int:
    """Back up databases and media now, and wait for it."""
    from provision.ansible import run_playbook

    return run_playbook(target.inventory, "backup", target.hosts)


@command(
    on=("development", "staging", "production"),
    help={
        "at": "the newest good one at or before this time: 2026-03-01T12:00 (UTC), or with a zone",
        "host": "this host alone; default each host of the environment",
        "check": "change nothing, only find the backup and say whether it is whole",
        "yes-destroy-production": "do not ask; for when there is no terminal",
    },
)
def restore_db_from_backup(
    context: Context,
    target: Target,
    at: str = "",
    host: str = "",
    yes_destroy_production: bool = False,
    check: bool = False,
) -> int:
    """Put the newest good backup in place, or --at TIME."""
    from provision import restoring
    from provision.confirm import confirm_destruction

    hosts = (target.chosen(host),) if host else target.hosts
    if not check:
        what = f"The databases of {', '.join(hosts)} are about to be replaced by a backup"
        confirm_destruction(target.environment, what, yes=yes_destroy_production)
    confirmed = target.environment == "production"
    return restoring.restore_db(target.inventory, hosts, at, confirmed=confirmed, check=check)


@task(help=PREVIEW)
def restore_staging(context: Context, check: bool = False, diff: bool = False) -> None:
    """Mirror production onto staging, masked."""
    with sentences():
        inventory = load_inventory(context)
        hosts = (*inventory.hosts("staging"), *inventory.hosts("production"))
        print(f"staging: inventory {inventory.name}, {describe(hosts)} (production is only read)", flush=True)
        from provision import mirroring

        leave(mirroring.restore_staging(inventory, check=check, diff=diff))


# -- this repository --------------------------------------------------------------------------------------------


@task
def demo(context: Context) -> None:
    """See all of it: lab, deploy, tasks, backup, mirror."""
    from provision import demonstration

    with sentences():
        leave(demonstration.run(ROOT))


@task(
    help={
        "only": "unit: what is quick; browser: the pages; servers: backups, mirrors; lab: on hosts; default all",
        "words": "more words for pytest",
    }
)
def test(context: Context, only: str = "", words: str = "") -> None:
    """Run the checks and every test, the lab's too."""
    from provision import checks

    with sentences():
        leave(checks.run_tests(ROOT, only, words))


@task
def lint(context: Context) -> None:
    """Check form, types, layers, playbooks and scripts."""
    from provision import checks

    leave(checks.lint(ROOT))


@task
def docs(context: Context) -> None:
    """Write the generated parts of docs/ anew."""
    from provision import documentation

    documentation.write(ROOT)


@task
def words(context: Context) -> None:
    """Update the translations of the diary and of packs; list the gaps."""
    from provision import words as catalogues

    with sentences():
        leave(catalogues.update(ROOT))


@task
def pictures(context: Context) -> None:
    """Take the pictures in docs/ anew, in a browser."""
    from provision import checks

    leave(checks.take_pictures(ROOT))


@task
def lock(context: Context) -> None:
    """Resolve dependencies anew and write requirements/."""
    from provision import checks

    leave(checks.lock(ROOT))


# -- the lab ----------------------------------------------------------------------------------------------------


@task
def up(context: Context) -> None:
    """Boot the four hosts, at first building their base."""
    from provision import lab as hosts

    with sentences():
        hosts.up(ROOT)
        print(hosts.status(ROOT))


@task
def down(context: Context) -> None:
    """Stop the lab and leave nothing behind."""
    from provision import lab as hosts

    with sentences():
        hosts.down(ROOT)


@task
def reset(context: Context, host: str = "all") -> None:
    """Make all hosts (or --host HOST) as at first boot."""
    from provision import lab as hosts

    with sentences():
        hosts.reset(ROOT, host)


@task(name="status")
def lab_status(context: Context) -> None:
    """Which hosts run, their addresses, what is cut."""
    from provision import lab as hosts

    with sentences():
        print(hosts.status(ROOT))


@task(positional=["a", "b"])
def cut(context: Context, a: str, b: str) -> None:
    """Cut the network between two hosts."""
    from provision import lab as hosts

    with sentences():
        hosts.cut(ROOT, a, b)


@task
def heal(context: Context) -> None:
    """Heal every cut."""
    from provision import lab as hosts

    with sentences():
        hosts.heal(ROOT)


@task(positional=["host", "time"])
def clock(context: Context, host: str, time: str) -> None:
    """Set a host's clock to TIME: +3d, -90m, now."""
    from datetime import UTC, datetime

    from provision import lab as hosts
    from provision.lab.clock import parse

    with sentences():
        hosts.set_clock(ROOT, host, parse(time, datetime.now(UTC)))


# -- secrets ----------------------------------------------------------------------------------------------------


@task
def make(context: Context) -> None:
    """Make missing secrets; existing ones stay."""
    from provision import secrets

    with sentences():
        secrets.make_command(load_inventory(context), ROOT)


@task(positional=["group"])
def edit(context: Context, group: str) -> None:
    """Open one vault (all, staging, …) in $EDITOR."""
    from provision import secrets

    with sentences():
        secrets.edit_command(load_inventory(context), ROOT, group)


@task
def check(context: Context) -> None:
    """List what is missing, or still to be supplied."""
    from provision import secrets

    with sentences():
        leave(secrets.check_command(load_inventory(context), ROOT))


@task(
    positional=[],
    help={
        "host": "only this one",
        "hosts-file": "also name the hosts in this machine's /etc/hosts, as root",
        "remove": "take the estate's names out of ~/.ssh and /etc/hosts; pinned keys stay",
    },
)
def trust(context: Context, host: str = "", hosts_file: bool = False, remove: bool = False) -> None:
    """Fetch new hosts' SSH keys, confirm and pin them."""
    from provision import ssh

    with sentences():
        if remove:
            ssh.remove_command(load_inventory(context))
        else:
            ssh.trust_command(load_inventory(context), ROOT, host or None, hosts_file=hosts_file)


@task(positional=["host"])
def forget(context: Context, host: str) -> None:
    """Forget a host's pinned SSH key, its name typed."""
    from provision import ssh

    with sentences():
        ssh.forget_command(load_inventory(context), ROOT, host)


@task(positional=["variable", "group"])
def rotate(context: Context, variable: str, group: str, host: str = "") -> None:
    """Replace a secret, or one host's part of it."""
    from provision import secrets

    with sentences():
        secrets.rotate_command(load_inventory(context), ROOT, variable, group, host or None)


@task(positional=["file"])
def rekey(context: Context, file: str) -> None:
    """Encrypt all vaults with the password in FILE."""
    from provision import secrets

    with sentences():
        secrets.rekey_command(load_inventory(context), ROOT, Path(file))


namespace = Collection(
    development, staging, production, backup,
    provision, deploy, rollback, releases, verify,
    status, runs, logs, start, plan, pause, resume, rules, journal, shell,
    restore_db_from_backup, restore_staging,
    demo, test, lint, docs, pictures, words, lock,
    auto_dash_names=False,
)  # fmt: skip
namespace.add_collection(Collection("lab", up, down, reset, lab_status, cut, heal, clock))
namespace.add_collection(Collection("secrets", make, edit, check, trust, forget, rotate, rekey))
namespace.configure({"rota": {"inventory": "lab"}})


class UnknownWord(OperatorError):
    """There is no such environment or command"""


def refuse_unknown_word(arguments: list[str]) -> None:
    """Name what was meant before Invoke says that it has no idea."""
    import difflib

    known = list(namespace.task_names)
    first = next((word for word in arguments if not word.startswith("-")), None)
    if not arguments or arguments[0] != first or first in known:
        return
    nearest = difflib.get_close_matches(first, known, n=1)
    meant = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UnknownWord(f"{first!r}; {meant}environments are {', '.join(ENVIRONMENTS)}; `./run` lists the commands")


class NothingFollows(OperatorError):
    """An environment selects the hosts of the command after it"""


def refuse_environment_at_the_end(arguments: list[str]) -> None:
    """Before `lab.reset staging` resets every host, and `production deploy staging` deploys to production alone."""
    *before, last = arguments or [""]
    previous = before[-1] if before else None
    if last not in ENVIRONMENTS or (last == "backup" and previous in ENVIRONMENTS):
        return
    if previous is None:
        raise NothingFollows(f"`./run {last} status`, for one; `./run` lists the commands")
    if previous in namespace.task_names and not any(word.positional for word in namespace[previous].get_arguments()):
        raise NothingFollows(f"none follows {last!r}, and {previous!r} takes no such word; `./run --help {previous}`")


if Path(sys.argv[0]).name in ("fab", "__main__.py"):
    if "--list" in sys.argv:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `./run | head` ends as `ls | head` does
    with sentences():
        refuse_unknown_word(sys.argv[1:])
        refuse_environment_at_the_end(sys.argv[1:])
