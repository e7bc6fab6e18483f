"""The filter of system calls, run by an interpreter of classic BPF of its own, and its numbers against the headers."""

import errno
import re
import struct
from pathlib import Path

import pytest

from goldpanner.verify.sandbox.seccomp import AUDIT, CLONE, CLONE3, REFUSED, SOCKET, SOCKETPAIR, _steps

ALLOW, KILL = "allow", "kill"
MACHINES = list(AUDIT)


def decided(machine: str, number: int, first: int = 0, audit: int | None = None) -> str:
    """What the kernel would do: seccomp(2) and the kernel's Documentation/networking/filter.rst."""
    data = struct.pack("=iIQQ", number, AUDIT[machine] if audit is None else audit, 0, first)
    steps, at, loaded = list(_steps(machine)), 0, 0
    while True:
        code, true, false, operand = steps[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, operand)
        elif code == 0x06:
            action = operand & 0xFFFF0000
            return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(action) or errno.errorcode[operand & 0xFFFF]
        else:
            holds = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}[code]
            at += true if holds else false


@pytest.mark.parametrize("machine", MACHINES)
def test_what_the_filter_decides(machine: str) -> None:
    at = MACHINES.index(machine)
    refused = {numbers[at] for numbers in REFUSED.values()}
    special = {CLONE[at], CLONE3[at], SOCKET[at], SOCKETPAIR[at]}
    for number in range(600):
        if number not in special:
            assert decided(machine, number) == ("EPERM" if number in refused else ALLOW), number
    assert decided(machine, CLONE3[at]) == "ENOSYS"
    assert decided(machine, CLONE[at], 0x01200011) == ALLOW, "fork"
    assert decided(machine, CLONE[at], 0x3D0F00) == ALLOW, "a thread"
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decided(machine, CLONE[at], flag | 17) == "EPERM"
    for call in (SOCKET[at], SOCKETPAIR[at]):
        for family in range(50):
            assert decided(machine, call, family) == (ALLOW if family in (1, 2, 10) else "EAFNOSUPPORT"), family
    assert decided(machine, 0x40000000) == decided(machine, 0x40000000 + 39) == "EPERM", "x32"
    assert decided(machine, 0, audit=0x40000003) == KILL, "i386"


@pytest.mark.parametrize(
    ("machine", "header", "prefix"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "__NR_"),
        ("aarch64", "/usr/include/asm-generic/unistd.h", "__NR(?:3264)?_"),
    ],
)
def test_the_numbers_are_those_of_the_headers(machine: str, header: str, prefix: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    text = Path(header).read_text()
    named = {**REFUSED, "clone": CLONE, "clone3": CLONE3, "socket": SOCKET, "socketpair": SOCKETPAIR}
    for name, numbers in named.items():
        found = re.search(rf"^#define {prefix}{name}\s+(\d+)", text, re.MULTILINE)
        if found or name not in ("memfd_secret", "mount_setattr"):  # newer than some headers
            assert found is not None
            assert int(found[1]) == numbers[MACHINES.index(machine)], name
