"""Being asked to end, by SIGINT or SIGTERM."""

import signal
from collections.abc import Sequence
from queue import Empty, SimpleQueue

_USUAL = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """These signals ask, from when it is made until `forget`; of the main thread.

    A handler runs amid whatever the main thread does. If that is `Event.wait`, which has the event's lock for
    a moment, `Event.set` waits for that lock for ever; a SimpleQueue is made to be put to from anywhere.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = _USUAL) -> None:
        self._came: SimpleQueue[int] = SimpleQueue()
        self._before = {
            number: signal.signal(number, lambda came, _: self._came.put(came)) for number in numbers
        }

    def wait(self, seconds: float | None = None) -> bool:
        """Whether one came, since the last that was waited for or within that time; None is for ever."""
        try:
            self._came.get(timeout=seconds)
        except Empty:
            return False
        return True

    def forget(self) -> None:
        """The signals mean what they meant before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
