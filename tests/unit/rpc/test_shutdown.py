"""Signals that end a process."""

import os
import signal
import subprocess
import sys

from recast.rpc.shutdown import ShutdownSignal

# Waits as the stack in the foreground does, only shorter, so that signals meet every step of it.
MANY = """
import signal
from recast.rpc.shutdown import ShutdownSignal

shutdown = ShutdownSignal([signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
came = 0
while came < 2000:
    came += shutdown.wait(0.0002)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_amid_a_wait_is_taken() -> None:
    """`Event.set` in a handler waits for ever where it meets `Event.wait`: the stack ignored a SIGTERM."""
    subprocess.run([sys.executable, "-c", MANY], check=True, capture_output=True, timeout=60)


def test_each_signal_is_waited_for_once_and_then_means_what_it_did() -> None:
    """One that comes before the wait counts as well."""
    before = signal.getsignal(signal.SIGUSR1)
    shutdown = ShutdownSignal([signal.SIGUSR1])
    assert not shutdown.wait(0)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert shutdown.wait(5)
    assert not shutdown.wait(0)
    shutdown.restore()
    assert signal.getsignal(signal.SIGUSR1) == before
