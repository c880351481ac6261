"""One core for the threads that answer calls.

Python runs one thread at a time, and what it works on is in the caches of the core where it ran last. Threads
of a server hand each call to one another; where they are on different cores, all of it is fetched anew at
each hand-over, which is half of what a call costs (SCALING.md). So they stay together: on a core of their
own choice, which they leave for another when others make it busy. Whatever else the process does, such as
long-running work, has all cores.
"""

import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()
_chance = random.Random()

LOOK_SECONDS = 2.0
_TICKS = os.sysconf("SC_CLK_TCK")
_WORTH_MOVING = 0.25  # of a core's time that others take from us, and would not elsewhere
_IDLE_FIELDS = (3, 4)  # of a core's line in /proc/stat: idle, waiting for a disk
_BUSY_FIELDS = 8  # up to stolen time; guests' follow, which the first two hold already


@dataclass(frozen=True)
class Spent:
    """Seconds that each core has been busy so far, by whomever; and those of our own threads."""

    at: float
    cores: Mapping[int, float]
    own: float


def better_core(mine: int, before: Spent, now: Spent) -> int:
    """The core where others take least, if that is much less than they take of mine; else mine."""
    others = {core: now.cores[core] - before.cores.get(core, 0.0) for core in now.cores}
    others[mine] -= now.own - before.own
    best = min(others, key=others.__getitem__)
    gain = (others[mine] - others[best]) / (now.at - before.at)
    return best if gain > _WORTH_MOVING else mine


class OneCore:
    """Holds threads on one core; does nothing where there is one, or where the system has no such thing.

    One in a process: what is held is told by its core alone.
    """

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
        self._core = _chance.choice(self._cores) if len(self._cores) > 1 else None
        self._look_seconds = look_seconds
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Threads that are started within stay together, and so do those that they start."""
        if self._core is None:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self._core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
        self._watcher = threading.Thread(target=self._watch, args=[self._core], name="one-core", daemon=True)
        self._watcher.start()

    def end(self) -> None:
        """The threads stay where they are."""
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()

    def spent(self, core: int) -> Spent:
        """What the system counted so far, of whose time our threads on this core took their part."""
        cores = {}
        for line in Path("/proc/stat").read_text().splitlines():
            name, _, told = line.partition(" ")
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in self._cores:
                fields = [int(each) for each in told.split()[:_BUSY_FIELDS]]
                cores[int(name[3:])] = (sum(fields) - sum(fields[each] for each in _IDLE_FIELDS)) / _TICKS
        return Spent(time.monotonic(), cores, sum(map(_seconds_of, _threads_on(core))))

    def _watch(self, core: int) -> None:
        with suppress(OSError):  # a system that does not tell, or takes cores away: they stay as they are
            self._leave_what_is_busy(core)

    def _leave_what_is_busy(self, core: int) -> None:
        before = self.spent(core)
        # Two services that meet on a core, and look at once, would leave it for the same other one.
        while not self._ended.wait(self._look_seconds * _chance.uniform(0.5, 1.5)):
            better = better_core(core, before, self.spent(core))
            if better != core:
                log.debug("calls are answered on another core", core=better, left=core)
                _move(core, better)
                core = better
            before = self.spent(core)


def _threads_on(core: int) -> list[int]:
    """The system's ids of this process's threads that may run on this core alone."""
    return [each for each in map(int, os.listdir("/proc/self/task")) if _is_on(each, core)]


def _is_on(thread: int, core: int) -> bool:
    try:
        return os.sched_getaffinity(thread) == {core}
    except ProcessLookupError:  # it has ended
        return False


def _seconds_of(thread: int) -> float:
    try:
        told = Path(f"/proc/self/task/{thread}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(each) for each in told.rpartition(")")[2].split()[11:13]) / _TICKS


def _move(old: int, new: int) -> None:
    while threads := _threads_on(old):  # again, for those that were started meanwhile
        for each in threads:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(each, {new})
