"""Ctrl-C while a program is imported."""

import signal


def end_quietly_at_interrupts() -> None:
    """From now on Ctrl-C ends the process at once, as the shell expects it: without a traceback.

    A process whose parent ignores the signal goes on ignoring it. `raise_interrupts` ends this.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_interrupts() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
