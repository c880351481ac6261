"""Watching a backup from its first moment."""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from recast.csbs.v1.backup_pb2 import Backup, BackupState
from tests.harness.expectations import until

# Short against a freeze, long against a call: watching must not slow the backup down.
_PAUSE_SECONDS = 0.005


@dataclass(frozen=True)
class Sight:
    """The state of a backup, at `seconds` after its request."""

    state: str
    image_ready: bool
    seconds: float

    @property
    def text(self) -> str:
        """As a console prints it."""
        is_marked = self.image_ready and self.state == "CREATING"
        return f'{self.state}, "Image can be created"' if is_marked else self.state


class BackupWatch:
    """Reads a backup repeatedly in a thread, and calls `on_change` at each change, until it is no longer
    CREATING. A context manager: its end waits for the last read, and raises the thread's exception.
    """

    def __init__(
        self,
        first: Backup,
        read: Callable[[], Backup],
        on_change: Callable[[Sight, Backup], None],
    ) -> None:
        self._begin = time.monotonic()
        self._read, self._on_change = read, on_change
        self._is_left = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._reading: Future[None] | None = None
        self.sights: list[Sight] = []
        self._note(first)

    def __enter__(self) -> Self:
        # The thread's calls carry the same request id.
        self._reading = self._pool.submit(contextvars.copy_context().run, self._read_until_the_end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            self._is_left.set()
        self._pool.shutdown()
        if self._reading and not error:
            self._reading.result()

    def _read_until_the_end(self) -> None:
        # However long the backup takes: its own end, or the watch's, ends this.
        until(self._has_ended, "the end of the backup", seconds=math.inf, pause=_PAUSE_SECONDS)

    def _has_ended(self) -> bool:
        if self.sights[-1].state == "CREATING" and not self._is_left.is_set():
            self._note(self._read())
        return self.sights[-1].state != "CREATING" or self._is_left.is_set()

    def _note(self, backup: Backup) -> None:
        state = BackupState.Name(backup.state).removeprefix("BACKUP_STATE_")
        sight = Sight(state, backup.image_ready, time.monotonic() - self._begin)
        last = self.sights[-1] if self.sights else None
        if not last or (last.state, last.image_ready) != (sight.state, sight.image_ready):
            self.sights.append(sight)
            self._on_change(sight, backup)
