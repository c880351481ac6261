"""Wakes a worker of this process as soon as work is recorded."""

import threading


class Wakeup:
    """Each `notify` wakes one waiting thread: waking eight for one piece of work would slow it down.

    A `notify` that finds no waiting thread wakes the next one that waits.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_notified = self._is_closed = False

    def notify(self) -> None:
        """Wakes one waiting thread, now or when it waits."""
        with self._condition:
            self._is_notified = True
            self._condition.notify()

    def close(self) -> None:
        """Wakes every waiting thread, now or later: the process shuts down."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        """Returns at a `notify`, after the time, or at once when it is closed."""
        with self._condition:
            if not (self._is_notified or self._is_closed):
                self._condition.wait(seconds)
            self._is_notified = False
