"""The points: what is under way, and whether to end here."""

import contextvars
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = os.environ.get("RECAST_FAULT_POINTS_LOG", "")
_ORDER = os.environ.get("RECAST_FAULT_POINT_FILE", "")
_NAMES = re.compile(r"projects/\S+")
_doing: contextvars.ContextVar[str] = contextvars.ContextVar("doing", default="")
_reached: Counter[str] = Counter()
_lock = threading.Lock()  # points are reached by every thread, and the nth time must be one of them


def is_active() -> bool:
    """Whether this process was started to be ended."""
    return bool(_LOG or _ORDER)


@contextmanager
def within(doing: str) -> Iterator[None]:
    """What is under way: this thread's points inside bear it before their own name. Inner replaces outer."""
    before = _doing.set(_NAMES.sub("*", doing))
    try:
        yield
    finally:
        _doing.reset(before)


def reach(point: str) -> None:
    """Ends the process here, if a test ordered it."""
    if not is_active():
        return
    name = f"{_doing.get()}:{_NAMES.sub('*', point)}"
    with _lock:
        if _LOG:
            with Path(_LOG).open("a") as log:
                log.write(f"{name}\n")
        if not _ORDER:
            return
        try:
            ordered, _, times = Path(_ORDER).read_text().strip().partition(" #")
        except FileNotFoundError:
            return
        if name == ordered:
            _reached[name] += 1
            if _reached[name] >= int(times or 1):
                os.kill(os.getpid(), signal.SIGKILL)
