"""The system calls that a sandboxed program does without, as a seccomp filter for bubblewrap's `--seccomp`.

A filter is a program of classic BPF that the kernel runs before each system call (seccomp(2)). Everything is allowed
but what gets around the limits (memory that no limit counts), what reaches beyond the namespaces (sockets of other
families, new namespaces and mounts), and what has long been a source of kernel exploits.
"""

import platform
import struct
import sys
from collections.abc import Iterator
from errno import EAFNOSUPPORT, ENOSYS, EPERM
from functools import lru_cache

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Of each architecture its AUDIT_ARCH, by which the kernel says how it was called."""

REFUSED = {
    # memory that RLIMIT_AS does not count: System V IPC, message queues, files without a name
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # other processes, and keys that every sandbox of a user id would share
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # what programs do without and exploits do not
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
}
"""Numbers of the system calls on x86_64 and aarch64."""
CLONE, CLONE3, SOCKET, SOCKETPAIR = (56, 220), (435, 435), (41, 198), (53, 199)
NAMESPACES = 0x7E020000
"""clone's flags that make one: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: they end at the sandbox's own network. AF_VSOCK and others do not."""

_LOAD, _EQUAL, _LEAST, _ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16  # places in struct seccomp_data; of the first argument the low half
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000

Step = tuple[int, int, int, int]
"""A `struct sock_filter`: code, steps to skip if true, if false, operand."""


@lru_cache(maxsize=1)
def filter_program() -> bytes | None:
    """Return the filter for this machine, None for an architecture whose numbers are not known here."""
    machine = platform.machine()
    if machine not in AUDIT or sys.maxsize < 2**32:
        return None
    return b"".join(struct.pack("=HBBI", *step) for step in _steps(machine))


def _steps(machine: str) -> Iterator[Step]:
    """Yield the filter; every test skips what follows it where it does not apply, so order is all there is to it."""
    at = list(AUDIT).index(machine)
    yield (_LOAD, 0, 0, _ARCHITECTURE)
    yield (_EQUAL, 1, 0, AUDIT[machine])
    yield (_RETURN, 0, 0, _KILL)  # a 32-bit call: other numbers
    yield (_LOAD, 0, 0, _NUMBER)
    yield from _refuse((_LEAST, _X32), EPERM)
    for numbers in REFUSED.values():
        yield from _refuse((_EQUAL, numbers[at]), EPERM)
    yield from _refuse((_EQUAL, CLONE3[at]), ENOSYS)  # its flags lie in memory; libc then takes clone
    yield (_EQUAL, 0, 4, CLONE[at])
    yield (_LOAD, 0, 0, _ARGUMENT)
    yield from _refuse((_ANY, NAMESPACES), EPERM)
    yield (_RETURN, 0, 0, _ALLOW)
    yield (_EQUAL, 1, 0, SOCKET[at])
    yield (_EQUAL, 0, 2 + len(FAMILIES), SOCKETPAIR[at])
    yield (_LOAD, 0, 0, _ARGUMENT)
    for i, family in enumerate(FAMILIES):
        yield (_EQUAL, len(FAMILIES) - i, 0, family)
    yield (_RETURN, 0, 0, _ERROR | EAFNOSUPPORT)
    yield (_RETURN, 0, 0, _ALLOW)


def _refuse(test: tuple[int, int], error: int) -> Iterator[Step]:
    yield (test[0], 0, 1, test[1])
    yield (_RETURN, 0, 0, _ERROR | error)
