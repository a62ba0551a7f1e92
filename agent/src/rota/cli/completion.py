"""The command `rota completion`: what bash needs to complete commands, options, tasks and runs, made from the parser.

Bash looks up all it offers by itself: starting Python for each press of the key would take too long.
"""

import argparse
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from rota.cli.finding import find_catalogue, find_places
from rota.cli.parsing import command

if TYPE_CHECKING:
    from rota.cli.parsing import Commands

TASKS, RUNS, FILES = "@tasks", "@runs", "@files"
ANYTHING = "@"
LATEST = 30

# The words before the one in hand are walked once: they say where the spool is, which command is meant, and how many
# of its words are there. COMP_WORDBREAKS makes three words of --status=failed.
SCRIPT = Template(r"""# Completion of `rota` for bash, as `rota completion bash` prints it.
declare -gA _rota_options=(
$options
)
declare -gA _rota_values=(
$values
)
declare -gA _rota_words=(
$words
)

_rota_tasks() {
    local unit
    if [[ -n $$1 ]]; then
        rota --home "$$1" completion tasks 2>/dev/null
        return
    fi
    for unit in /etc/systemd/system/rota-task-*.service; do
        unit=$${unit##*/rota-task-}
        [[ $$unit == '*.service' ]] || printf '%s\n' "$${unit%.service}"
    done
}

# The latest $latest runs that begin like the word in hand, or the one that ends like it.
_rota_runs() {
    local spool=$${1:+$$1/spool} word=$$2 path found=() ends=()
    spool=$${spool:-/var/lib/rota/spool}
    for path in "$$spool"/{running,done,sent}/"$$word"*.json; do
        path=$${path##*/}
        [[ $$path == *'*'* ]] || found+=("$${path%.json}")
    done
    if (( $${#found[@]} == 0 && $${#word} > 1 )); then
        for path in "$$spool"/{running,done,sent}/*"$$word".json; do
            path=$${path##*/}
            [[ $$path == *'*'* ]] || ends+=("$${path%.json}")
        done
    fi
    printf '%s\n' "$${found[@]}" "$${ends[@]}" | sort -ru | head -n $latest
}

_rota_offer() {
    local kind=$$1 home=$$2 word=$$3
    case $$kind in
        $tasks) mapfile -t COMPREPLY < <(compgen -W "$$(_rota_tasks "$$home")" -- "$$word") ;;
        $runs)
            compopt -o nosort 2>/dev/null  # the newest first
            mapfile -t COMPREPLY < <(compgen -W "$$(_rota_tasks "$$home")" -- "$$word")
            (( $${#COMPREPLY[@]} )) && [[ -n $$word ]] || mapfile -t -O $${#COMPREPLY[@]} COMPREPLY \
                < <(_rota_runs "$$home" "$$word" | grep .) ;;
        $files) mapfile -t COMPREPLY < <(compgen -f -- "$$word"); compopt -o filenames 2>/dev/null ;;
        $anything) ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$$kind" -- "$$word") ;;
    esac
}

_rota() {
    local word=$${COMP_WORDS[COMP_CWORD]} home=$$ROTA_HOME name= option= kinds each i count=0
    COMPREPLY=()
    [[ $$word == '=' ]] && word=
    for (( i = 1; i < COMP_CWORD; i++ )); do
        each=$${COMP_WORDS[i]}
        [[ $$each == '=' ]] && continue
        if [[ -n $$option ]]; then
            [[ $$option == --home ]] && home=$$each
            option=
        elif [[ $$each == -* ]]; then
            [[ -n $${_rota_values[$$name $$each]} ]] && option=$$each
        elif [[ -z $$name ]]; then
            name=$$each
        else
            (( ++count ))
        fi
    done
    if [[ -n $$option ]]; then
        _rota_offer "$${_rota_values[$$name $$option]}" "$$home" "$$word"
    elif [[ $$word == -* ]]; then
        _rota_offer "$${_rota_options[$$name ]}" "$$home" "$$word"
    else
        IFS='|' read -ra kinds <<< "$${_rota_words[$$name ]}"
        (( count >= $${#kinds[@]} && $${#kinds[@]} )) && [[ $${kinds[-1]} == *'…' ]] && count=$$(( $${#kinds[@]} - 1 ))
        each=$${kinds[count]%'…'}
        _rota_offer "$${each:-$anything}" "$$home" "$$word"
    fi
}

complete -F _rota rota
""")


def add_commands(commands: "Commands") -> None:
    printing = command(commands, "completion", print_completion, "Print what a shell needs to complete these commands.")
    printing.add_argument("what", choices=["bash", "tasks"], help="the script for bash, or just the names of the tasks")


def print_completion(options: argparse.Namespace) -> None:
    if options.what == "tasks":
        print("\n".join(find_catalogue(find_places(options)).tasks))
        return
    from rota.cli import parser

    print(bash(parser()), end="")


def bash(top: argparse.ArgumentParser) -> str:
    """The script for this parser, its commands, and those of packs."""
    parsers: dict[str, argparse.ArgumentParser] = {"": top} | dict(commands_of(top)) | dict(commands_of_packs())
    options, values, words = {}, {}, {}
    for name, parser in parsers.items():
        optional = [action for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS]
        options[f"{name} "] = " ".join(longest(action) for action in optional)
        for action in optional:
            for spelt in action.option_strings if action.nargs != 0 else ():
                values[f"{name} {spelt}"] = kind(action)
        words[f"{name} "] = "|".join(word(action) for action in parser._actions if not action.option_strings)
    names = " ".join(sorted(name for name in parsers if name))
    words[" "] = names
    tables = {"options": options, "values": values, "words": words}
    return SCRIPT.substitute(
        {name: table(each) for name, each in tables.items()},
        tasks=TASKS,
        runs=RUNS,
        files=FILES,
        anything=ANYTHING,
        latest=LATEST,
    )


def table(rows: Mapping[str, str]) -> str:
    """The lines of a table in bash. Keys and values are our own words, without a quote."""
    return "\n".join(f"    ['{key}']='{value}'" for key, value in sorted(rows.items()) if value)


def commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands below this parser, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def commands_of_packs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parsers of the packs that have commands of their own, as far as their extras are installed."""
    for module in pkgutil.iter_modules(importlib.import_module("rota.packs").__path__):
        try:
            entry = importlib.import_module(f"rota.packs.{module.name}.__main__")
        except ModuleNotFoundError:
            continue
        make: Callable[[], argparse.ArgumentParser] | None = getattr(entry, "parser", None)
        if make:
            yield module.name, make()


def longest(action: argparse.Action) -> str:
    return max(action.option_strings, key=len)


def word(action: argparse.Action) -> str:
    """What a word of a command may be; `…` behind it where there may be several."""
    return kind(action) + ("…" if action.nargs in ("*", "+") else "")


def kind(action: argparse.Action) -> str:
    """What the value may be: one of its choices, a task, a run, a file, or anything."""
    if action.choices:
        return " ".join(map(str, action.choices))
    if action.type is Path:
        return FILES
    return {"task": TASKS, "run": RUNS, "other": RUNS}.get(action.dest, ANYTHING)
