"""A child that inspects a tenant's disk can do nothing else, whatever code runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recast.preparation import Verdict, inspect
from recast.preparation.confinement import UID, filter_program
from tests.harness.disks import SystemDisk

# Each attempt must raise. `secret` is a file of the service's user, `parent` its process.
ATTEMPTS = {
    "open a key": "open(secret)",
    "open by its number": "os.open('/proc/self/fd/0', os.O_RDONLY)",
    "read the parent's environment": "open(f'/proc/{parent}/environ')",
    "delete a file": "os.unlink(secret)",
    "rename a file": "os.rename(secret, secret + '.x')",
    "truncate a file": "os.truncate(secret, 0)",
    "change a file's mode": "os.chmod(secret, 0o777)",
    "make a folder": "os.mkdir(secret + '.d')",
    "list a folder": "os.listdir('/')",
    "open a socket": "socket.socket()",
    "open a local socket": "socket.socket(socket.AF_UNIX)",
    "open a pair of sockets": "socket.socketpair()",
    "open a pipe": "os.pipe()",
    "duplicate a descriptor": "os.dup(0)",
    "make a file in memory": "os.memfd_create('x')",
    "fork": "os.fork()",
    "fork a shell": "subprocess.run(['/bin/sh', '-c', 'true'])",
    "become a shell": "os.execv('/bin/sh', ['/bin/sh', '-c', 'exit 77'])",
    "start a thread": "threading.Thread(target=print).start()",
    "signal the parent": "os.kill(parent, 0)",
    "signal the parent's thread": "called(libc.syscall(234 if x86 else 131, parent, parent, 0))",
    "trace the parent": "called(libc.ptrace(16, parent, 0, 0))",
    "read the parent's memory": "called(libc.process_vm_readv(parent, 0, 0, 0, 0, 0))",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "raise the memory": "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    "become root": "os.setuid(0)",
    "mount": "called(libc.mount(b'x', b'/', b'tmpfs', 0, 0))",
    "leave its namespaces": "called(libc.unshare(0x10000000))",
    "use io_uring": "called(libc.syscall(425, 1, 0))",
}
_PROGRAM = """
import codecs, ctypes, os, platform, resource, socket, subprocess, sys, threading
from recast.preparation import confinement

for encoding in confinement._ENCODINGS:
    codecs.lookup(encoding)
secret, parent = sys.argv[1], os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"

def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

{before}
confinement.confine(5)
try:
    {attempt}
except (OSError, RuntimeError, ValueError) as refused:
    print("refused", os.getuid())
else:
    print("done")
"""
DROPPED = [pytest.param(None, id="as it is"), pytest.param(10001, id="without privileges")]
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def outcome(secret: Path, attempt: str, user: int | None, before: str = "") -> str:
    """What a confined process that makes the attempt prints; it runs as a user, or as this one."""
    if user is not None and os.getuid() != 0:
        user = None  # it has no privileges
    program = _PROGRAM.format(attempt=attempt, before=before)
    if user is not None:  # after the imports, as the folders of this test may be root's
        program = program.replace("\nsecret,", f"\nos.setresuid({user}, {user}, {user})\nsecret,")
    done = subprocess.run(
        [sys.executable, "-c", program, str(secret)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout or f"ended with {done.returncode}: {done.stderr}"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that each user can read and write: only the confinement protects it."""
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(0o666)
    return path


@pytest.mark.parametrize("user", DROPPED)
@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
@pytest.mark.fault("FAULT-CONFINED-CHILD")
def test_an_attempt_is_refused(secret: Path, attempt: str, user: int | None) -> None:
    """Files, sockets, programs, processes, memory of others and limits are out of its reach."""
    assert outcome(secret, attempt, user).startswith("refused")
    assert secret.read_text() == "secret"


# Without the filter of system calls, as on a machine of another kind, these are still refused.
_OPENING = ("open", "fork", "duplicate", "make a file", "raise", "start")
BY_LIMITS = [name for name in ATTEMPTS if name.startswith(_OPENING)]


@pytest.mark.parametrize("user", DROPPED)
@pytest.mark.parametrize("name", BY_LIMITS)
@pytest.mark.fault("FAULT-CONFINED-CHILD")
def test_limits_alone_stop_most(secret: Path, name: str, user: int | None) -> None:
    """Where the kernel filters no system calls, no file, socket or process is opened nevertheless."""
    before = "confinement._MACHINES = {}"
    assert outcome(secret, ATTEMPTS[name], user, before).startswith("refused")


@needs_root
@pytest.mark.fault("FAULT-CONFINED-CHILD")
def test_a_child_of_root_is_a_user_of_its_own(secret: Path) -> None:
    """Where the service is root, its child is a user that owns nothing."""
    assert outcome(secret, ATTEMPTS["open a key"], None) == f"refused {UID}\n"


def test_the_filter_ends_with_its_two_answers() -> None:
    """Each call that is allowed jumps to the last instruction, and the one before refuses."""
    program = filter_program(0xC000003E, (0, 1), 234, 42)
    assert len(program) // 8 == 3 + 2 + 3 + 2
    jumps = [(index, program[8 * index + 2]) for index in (3, 4)]
    assert [index + 1 + jump for index, jump in jumps] == [9, 9]


def test_nothing_is_imported_during_an_inspection(
    make_disk: Callable[..., SystemDisk], tmp_path: Path
) -> None:
    """All that an inspection needs is imported before the confinement: afterwards no file can be opened."""
    disks = [make_disk(variant=variant).path for variant in ("prepared", "unprepared")]
    program = (
        "import sys, os\n"
        "from recast.preparation import worker\n"
        "from recast.preparation.confinement import confine\n"
        "from recast.preparation.inspection import inspect_here\n"
        "class Reader:\n"
        "    def __init__(self, path):\n"
        "        self.fd, self.size_bytes = os.open(path, os.O_RDONLY), os.stat(path).st_size\n"
        "    def pread(self, offset, length):\n"
        "        return os.pread(self.fd, length, offset)\n"
        "readers = [Reader(path) for path in sys.argv[1:]]\n"
        "confine(20)\n"
        "before = set(sys.modules)\n"
        "for reader in readers:\n"
        "    inspect_here(reader)\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-c", program, *map(str, disks)], check=True, timeout=60, cwd=tmp_path)


@pytest.mark.fault("FAULT-CONFINED-CHILD")
def test_a_confined_child_reports(make_disk: Callable[..., SystemDisk], file_reader: Any) -> None:
    """The confinement takes nothing that an inspection needs: a prepared disk is found prepared."""
    report = inspect(file_reader(make_disk(variant="prepared").path))
    required = {finding.verdict for finding in report.findings if finding.required}
    assert required == {Verdict.OK}
