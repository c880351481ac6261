"""The points: what is under way, and whether to end here."""

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
# `python -m csbs`: its package names the process.
_PROCESS = Path(sys.argv[0]).parent.name
_LOG = Path(_FOLDER) / f"{_PROCESS}.reached"
_ORDER = Path(_FOLDER) / f"{_PROCESS}.point"
# `name`, `name #3`, `name #3 stop`, and behind ` @` what makes an order another than the last.
_ORDERS = re.compile(r"(?P<name>.+?)( #(?P<time>\d+))?(?P<stop> stop)?( @.*)?")
_NAMES = re.compile(r"projects/\S+")
_NOTHING = nullcontext()
_doing: contextvars.ContextVar[str] = contextvars.ContextVar("doing", default="")
_reached: Counter[str] = Counter()
_lock = threading.Lock()  # points are reached by every thread, and the nth time must be one of them


def is_active() -> bool:
    """Whether this process was started to be ended."""
    return bool(_FOLDER)


def within(doing: str) -> AbstractContextManager[None]:
    """What is under way: this thread's points inside bear it before their own name. Inner replaces outer."""
    return _within(doing) if is_active() else _NOTHING


@contextmanager
def _within(doing: str) -> Iterator[None]:
    before = _doing.set(_NAMES.sub("*", doing))
    try:
        yield
    finally:
        _doing.reset(before)


def reach(point: str) -> None:
    """Ends the process here, or has it sleep (SIGSTOP), if a test ordered it."""
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
            if _reached[order] == int(wanted["time"] or 1):  # woken, it does not fall asleep again
                # At this very thread, which so sleeps before its next instruction, and with it the process.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            return
        os.kill(os.getpid(), signal.SIGKILL)
