"""Logs on a full storage."""

import io

import pytest
import structlog

from recast.rpc.process import LogStream


class Full(io.StringIO):
    """A stream on a full storage."""

    def write(self, text: str) -> int:
        """Fails."""
        raise OSError(28, "No space left on device")


class FullAtFlush(io.StringIO):
    """A buffered stream on a full storage."""

    def flush(self) -> None:
        """Fails."""
        raise OSError(28, "No space left on device")


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.fault("FAULT-N03")
@pytest.mark.parametrize("stream", [Full(), FullAtFlush(), _closed()], ids=["full", "at-flush", "closed"])
def test_a_log_line_that_cannot_be_written_fails_nothing(stream: io.StringIO) -> None:
    """The line is lost, and its writer goes on."""
    log = structlog.WriteLogger(LogStream(stream))
    log.msg("a line")


def test_a_log_line_is_written_at_once() -> None:
    """A line is in the stream when the call returns."""
    stream = io.StringIO()
    structlog.WriteLogger(LogStream(stream)).msg("a line")
    assert stream.getvalue() == "a line\n"
