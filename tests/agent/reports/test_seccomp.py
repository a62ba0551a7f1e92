"""The filter of kernel calls, computed as the kernel computes it, for both architectures."""

import errno
import re
import struct
from pathlib import Path

import pytest

from rota.packs.reports.sandbox import seccomp
from rota.packs.reports.sandbox.calls import ARCHITECTURES, NEWEST

X86, ARM = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
HEADERS = Path("/usr/include")


def answer(
    machine: str, number: int, *arguments: int, audit: int | None = None, unix: bool = False, forks: bool = True
) -> int:
    """What the program says of a call: a model of the kernel's packet filter (networking/filter.rst)."""
    told = struct.pack(
        "=IIQ6Q", number, audit or ARCHITECTURES[machine].audit, 0, *arguments, *[0] * (6 - len(arguments))
    )
    code = list(struct.iter_unpack("=HBBI", seccomp.program(unix_sockets=unix, forks=forks, machine=machine)))
    at, value = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == seccomp.RETURN:
            return int(constant)
        if operation == seccomp.LOAD:
            (value,) = struct.unpack_from("=I", told, constant)
        elif operation == seccomp.AND:
            value &= constant
        else:
            holds = {seccomp.EQUAL: value == constant, seccomp.GREATER: value > constant}.get(
                operation, value >= constant
            )
            at += if_true if holds else if_false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_in_the_list_is_allowed_and_nothing_else(machine: str) -> None:
    calls = ARCHITECTURES[machine].calls
    closer = {calls[name] for name in seccomp.looked_at(unix_sockets=True, forks=True)}
    for number in set(range(600)) - closer:
        expected = seccomp.ALLOW if number in calls.values() else seccomp.DENY if number <= NEWEST else seccomp.ABSENT
        assert answer(machine, number) == expected, number


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_arguments_are_looked_at(machine: str) -> None:
    calls = ARCHITECTURES[machine].calls
    assert answer(machine, calls["socket"], 1) == seccomp.DENY
    assert [answer(machine, calls["socket"], family, unix=True) for family in (1, 2, 10, 16, 40)] == [
        seccomp.ALLOW,
        *[seccomp.DENY] * 4,
    ]
    assert answer(machine, calls["clone"], 0x003D0F00) == seccomp.ALLOW  # a thread of the C library
    assert all(answer(machine, calls["clone"], 1 << bit) == seccomp.DENY for bit in (17, 25, 26, 27, 28, 29, 30))
    assert answer(machine, calls["clone3"]) == seccomp.ABSENT
    assert answer(machine, calls["ioctl"], 0, 0x5401) == seccomp.ALLOW
    assert answer(machine, calls["ioctl"], 0, 0x5412) == seccomp.DENY
    assert answer(machine, calls["ioctl"], 0, 0x1_0000_5412) == seccomp.DENY


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_who_may_not_fork_has_threads_alone(machine: str) -> None:
    calls = ARCHITECTURES[machine].calls
    assert answer(machine, calls["clone"], 0x003D0F00, forks=False) == seccomp.ALLOW
    assert answer(machine, calls["clone"], 0x003D0F00 | 1 << 28, forks=False) == seccomp.DENY
    for flags in (17, 0x01200011, 0x4100):  # fork of the C library, with its thread's area, and vfork
        assert answer(machine, calls["clone"], flags, forks=True) == seccomp.ALLOW
        assert answer(machine, calls["clone"], flags, forks=False) == seccomp.DENY
    for name in {"fork", "vfork"} & set(calls):
        assert answer(machine, calls[name], forks=True) == seccomp.ALLOW
        assert answer(machine, calls[name], forks=False) == seccomp.DENY


def test_a_foreign_architecture_is_killed() -> None:
    assert answer("x86_64", 1, audit=0x40000003) == seccomp.KILL  # i386
    assert answer("x86_64", 0x40000001) == seccomp.KILL  # x32
    assert answer("aarch64", 64, audit=0x40000028) == seccomp.KILL  # arm


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("forks", [False, True])
def test_the_program_is_one_the_kernel_takes(machine: str, unix: bool, forks: bool) -> None:
    code = list(struct.iter_unpack("=HBBI", seccomp.program(unix_sockets=unix, forks=forks, machine=machine)))
    assert len(code) <= 4096
    assert code[-1][0] == seccomp.RETURN
    assert all(at + 1 + max(one[1], one[2]) < len(code) for at, one in enumerate(code[:-1]) if one[0] != seccomp.RETURN)


def test_the_numbers_are_the_kernels() -> None:
    """Known calls of the two tables, and all of this machine's where its headers are installed."""
    assert (X86.calls["read"], X86.calls["execve"], X86.calls["openat"], X86.calls["getrandom"]) == (0, 59, 257, 318)
    assert (ARM.calls["read"], ARM.calls["execve"], ARM.calls["openat"], ARM.calls["getrandom"]) == (63, 221, 56, 278)
    for header in HEADERS.glob("x86_64-*/asm/unistd_64.h"):
        known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
        assert {name: known.get(name, number) for name, number in X86.calls.items()} == X86.calls


def test_podman_is_told_the_same_calls() -> None:
    profile = seccomp.profile(unix_sockets=False, forks=True)
    named = {name for one in profile["syscalls"] for name in one["names"]}
    assert named == (set(X86.calls) | set(ARM.calls)) - {"socket"}
    assert profile["defaultErrnoRet"] == errno.EPERM


def test_another_processor_is_named() -> None:
    with pytest.raises(seccomp.UnknownArchitecture, match="'riscv64'; there are: x86_64, aarch64"):
        seccomp.program(unix_sockets=True, forks=True, machine="riscv64")
