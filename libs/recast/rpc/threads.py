"""The threads that run handlers, shared by project."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from recast.faults import TooManyCalls
from recast.rpc.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")


class _Share:
    """One project's share of the threads."""

    def __init__(self, threads: int) -> None:
        self.calls = 0
        self.threads = asyncio.Semaphore(threads)


class HandlerThreads:
    """A thread pool with a share for each project. Used by the event loop's thread alone."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix=f"{name}-rpc")
        self._shares: dict[str, _Share] = {}

    async def run(self, project: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the function in a thread, with the caller's context variables, and returns its result.

        TooManyCalls when the project is at its limit. A function that has begun runs to its end even if the
        caller is cancelled: a transaction is not interrupted.
        """
        share = self._enter(project)
        try:
            await share.threads.acquire()
        except BaseException:
            self._leave(project, share)
            raise
        context = contextvars.copy_context()
        future = self._pool.submit(context.run, _run, function, args, kwargs)
        try:
            return await asyncio.wrap_future(future)
        finally:
            if future.done():
                self._end(project, share)
            else:
                self._end_later(future, project, share)

    async def clean_up(self, function: Callable[[], object]) -> None:
        """Runs the function in a thread, regardless of the project's share and of the caller's cancel."""
        context = contextvars.copy_context()
        await asyncio.shield(asyncio.wrap_future(self._pool.submit(context.run, function)))

    def close(self) -> None:
        """Waits for every thread. Called by any thread but the loop's."""
        self._pool.shutdown()

    def _enter(self, project: str) -> _Share:
        share = self._shares.get(project)
        if share is None:
            share = self._shares[project] = _Share(self._limits.threads_of_a_project)
        if share.calls >= self._limits.calls_of_a_project:
            raise TooManyCalls(
                caller=f"project {project}", limit=self._limits.calls_of_a_project, state="under way"
            )
        share.calls += 1
        return share

    def _end(self, project: str, share: _Share) -> None:
        share.threads.release()
        self._leave(project, share)

    def _leave(self, project: str, share: _Share) -> None:
        share.calls -= 1
        if not share.calls:
            self._shares.pop(project, None)

    def _end_later(self, future: Future[Any], project: str, share: _Share) -> None:
        """Counts the thread of a cancelled caller until it ends."""
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._end, project, share))


def _run(function: Callable[..., T], args: Any, kwargs: Any) -> T:
    try:
        return function(*args, **kwargs)
    except StopIteration as problem:
        # A future cannot hold it: its awaiter would wait for ever.
        raise RuntimeError("the function raised StopIteration") from problem
