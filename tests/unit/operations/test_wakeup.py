"""The wakeup that the threads of a worker wait for."""

import time

from recast.operations.wakeup import Wakeup


def test_a_closed_wakeup_ends_every_wait() -> None:
    """Any wait after the close returns at once, however many came before."""
    wakeup = Wakeup()
    wakeup.close()
    begun = time.monotonic()
    for _ in range(3):
        wakeup.wait(30)
    assert time.monotonic() - begun < 25


def test_a_notify_without_a_wait_ends_the_next_one() -> None:
    """A notify before the wait ends the next wait, and no other."""
    wakeup = Wakeup()
    wakeup.notify()
    begun = time.monotonic()
    wakeup.wait(30)
    assert time.monotonic() - begun < 25
    begun = time.monotonic()
    wakeup.wait(0.1)
    assert time.monotonic() - begun >= 0.1
