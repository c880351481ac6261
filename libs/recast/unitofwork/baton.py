"""Turns, in the order in which they came."""

import threading
from collections import deque
from collections.abc import Callable


class Turn:
    """A place in the queue."""

    def __init__(self) -> None:
        self._has_come = threading.Lock()
        self._has_come.acquire()

    def come(self) -> None:
        """Wakes who waits for it; once."""
        self._has_come.release()

    def wait(self, seconds: float) -> bool:
        """Whether it came within that time."""
        return self._has_come.acquire(timeout=seconds)


class Baton:
    """It is one thread's at a time, in the order of their turns."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._is_held = False

    def take(self, turn: Turn, seconds: float) -> bool:
        """Whether the turn came within that time, or once it was begun, within that time again.

        With the turn comes the baton, unless who had it did for this turn what was to be done.
        """
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return True
            self._waiting.append(turn)
        try:
            if turn.wait(seconds):
                return True
        except BaseException:  # Ctrl-C: nobody would take what is given to this turn
            self._forget(turn)
            raise
        return not self._forget(turn) and turn.wait(seconds)

    def _forget(self, turn: Turn) -> bool:
        """Whether it was still waiting."""
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
        return False

    def following(self, suits: Callable[[Turn], bool] = lambda _: True) -> Turn | None:
        """The next turn, to give it the baton by `come`, or to do what it waits for; of who has the baton.

        None where there is none, or it does not suit.
        """
        with self._guard:
            return self._waiting.popleft() if self._waiting and suits(self._waiting[0]) else None

    def put_down(self) -> None:
        """Gives it to the next turn, or to whoever comes."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().come()
            else:
                self._is_held = False
