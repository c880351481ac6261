"""What tests look for, and how they wait for it."""

import threading
import time
from collections.abc import Callable, Iterator
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
PATIENCE_SECONDS = 20.0


def until(look: Callable[[], T], what: str = "it") -> T:
    """What `look` gives, as soon as that is true; fails when it is not in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what} did not come about in {PATIENCE_SECONDS} s"
        threading.Event().wait(0.01)
    return seen


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
    """What an operation says of itself."""
    metadata = operation_metadata_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def state_of(message: Any) -> str:
    """The name of a resource's state, without its prefix."""
    name: str = message.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[message.state].name
    return name.partition("_STATE_")[2]
