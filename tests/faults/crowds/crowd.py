"""Many callers at once, and the outcome of each."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from recast.faults import Kind, RemoteRefusal
from tests.harness.expectations import answered


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call: its answer, or the refusal."""

    answer: Any = None
    refusal: RemoteRefusal | None = None

    @property
    def reason(self) -> str:
        """The reason of the refusal; empty when there was none."""
        return self.refusal.reason if self.refusal else ""


def outcome_of(call: Callable[[], Any]) -> Outcome:
    """Makes a call."""
    try:
        return Outcome(answer=call())
    except RemoteRefusal as refusal:
        return Outcome(refusal=refusal)


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Outcome]:
    """Makes every call in a thread of its own, all at one moment; their outcomes, in their order.

    Any other exception than a refusal is raised.
    """
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Outcome:
        barrier.wait(60)
        return outcome_of(call)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def reasons(outcomes: Sequence[Outcome]) -> Counter[str]:
    """The number of outcomes by reason; "" counts the answers."""
    return Counter(outcome.reason for outcome in outcomes)


def insist(call: Callable[[], Any]) -> Any:
    """Makes a call until the service is there again; raises any other refusal, or the last one."""
    return answered(call, {Kind.UNAVAILABLE})
