"""The event loop of this process, in a thread of its own, which all its servers share.

grpc.aio has one completion queue a process and wakes every loop that uses it: with several loops all but one
of them fail with BlockingIOError at each event (grpc issue 25364).
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def event_loop() -> asyncio.AbstractEventLoop:
    """The loop, started by the first caller; a daemon thread runs it to the end of the process."""
    with _lock:
        if not _loops:
            _loops.append(asyncio.new_event_loop())
            threading.Thread(target=_loops[0].run_forever, name="rpc-event-loop", daemon=True).start()
        return _loops[0]


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in the loop and waits for its result; called by any other thread."""
    return asyncio.run_coroutine_threadsafe(coroutine, event_loop()).result()
