"""Work that has parts: it waits for them without a thread, wakes by the last, and takes them with it."""

import threading
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from recast.faults import Conflict
from recast.operations import Work

BY_CLIENT = True


def join(work: Work) -> Message:
    """The run of work that only waits for its parts: how each ended."""
    return StringValue(value=" ".join(part.state for part in work.parts()))


def refuse(_work: Work) -> Message:
    """A run that fails for good."""
    raise Conflict(resource="x")


def answer(bench: Any, operation: str) -> str:
    """The result of `join`."""
    value = StringValue()
    bench.message(operation).response.Unpack(value)
    return value.value


@pytest.fixture
def family(bench: Any) -> tuple[str, list[str]]:
    """Work in the queue `whole`, and its two parts."""
    whole = bench.record(queue="whole")
    return whole, [bench.record(parent=whole) for _ in range(2)]


def test_work_waits_for_its_parts_and_wakes_by_the_last(bench: Any, family: tuple[str, list[str]]) -> None:
    """Parked work is claimed again when a part ends, and ends with the last, however each part ended."""
    whole, _ = family
    joins = bench.worker(join, queues=("whole",))
    assert joins.run_once()
    assert not joins.run_once()
    assert bench.metadata(whole).step == "waits for 2 of 2 parts"
    bench.worker(bench.nothing).run_once()
    assert joins.run_once()
    assert not joins.run_once()
    assert (bench.metadata(whole).step, bench.metadata(whole).progress_percent) == (
        "waits for 1 of 2 parts",
        50,
    )
    bench.worker(refuse).run_once()
    assert joins.run_once()
    assert answer(bench, whole) == "SUCCEEDED FAILED"
    assert bench.row(whole).retries == 0


def test_a_cancel_reaches_the_parts(bench: Any, family: tuple[str, list[str]]) -> None:
    """Cancelling the whole cancels the parts; it waits for them, and goes on by how they ended."""
    whole, parts = family
    joins = bench.worker(join, queues=("whole",))
    joins.run_once()
    bench.cancel(whole)
    for _ in parts:
        bench.worker(lambda work: work.pause(5)).run_once()
    assert joins.run_once()
    assert answer(bench, whole) == "CANCELLED CANCELLED"


def test_deleting_the_whole_deletes_its_parts(bench: Any, family: tuple[str, list[str]]) -> None:
    """Deleting ended work deletes its parts and their rows."""
    whole, parts = family
    for _ in parts:
        bench.worker(bench.nothing).run_once()
    bench.worker(join, queues=("whole",)).run_once()
    bench.reach.delete(whole)
    assert bench.names("operation", "id") == []


def test_no_wakeup_is_lost_between_the_check_and_the_parking(bench: Any) -> None:
    """Parts that end at any instant, by workers of their own, always bring the whole to its end at once."""
    for _ in range(8):
        whole = bench.record(queue="whole")
        parts = [bench.record(parent=whole) for _ in range(4)]
        joins = bench.worker(join, queues=("whole",))
        done = threading.Barrier(3)

        def end_parts(worker: Any, done: threading.Barrier) -> None:
            done.wait(60)
            while worker.run_once():
                pass

        workers = [
            threading.Thread(target=end_parts, args=(bench.worker(bench.nothing), done)) for _ in range(2)
        ]
        for each in workers:
            each.start()
        done.wait(60)
        while not all(bench.row(part).ended for part in parts):
            joins.run_once()
        for each in workers:
            each.join(60)
        joins.run_once()
        assert answer(bench, whole) == "SUCCEEDED " * 3 + "SUCCEEDED"
