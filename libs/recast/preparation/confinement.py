"""Takes from a process all that an inspection does not need, before it reads a tenant's first byte.

A file system that is made to do harm may come to run code in the process. That code then computes, and writes
to pipes that are open already: it opens no file and no socket, starts no program, and reaches no other
process. Everything must be imported before.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import platform
import resource
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

UID: Final = 65533
"""The user and group of a child of root: one that owns nothing, and is not the `nobody` of file servers."""
MEMORY_BYTES: Final = 512 << 20
"""Address space of one inspection; an ordinary one takes about 60 MiB."""

# Python imports an encoding at its first use, which is too late after the confinement.
_ENCODINGS: Final = ("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "idna")
_LOG_BYTES: Final = 64 << 10
_CLONE_NEWIPC, _CLONE_NEWNET = 0x08000000, 0x40000000
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2

# seccomp's filter: classic BPF over `struct seccomp_data`.
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in it
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter is EPERM

_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The place of a machine's numbers below, and the number of its architecture."""
_CALLS: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "futex": (202, 98),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "gettimeofday": (96, 169),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "sched_yield": (24, 124),
    "restart_syscall": (219, 128),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "membarrier": (324, 283),
}
"""What Python calls while it computes, and reads and writes open pipes."""
_TO_THREAD: Final = (234, 131)
"""tgkill, by which abort() ends its own process: allowed on that alone."""


def confine(cpu_seconds: int) -> None:
    """Confine this process for the rest of its life.

    Parts that the kernel or the container does not permit are left out: each alone stops most of what a
    hostile program could do.
    """
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    libc = ctypes.CDLL(None, use_errno=True)
    if os.getuid() == 0:
        libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC)
        with suppress(PermissionError):  # a root without capabilities
            os.setgroups([])
            os.setresgid(UID, UID, UID)
            os.setresuid(UID, UID, UID)
    _limit(cpu_seconds)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no other process of the user reads its memory
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _filter(libc)


def _limit(cpu_seconds: int) -> None:
    """Set limits that this process cannot raise."""
    limits = {
        resource.RLIMIT_CORE: 0,  # a dump would hold a tenant's content
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_NOFILE: 0,  # no new descriptor: no file, no socket, no pipe
        resource.RLIMIT_NPROC: 0,  # no process, and no thread
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_FSIZE: _log_size() + _LOG_BYTES,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))


def _log_size() -> int:
    """The size of the file that the standard error goes to, if it is one: a traceback may follow."""
    found = os.fstat(2)
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _filter(libc: ctypes.CDLL) -> None:
    """Refuse every system call but `_CALLS`. On other machines the limits alone hold."""
    known = _MACHINES.get(platform.machine())
    if known is None:
        return
    place, architecture = known
    numbers = [call[place] for call in _CALLS.values()]
    program = filter_program(architecture, numbers, _TO_THREAD[place], os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the count of instructions, and their address.
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header, len(header)), 0, 0)


def filter_program(architecture: int, numbers: Sequence[int], to_thread: int, own_pid: int) -> bytes:
    """Return the instructions of the filter, 8 bytes each: code, jump if true, jump if false, operand."""
    rest = len(numbers)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 0, rest + 4, architecture),  # else refused: 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER),
        *((_EQUALS, rest - position + 3, 0, number) for position, number in enumerate(numbers)),
        (_EQUALS, 0, 2, to_thread),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUALS, 1, 0, own_pid),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
