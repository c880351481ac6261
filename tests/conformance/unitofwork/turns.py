"""Threads that wait for their turn, as a test wants them to."""

import time
from collections.abc import Callable

from recast.unitofwork.baton import Baton


def waiting(baton: Baton) -> int:
    """How many wait for their turn."""
    return len(baton._waiting)


def until(what: Callable[[], bool]) -> None:
    """Waits for it, at most some seconds."""
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.001)
