"""Waits for the end of work, in the event loop: a wait holds no thread.

All waits of a process share one query, which finds those operations that have not ended. It runs when this
process changed an operation, when a wait begins, and periodically, for changes by other processes.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

import structlog

from recast.faults import TooManyWaits
from recast.operations.registry import Operations
from recast.rpc.call import Call
from recast.rpc.threads import HandlerThreads

log = structlog.get_logger()
_GAP_SECONDS = 0.02  # between two queries, however often work reports its progress


class Waits:
    """The waits of one process for its service's operations."""

    def __init__(self, operations: Operations, query_seconds: float = 0.5) -> None:
        """`query_seconds`: the longest delay until a change by another process is noticed."""
        self._operations = operations
        self._query_seconds = query_seconds
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queries: asyncio.Task[None] | None = None
        operations.listeners.append(self._notify)

    async def wait_until_ended(self, operation_id: str, seconds: float, context: Call) -> None:
        """Returns once the work has ended, is unknown or cannot be read, after the time, or at once when the
        process shuts down: the caller then reads the state of the work.
        """
        self._loop = asyncio.get_running_loop()
        ended = self._loop.create_future()
        self._waiting[ended] = operation_id
        self._changed.set()
        if self._queries is None:
            self._queries = self._loop.create_task(self._query(context.threads))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await ended
        finally:
            del self._waiting[ended]

    def _notify(self) -> None:
        """The process changed an operation, or shuts down; called by any thread."""
        if self._loop is not None and self._waiting:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _query(self, threads: HandlerThreads) -> None:
        """Ends the waits whose work has ended, until there are none."""
        while self._waiting:
            self._changed.clear()
            waiting = dict(self._waiting)
            unended = await self._unended(set(waiting.values()), threads)
            for ended, operation_id in waiting.items():
                if operation_id not in unended and not ended.done():
                    ended.set_result(None)
            await asyncio.sleep(_GAP_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._query_seconds):
                    await self._changed.wait()
        self._queries = None

    async def _unended(self, ids: Collection[str], threads: HandlerThreads) -> Collection[str]:
        if self._operations.is_closing:
            return ()
        try:
            return await threads.run("", self._operations.unended, ids)
        except Exception as problem:  # noqa: BLE001  # an unreachable database: each caller's read raises it
            log.info("waits ended early", problem=str(problem))
            return ()


class WaitShares:
    """Limits the concurrent waits to `total`, with an equal share for each waiting project.

    A single waiting project may have all. Another project gets its share by ending the oldest waits of the
    project with the most: a wait may be answered early, with the state of the work. No share is smaller than
    `least`.
    """

    def __init__(self, total: int, least: int) -> None:
        self._total = total
        self._least = least
        self._waits: dict[str, dict[asyncio.Timeout, None]] = {}  # by project, the oldest first

    @asynccontextmanager
    async def waiting(self, project: str) -> AsyncIterator[None]:
        """Counts the wait during the block, which may end early for another project; else TooManyWaits."""
        others = len(self._waits.keys() - {project})
        share = max(self._least, self._total // (others + 1))
        if len(self._waits.get(project, ())) >= share:
            raise TooManyWaits(limit=share)
        if sum(map(len, self._waits.values())) >= self._total:
            self._end_one()
        waits = self._waits.setdefault(project, {})
        timeout = asyncio.timeout(None)
        with suppress(TimeoutError):
            async with timeout:
                waits[timeout] = None
                try:
                    yield
                finally:
                    waits.pop(timeout, None)
                    if not waits and self._waits.get(project) is waits:
                        del self._waits[project]

    def _end_one(self) -> None:
        most = max(self._waits.values(), key=len)
        if len(most) > self._least:
            oldest = next(iter(most))
            del most[oldest]
            oldest.reschedule(0)  # in the past: it ends now
