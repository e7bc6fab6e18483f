"""A warm Python inside bubblewrap that forks one process a program. Its *text* runs inside, like that of `confined`.

bubblewrap gives this process its files and namespaces, and leaves it the right to make more. Each program gets fresh
ones: processes, network, mounts with an empty folder of its own, IPC, host name, control groups. Before its own code
runs it has given up every right, and its system calls go through the filter. This process never sees a program, nor
what is expected of one: those come on pipes that only the fork reads.
"""

import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import NoReturn

from goldpanner.verify.sandbox.confined import main as run
from goldpanner.verify.sandbox.confined import status_of

CHANNEL = 3
"""Descriptor of a fork's own socket, by which the caller ends it."""
NEWPID = 0x20000000
NEW = 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
"""Flags of unshare(2) for mounts, network, IPC, host name, control groups."""
NOSUID, NODEV, REC, PRIVATE = 2, 4, 0x4000, 0x40000
COMMON = (
    "_sitebuiltins atexit resource select "
    "array bisect collections copy dataclasses datetime decimal fractions functools heapq inspect itertools math "
    "operator queue random re statistics string textwrap threading typing unittest"
)
"""Modules that programs import often: loaded once."""
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Fork for each message of the caller, whose socket is the first argument; end with it."""
    control = socket.socket(fileno=int(sys.argv[1]))
    rules = control.recv(1 << 16)
    for name in COMMON.split():
        __import__(name)
    gc.collect()
    gc.freeze()
    own = os.pidfd_open(os.getpid())
    read_end, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(tell)
    children: dict[int, socket.socket] = {}
    control.send(b"ready")
    while True:
        ready, _, _ = select.select([control.fileno(), read_end], [], [])
        if read_end in ready:
            os.read(read_end, 4096)
            while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                channel = children.pop(ended[0])
                with suppress(OSError):  # nobody wants to know any more
                    channel.send(str(status_of(ended[1])).encode())
                channel.close()
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 4096, 8)
            if not message:
                os._exit(0)
            _call("setns", own, NEWPID)  # the next unshare is from here, not from the last fork's namespace
            _call("unshare", NEWPID)
            child = os.fork()
            if not child:
                _fork(json.loads(message), descriptors, rules)
            children[child] = socket.socket(fileno=descriptors[3])
            for descriptor in descriptors[:3] + descriptors[4:]:
                os.close(descriptor)


def _call(name: str, *args: object) -> None:
    """Make a call of the C library. Raises OSError."""
    if getattr(_libc, name)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _fork(message: dict[str, int], descriptors: list[int], rules: bytes) -> NoReturn:
    """As the first process of new namespaces: take the program's pipes, furnish the folder, and run it."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for group in descriptors[4:]:
            os.write(group, b"0")
        for place in (0, 1, 2, CHANNEL):
            os.dup2(descriptors[place], place)
        os.closerange(CHANNEL + 1, 1 << 16)
        _call("unshare", NEW)
        _call("mount", b"none", b"/", None, REC | PRIVATE, None)
        options = f"mode=0777,size={message['disk']}".encode()
        _call("mount", b"tmpfs", b"/box", b"tmpfs", NOSUID | NODEV, options)
        os.chdir("/box")
        _loopback()
        os.setsid()
        os.write(CHANNEL, b"born")
    except BaseException as error:
        os.write(2, f"the sandbox failed: {error!r}\n".encode())
        os._exit(1)
    run(CHANNEL, lambda: _give_up(rules))
    os._exit(1)


def _loopback() -> None:
    """Switch the namespace's own network on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


def _give_up(rules: bytes) -> None:
    """Give up every capability, for good, and put the filter before the system calls."""
    _call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _call("capset", header, none)
    if rules != b"none":
        program = ctypes.create_string_buffer(rules, len(rules))
        filter_ = struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(program))
        _call("prctl", 22, 2, filter_, 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    del sys.modules["goldpanner.verify.sandbox.zygote"]
