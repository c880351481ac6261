"""Maps a function over a stream of items in threads, with a bounded number of items in memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_READ_AHEAD = 4  # items beyond one a thread: enough that no thread waits while the caller takes a result


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Generator[Result, None, None]:
    """Yield work(item) for each item, in order; the calling thread draws items, others work on them.

    At most `threads` + 4 items are in flight. The first failure, of `work` or of `items`, is raised here.
    No thread is left running: use it within `contextlib.closing`, for a traceback would otherwise keep an
    abandoned generator, and its threads, alive.
    """
    flight: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="chunkstore")
    try:
        for item in items:
            flight.append(executor.submit(work, item))
            if len(flight) >= threads + _READ_AHEAD:
                yield flight.popleft().result()
        while flight:
            yield flight.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
