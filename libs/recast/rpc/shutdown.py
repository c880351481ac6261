"""The signals that end a process: SIGINT and SIGTERM."""

import signal
from collections.abc import Sequence
from queue import Empty, SimpleQueue

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ShutdownSignal:
    """Catches the signals from its creation until `restore`. Only the main thread may create one.

    A signal handler interrupts the main thread anywhere. Inside `Event.wait` the main thread briefly holds
    the event's lock, and `Event.set` would wait for that lock for ever. A SimpleQueue has no such
    lock.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = _SIGNALS) -> None:
        self._received: SimpleQueue[int] = SimpleQueue()
        self._previous = {
            number: signal.signal(number, lambda received, _: self._received.put(received))
            for number in numbers
        }

    def wait(self, seconds: float | None = None) -> bool:
        """Whether a signal arrived since the last wait or within the time; None waits without a limit."""
        try:
            self._received.get(timeout=seconds)
        except Empty:
            return False
        return True

    def restore(self) -> None:
        """Installs the previous signal handlers again."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
