"""The points: their names, and the kill at the point that a test ordered."""

import contextvars
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

_FOLDER = os.environ.get("RECAST_FAULT_POINTS", "")
# The package names the process: `python -m csbs`.
_PROCESS = Path(sys.argv[0]).parent.name
_LOG = Path(_FOLDER) / f"{_PROCESS}.reached"
_ORDER = Path(_FOLDER) / f"{_PROCESS}.point"
# `name`, `name #3`, `name #3 stop`; a suffix ` @...` distinguishes an order from an equal earlier one.
_ORDERS = re.compile(r"(?P<name>.+?)( #(?P<time>\d+))?(?P<stop> stop)?( @.*)?")
_NAMES = re.compile(r"projects/\S+")
_NOTHING = nullcontext()
_doing: contextvars.ContextVar[str] = contextvars.ContextVar("doing", default="")
_reached: Counter[str] = Counter()
_lock = threading.Lock()  # every thread reaches points, and only one may reach a point for the nth time


def is_active() -> bool:
    """Whether this process was started with fault points."""
    return bool(_FOLDER)


def within(doing: str) -> AbstractContextManager[None]:
    """Prefixes the names of the points that this thread reaches in the block. Inner replaces outer."""
    return _within(doing) if is_active() else _NOTHING


@contextmanager
def _within(doing: str) -> Iterator[None]:
    before = _doing.set(_NAMES.sub("*", doing))
    try:
        yield
    finally:
        _doing.reset(before)


def reach(point: str) -> None:
    """Kills the process, or stops it by SIGSTOP, if a test ordered it at this point."""
    if not is_active():
        return
    name = f"{_doing.get()}:{_NAMES.sub('*', point)}"
    with _lock:
        with _LOG.open("a") as log:
            log.write(f"{name}\n")
        try:
            order = _ORDER.read_text().strip()
        except FileNotFoundError:
            return
        wanted = _ORDERS.fullmatch(order)
        if wanted is None or name != wanted["name"]:
            return
        _reached[order] += 1
        if _reached[order] < int(wanted["time"] or 1):
            return
        if wanted["stop"]:
            if _reached[order] == int(wanted["time"] or 1):  # stopped once only
                # To this thread: so the whole process stops before the thread's next instruction.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            return
        os.kill(os.getpid(), signal.SIGKILL)
