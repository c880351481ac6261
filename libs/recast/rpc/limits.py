"""Limits: the time for a request to arrive, and the calls of a peer and of a project."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from recast.faults import RequestTimeout, TooManyCalls


@dataclass(frozen=True)
class Limits:
    """The limits of one server. A peer is an address without its port."""

    request_seconds: float = 5.0
    """The time from a call's headers to the end of its request."""
    message_seconds: float = 20.0
    """The time between two messages of a stream of requests."""
    idle_stream_seconds: float = 60.0
    """The same, for streams without a token: reflection."""
    calls_of_a_peer: int = 2_048
    """Calls with an incomplete request; and, counted apart, calls that need no token."""
    threads: int = 48
    """Threads for handlers."""
    threads_of_a_project: int = 24
    """Threads of one project; its other calls wait in its own queue."""
    calls_of_a_project: int = 256
    """Calls of a project that run or wait for a thread."""


class PeerCalls:
    """Calls in a state that costs their peer nothing, such as an incomplete request.

    Each peer may have `most` of them. One more ends the oldest, not itself: held calls then cannot lock out
    other clients of the address, whose requests arrive at once.
    """

    def __init__(self, most: int, state: str) -> None:
        self._most = most
        self._state = state
        self._calls: dict[str, dict[asyncio.Timeout, None]] = {}  # the oldest first

    @asynccontextmanager
    async def holding(self, peer: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Counts the call during the block; RequestTimeout after the time, TooManyCalls for the oldest."""
        timeout, is_oldest = asyncio.timeout(seconds), False
        try:
            async with timeout:
                self._enter(peer, timeout)
                try:
                    yield
                finally:
                    is_oldest = not self._leave(peer, timeout)
        except TimeoutError:
            if is_oldest:
                raise TooManyCalls(caller="this address", limit=self._most, state=self._state) from None
            raise RequestTimeout(part="the request", seconds=seconds) from None

    def _enter(self, peer: str, timeout: asyncio.Timeout) -> None:
        calls = self._calls.setdefault(peer, {})
        if len(calls) >= self._most:
            oldest = next(iter(calls))
            del calls[oldest]
            oldest.reschedule(0)  # in the past: it ends now
        calls[timeout] = None

    def _leave(self, peer: str, timeout: asyncio.Timeout) -> bool:
        """Whether the call was still counted."""
        calls = self._calls[peer]
        was_counted = timeout in calls
        calls.pop(timeout, None)
        if not calls:
            del self._calls[peer]
        return was_counted
