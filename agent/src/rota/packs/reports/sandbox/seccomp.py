"""The filter of kernel calls that a script runs behind, as a program for the kernel's packet filter.

An allow list: `calls.py`, of which a few are looked at more closely here. What is refused gets an error instead of
a signal, so that the script's own message tells what it tried; only foreign architectures are killed, for they number
their calls otherwise. The layout of instructions and of what they load is linux/filter.h and linux/seccomp.h.
"""

import errno
import platform
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rota.core.errors import RotaError
from rota.packs.reports.sandbox.calls import ARCHITECTURES, NEWEST, Architecture

ALLOW = 0x7FFF0000
KILL = 0x80000000
DENY = 0x00050000 | errno.EPERM
ABSENT = 0x00050000 | errno.ENOSYS

LOAD, AND = 0x20, 0x54  # a word of what the kernel tells; the accumulator with a constant
EQUAL, GREATER, AT_LEAST, RETURN = 0x15, 0x25, 0x35, 0x06

NUMBER, ARCHITECTURE = 0, 4
ARGUMENTS = (16, 24)  # their lower halves; both architectures are little-endian

X32 = 0x40000000  # the bit that marks calls of x86-64's third interface
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, …NEWCGROUP, …NEWUTS, …NEWIPC, …NEWUSER, …NEWPID, …NEWNET
THREAD = 0x00010000  # CLONE_THREAD
UNIX = 1

# TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; none that types into a terminal, as TIOCSTI does.
CONTROLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

# PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_SET_NO_NEW_PRIVS,
# PR_GET_NO_NEW_PRIVS, PR_SET_VMA.
PROCESS_OPTIONS = (1, 2, 3, 15, 16, 23, 38, 39, 0x53564D41)

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


class UnknownArchitecture(RotaError):
    """The filter of kernel calls is not written for this processor."""


def program(*, unix_sockets: bool, forks: bool, machine: str | None = None) -> bytes:
    """For `bwrap --seccomp`: whether there are sockets of the unix family, and processes beside the first.

    Raises UnknownArchitecture.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        raise UnknownArchitecture(f"{machine!r}; there are: {', '.join(ARCHITECTURES)}")
    return b"".join(struct.pack("=HBBI", *each) for each in instructions(ARCHITECTURES[machine], unix_sockets, forks))


def profile(*, unix_sockets: bool, forks: bool) -> dict[str, Any]:
    """The same as `program`, for `podman run --security-opt seccomp=FILE`; it knows each machine's numbers itself."""
    by_argument = arguments(unix_sockets)
    known = {name for each in ARCHITECTURES.values() for name in each.calls}
    forking = {"fork", "vfork"} if not forks else set()
    rules = [rule(sorted(known - set(by_argument) - forking - {"clone", "clone3"}))]
    for name, (argument, values) in by_argument.items():
        rules += [rule([name], {"index": argument, "value": value, "op": "SCMP_CMP_EQ"}) for value in values]
    mask, wanted = flags_of_clone(forks)
    flags = {"index": 0, "value": mask, "valueTwo": wanted, "op": "SCMP_CMP_MASKED_EQ"}
    rules += [rule(["clone"], flags), {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}]
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.EPERM, "syscalls": rules}


def rule(names: list[str], *conditions: Mapping[str, object]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(conditions)}


def instructions(architecture: Architecture, unix_sockets: bool, forks: bool) -> Iterator[Instruction]:
    yield (LOAD, 0, 0, ARCHITECTURE)
    yield from answer_unless(EQUAL, architecture.audit, KILL)
    yield (LOAD, 0, 0, NUMBER)
    if architecture.name == "x86_64":
        yield from answer_if(AT_LEAST, X32, KILL)
    closer = looked_at(unix_sockets, forks)
    for name, block in closer.items():
        if name not in architecture.calls:
            continue
        yield (EQUAL, 0, len(block), architecture.calls[name])
        yield from block
    plain = (number for name, number in architecture.calls.items() if name not in closer)
    for first, last in ranges(plain):
        yield (GREATER, 3, 0, last)
        yield from answer_if(AT_LEAST, first, ALLOW)
        yield (RETURN, 0, 0, DENY)
    yield from answer_if(GREATER, NEWEST, ABSENT)
    yield (RETURN, 0, 0, DENY)


def answer_if(test: int, constant: int, answer: int) -> list[Instruction]:
    return [(test, 0, 1, constant), (RETURN, 0, 0, answer)]


def answer_unless(test: int, constant: int, answer: int) -> list[Instruction]:
    return [(test, 1, 0, constant), (RETURN, 0, 0, answer)]


def looked_at(unix_sockets: bool, forks: bool) -> dict[str, list[Instruction]]:
    """The calls that depend on an argument or on what a script may, each with what answers it."""
    blocks = {name: one_of(argument, values) for name, (argument, values) in arguments(unix_sockets).items()}
    mask, wanted = flags_of_clone(forks)
    blocks["clone"] = [(LOAD, 0, 0, ARGUMENTS[0]), (AND, 0, 0, mask), *answer_if(EQUAL, wanted, ALLOW), refusal()]
    blocks["clone3"] = [(RETURN, 0, 0, ABSENT)]
    return blocks if forks else {**blocks, "fork": [refusal()], "vfork": [refusal()]}


def flags_of_clone(forks: bool) -> tuple[int, int]:
    """A mask for the flags of `clone`, and what must be left of them: no new namespace; where none forks, a thread."""
    return (NEW_NAMESPACES, 0) if forks else (NEW_NAMESPACES | THREAD, THREAD)


def arguments(unix_sockets: bool) -> Mapping[str, tuple[int, Sequence[int]]]:
    """The calls that are allowed with some values of one argument only: its number, from 0, and these values.

    The two ends of a `socketpair` reach nobody but each other. The flags of `clone3` lie in memory, where no filter
    can read them, so there is none; those of `clone` are bits.
    """
    return {
        "socket": (0, (UNIX,) if unix_sockets else ()),
        "socketpair": (0, (UNIX,)),
        "ioctl": (1, CONTROLS),
        "prctl": (0, PROCESS_OPTIONS),
    }


def one_of(argument: int, allowed: Iterable[int]) -> list[Instruction]:
    tests = [each for value in allowed for each in answer_if(EQUAL, value, ALLOW)]
    return [(LOAD, 0, 0, ARGUMENTS[argument]), *tests, refusal()]


def refusal() -> Instruction:
    return (RETURN, 0, 0, DENY)


def ranges(numbers: Iterable[int]) -> Sequence[tuple[int, int]]:
    """The first and last of each unbroken row of them, ascending."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
