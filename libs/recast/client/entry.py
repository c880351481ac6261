"""The entry point of the command `recast`: what surrounds a command on a terminal.

It imports nothing heavy, so that Ctrl-C during the imports prints no traceback.
"""

import errno
import os
import sys
from typing import NoReturn, TextIO

from recast.client.interrupts import end_quietly_at_interrupts, raise_interrupts

_INTERRUPTED, _FAILED = 130, 1


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    end_quietly_at_interrupts()
    for stream in (sys.stdout, sys.stderr):
        _escape_what_it_cannot_encode(stream)
    from recast.client.cli import main as command_line  # noqa: PLC0415  # takes a third of a second

    raise_interrupts()
    try:
        try:
            command_line()
        finally:
            sys.stdout.flush()  # here, where a failure still has an exit code
    except KeyboardInterrupt:
        _end(_INTERRUPTED)
    except BrokenPipeError:  # the reader has enough, as in `recast ... | head`
        _end(_FAILED)
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG):
            raise
        print(f"recast: the answer cannot be written: {problem.strerror}", file=sys.stderr)  # noqa: T201
        _end(_FAILED)


def _escape_what_it_cannot_encode(stream: TextIO) -> None:
    """A terminal without UTF-8 gets escapes for the letters that it lacks, no error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure and (stream.encoding or "").lower().replace("-", "") != "utf8":
        reconfigure(errors="backslashreplace")


def _end(code: int) -> NoReturn:
    """Ends the process without another flush of stdout, which would fail again and print that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
