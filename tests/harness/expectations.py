"""Waiting for a condition, and the expectations that tests share."""

import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from blake3 import blake3
from google.longrunning import operations_pb2

from recast.faults import Kind, Refusal, RemoteRefusal
from recast.longrunning.v1 import operation_metadata_pb2

T = TypeVar("T")
# Many times the duration of any action on an idle machine: tests also pass at a load of 15.
PATIENCE_SECONDS = 60.0


class NeverCame(AssertionError):
    """A condition that a test waited for did not become true in time."""


def until(
    condition: Callable[[], T],
    awaited: str = "the condition",
    *,
    seconds: float = PATIENCE_SECONDS,
    pause: float = 0.01,
) -> T:
    """The first true value of `condition`; NeverCame when there is none within `seconds`.

    The one place where tests wait by the clock: all other polling calls it. `pause` is the time between two
    calls of `condition`, both in seconds. `seconds` is a bound, not an expectation: a busy machine must not
    fail.
    """
    deadline = time.monotonic() + seconds
    while not (seen := condition()):
        if time.monotonic() > deadline:
            raise NeverCame(f"{awaited} did not come about in {seconds:g} s")
        time.sleep(pause)
    return seen


def answered(
    call: Callable[[], T],
    passing: Container[Kind],
    *,
    meanwhile: Callable[[], object] = lambda: None,
    seconds: float = PATIENCE_SECONDS,
    pause: float = 0.05,
) -> T:
    """The answer to `call`, which is made again while it is refused with a kind that is `passing`.

    The call must bear repeating. `meanwhile` is done after each such refusal; after `seconds` the last one is
    raised.
    """
    refusals: list[RemoteRefusal] = []

    def attempt() -> list[T]:
        try:
            return [call()]
        except RemoteRefusal as refusal:
            if refusal.kind not in passing:
                raise
            refusals.append(refusal)
        meanwhile()
        return []

    try:
        return until(attempt, "an answer", seconds=seconds, pause=pause)[0]
    except NeverCame as problem:
        raise refusals[-1] from problem


@contextmanager
def refused(reason: str, status: Kind = Kind.FAILED_PRECONDITION, /, **facts: str) -> Iterator[list[Refusal]]:
    """Expects a refusal with this reason, status and metadata; it is in the list afterwards."""
    seen: list[Refusal] = []
    with pytest.raises(RemoteRefusal) as caught:
        yield seen
    refusal = caught.value
    assert (refusal.reason, refusal.kind) == (reason, status), refusal.text
    assert refusal.metadata() | facts == refusal.metadata()
    seen.append(refusal)


@cache
def file_digest(path: Path, size_bytes: int = 0) -> str:
    """The digest of a file that does not change, continued with zeros to `size_bytes` if that is more."""
    digest = blake3()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    digest.update(bytes(max(0, size_bytes - path.stat().st_size)))
    return digest.hexdigest()


def metadata_of(operation: operations_pb2.Operation) -> operation_metadata_pb2.OperationMetadata:
    """The metadata of an operation."""
    metadata = operation_metadata_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def state_of(message: Any) -> str:
    """The name of a resource's state, without its prefix."""
    name: str = message.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[message.state].name
    return name.partition("_STATE_")[2]
