"""The shares of projects in the threads of one worker.

No project holds more than half of the threads while another waits: what it holds beyond gives way. Alone, a
project may hold all of them.
"""

import threading
from collections import Counter
from collections.abc import Callable

from recast.operations.lease import Lease


class Shares:
    """The leases of a worker with so many threads, in the order of their claims. Safe in threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # At least one: two projects that gave way to each other for ever would end no work.
        self._share = max(1, threads // 2)
        # Not by id: one operation may be here twice briefly, given back by a thread, claimed by another.
        self._leases: list[Lease] = []
        self._leaving: Lease | None = None
        self._lock = threading.Lock()

    def add(self, lease: Lease) -> None:
        """A thread has claimed it."""
        with self._lock:
            self._leases.append(lease)

    def remove(self, lease: Lease) -> None:
        """Its thread is free."""
        with self._lock:
            self._leases.remove(lease)
            if self._leaving is lease:
                self._leaving = None

    def leases(self) -> list[Lease]:
        """All leases."""
        with self._lock:
            return list(self._leases)

    def full(self) -> list[str]:
        """The projects that hold their share, or more: of their work none is claimed while others wait."""
        with self._lock:
            return self._full()

    def gives_way(self, lease: Lease, others_wait: Callable[[list[str]], bool]) -> bool:
        """Whether the work gives its thread back now, for a project that waits.

        It does if no thread is idle, it is beyond the share of its project (whose oldest work stays), and
        `others_wait`: whether work waits of a project that is not in the list. One work at a time gives way.
        """
        with self._lock:
            own = [each for each in self._leases if each.row.project == lease.row.project]
            is_idle = len(self._leases) < self._threads
            if is_idle or self._leaving is not None or lease in own[: self._share]:
                return False
            self._leaving, full = lease, self._full()
        is_wanted = False
        try:
            is_wanted = others_wait(full)
        finally:
            if not is_wanted:
                with self._lock:
                    self._leaving = None
        return is_wanted

    def _full(self) -> list[str]:
        held = Counter(each.row.project for each in self._leases)
        return [project for project, count in held.items() if count >= self._share]
