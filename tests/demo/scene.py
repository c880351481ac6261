"""The state that the steps of the demo share: the disks that were built, and the report of a step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from recast.ecs.v1 import server_pb2
from recast.faults import RemoteRefusal
from tests.demo.fingerprints import fingerprint_of_disk
from tests.demo.record import Check, Failure, Record, Step
from tests.demo.screen import Screen, human_size
from tests.demo.tenant import Tenant
from tests.harness.disks import MIB


@dataclass(frozen=True)
class Scale:
    """The sizes of the disks, and of their content, in bytes."""

    system_bytes: int
    system_content_bytes: int
    data_bytes: int
    data_content_bytes: int
    free_bytes: int
    """The space that the demo takes on the storage at the most, with room to spare."""


SCALES = {
    "full": Scale(2048 * MIB, 300 * MIB, 1024 * MIB, 128 * MIB, 6144 * MIB),
    "small": Scale(64 * MIB, 8 * MIB, 32 * MIB, 12 * MIB, 512 * MIB),
}


@dataclass(frozen=True)
class BuiltDisk:
    """A disk as the demo built it, which Recast never touches: all others are compared with it."""

    role: str
    path: Path
    size_bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Costs:
    """The bytes of a step: seen by guests, added to the chunk stores, added on the host."""

    logical: int = 0
    stored: int = 0
    host: int = 0


@dataclass
class Scene:
    """The state of a run."""

    scale: Scale
    folder: Path
    tenant: Tenant
    screen: Screen
    record: Record
    break_byte: bool = False
    built: list[BuiltDisk] = field(default_factory=list)
    """In the order of attachment, the system disk first."""
    source: server_pb2.Server = field(default_factory=server_pb2.Server)
    servers: list[server_pb2.Server] = field(default_factory=list)
    """The ten."""
    shared_bytes: int = 0
    """The bytes that the ten share."""
    costs: list[Costs] = field(default_factory=list)
    logical: int = 0
    """The bytes that the step under way made visible to guests, set by the step itself."""

    @property
    def stack_folder(self) -> Path:
        """The folder with all data of the services."""
        return self.folder / "stack"

    @property
    def wanted(self) -> list[str]:
        """The fingerprints that a server's disks must have, in the order of attachment."""
        return [disk.fingerprint for disk in self.built]

    def check(self, rule: str, name: str, ok: bool) -> bool:
        """Records and prints the result of a check, and gives it back."""
        check = Check(name, rule, bool(ok))
        self.record.checks.append(check)
        self.screen.check(check)
        return check.ok

    def check_refusal(
        self, rule: str, name: str, refusal: RemoteRefusal | None, reason: str, in_the_way: str = ""
    ) -> bool:
        """Checks that a call was refused: for this reason, by this rule, naming the obstacle."""
        is_as_promised = (
            refusal is not None
            and refusal.reason == reason
            and refusal.rule == rule
            and (not in_the_way or in_the_way in [each.resource for each in refusal.violations])
        )
        return self.check(rule, name, is_as_promised)

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """Prints and records a step, with its costs; an error is recorded and raised again."""
        self.screen.begin(number, title)
        checks_before, before = len(self.record.checks), self._bytes_stored()
        self.logical = 0
        begin = time.monotonic()
        try:
            yield
        except BaseException as error:  # Ctrl-C too: the report names the step it ended
            self.record.failure = Failure(title, f"{type(error).__name__}: {error}".rstrip(": "))
            raise
        finally:
            seconds = time.monotonic() - begin
            self.record.steps.append(Step(title, round(seconds, 3)))
            stored, host = self._bytes_stored()
            self.costs.append(Costs(self.logical, stored - before[0], host - before[1]))
        failed = sum(not check.ok for check in self.record.checks[checks_before:])
        self.screen.end(seconds, failed)

    def fingerprints(self, label: str, paths: Sequence[Path]) -> list[str]:
        """The fingerprints of disks, with a bar, as fast as the processors allow."""
        found = []
        with self.screen.reading(label, len(paths)) as one_more, _pool() as pool:
            for each in pool.map(fingerprint_of_disk, paths):
                found.append(each)
                one_more()
        return found

    def each(self, call: Callable[[Path], bool], paths: Sequence[Path]) -> list[bool]:
        """Makes the same call for many disks, some at a time."""
        with _pool() as pool:
            return list(pool.map(call, paths))

    def _bytes_stored(self) -> tuple[int, int]:
        return (
            allocated_bytes(self.stack_folder / "store"),
            allocated_bytes(self.stack_folder / "data" / "ecs"),
        )


def allocated_bytes(folder: Path) -> int:
    """The space of the files under a folder on the storage, in bytes; holes take nothing."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inside, name)).st_blocks * 512
            except FileNotFoundError:  # a service removed it since it was listed
                continue
    return total


def sized(*parts: tuple[int, str]) -> str:
    """`(4 GiB, 'of disks'), (200 MiB, 'stored')` as a sentence's part."""
    return ", ".join(f"{human_size(size)} {text}" for size, text in parts)


def _pool() -> ThreadPoolExecutor:
    # Reading and hashing let go of the interpreter's lock, so a thread a processor is of use.
    return ThreadPoolExecutor(os.cpu_count() or 1)
