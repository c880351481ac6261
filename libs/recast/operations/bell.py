"""How this process's worker hears of work at once."""

import threading


class Bell:
    """Each ring wakes one waiting thread: eight that wake for one piece of work would get in its way.

    A ring that finds nobody waiting is kept for who waits next.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_rung = self._is_closed = False

    def ring(self) -> None:
        """Wakes one, or is kept."""
        with self._condition:
            self._is_rung = True
            self._condition.notify()

    def close(self) -> None:
        """Wakes everybody who waits, now or later: the process is about to end."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        """Returns at a ring, after the time, or at once when it is closed."""
        with self._condition:
            if not (self._is_rung or self._is_closed):
                self._condition.wait(seconds)
            self._is_rung = False
