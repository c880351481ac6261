"""Events that anybody can cause are logged at a bounded rate."""

from collections.abc import Callable
from typing import Any

import pytest

from recast.rpc.bounded_log import BoundedLog


class Periods:
    """Stands in for the event loop: the test ends the periods."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def later(self, _seconds: float, function: Callable[[], None]) -> None:
        """Notes the function."""
        self.waiting.append(function)

    def end(self) -> None:
        """Ends every period that has begun."""
        waiting, self.waiting = self.waiting, []
        for function in waiting:
            function()


@pytest.mark.fault("FAULT-LOG-RATE")
def test_a_flood_is_two_lines_a_period(logs: list[Any]) -> None:
    """The first event is logged at once, the others as a count at the end of each period."""
    periods = Periods()
    log = BoundedLog(10.0, periods.later)
    for _ in range(3):
        for number in range(1000):
            log.add("refused", "TOKEN_INVALID", text=f"text {number}")
        periods.end()
    assert [(each["event"], each.get("text"), each.get("count")) for each in logs] == [
        ("refused", "text 0", None),
        ("refused, more calls", None, 999),
        ("refused, more calls", None, 1000),
        ("refused, more calls", None, 1000),
    ]


@pytest.mark.fault("FAULT-LOG-RATE")
def test_each_reason_is_counted_apart(logs: list[Any]) -> None:
    """Another reason has its own first line, and its own count."""
    periods = Periods()
    log = BoundedLog(10.0, periods.later)
    for reason in ("TOKEN_INVALID", "REQUEST_TIMEOUT", "TOKEN_INVALID"):
        log.add("refused", reason)
    log.add("call cancelled", "CANCELLED")
    periods.end()
    assert [(each["event"], each["reason"]) for each in logs] == [
        ("refused", "TOKEN_INVALID"),
        ("refused", "REQUEST_TIMEOUT"),
        ("call cancelled", "CANCELLED"),
        ("refused, more calls", "TOKEN_INVALID"),
    ]


def test_after_a_quiet_period_the_next_event_is_a_first_one(logs: list[Any]) -> None:
    """A period without an event ends the counting; no timer runs while nothing happens."""
    periods = Periods()
    log = BoundedLog(10.0, periods.later)
    log.add("refused", "TOKEN_INVALID")
    periods.end()
    assert periods.waiting == []
    log.add("refused", "TOKEN_INVALID")
    assert [each["event"] for each in logs] == ["refused", "refused"]
