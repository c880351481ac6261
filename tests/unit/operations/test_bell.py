"""The bell that a worker's threads wait for."""

import time

from recast.operations.bell import Bell


def test_a_closed_bell_keeps_nobody_waiting() -> None:
    """Whoever comes to wait after the end was rung returns at once, however many came before."""
    bell = Bell()
    bell.close()
    begun = time.monotonic()
    for _ in range(3):
        bell.wait(30)
    assert time.monotonic() - begun < 25


def test_a_ring_that_nobody_waits_for_is_kept_for_one() -> None:
    """A ring before the wait ends the next wait, and no other."""
    bell = Bell()
    bell.ring()
    begun = time.monotonic()
    bell.wait(30)
    assert time.monotonic() - begun < 25
    begun = time.monotonic()
    bell.wait(0.1)
    assert time.monotonic() - begun >= 0.1
