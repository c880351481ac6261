"""The log of calls without a valid token, at a bounded rate.

Anybody can make such calls. A line for each would let them fill the disk of the log, and hide other lines.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

SECONDS = 10.0
Later = Callable[[float, Callable[[], None]], object]
log = structlog.get_logger()


class BoundedLog:
    """Logs the first event of each kind at once, and after each period the count of the others.

    A kind is an event and a reason; both are ours: callers cannot make kinds. For the event loop alone.
    """

    def __init__(self, seconds: float = SECONDS, later: Later | None = None) -> None:
        """`later` calls a function after so many seconds; by default it is the event loop's."""
        self._seconds = seconds
        self._later = later
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, event: str, reason: str, **facts: Any) -> None:
        """One event. `facts` are logged with the first of a period alone."""
        kind = (event, reason)
        if kind in self._counts:
            self._counts[kind] += 1
            return
        log.info(event, reason=reason, **facts)
        self._begin(kind)

    def _begin(self, kind: tuple[str, str]) -> None:
        self._counts[kind] = 0
        later = self._later or asyncio.get_running_loop().call_later
        later(self._seconds, lambda: self._end(kind))

    def _end(self, kind: tuple[str, str]) -> None:
        """Logs the count of a period, and begins the next; without a count the kind is forgotten."""
        count = self._counts.pop(kind)
        if count:
            event, reason = kind
            log.info(f"{event}, more calls", reason=reason, count=count, seconds=self._seconds)
            self._begin(kind)
