"""Work that has children: it waits for them without a thread, wakes by the last, and takes them with it."""

import threading
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from recast.faults import Conflict
from recast.operations import Work

BY_CLIENT = True


def join(work: Work) -> Message:
    """The run of work that only waits for its children: how each ended."""
    return StringValue(value=" ".join(child.state for child in work.children()))


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
    """Work in the queue `parent`, and its two children."""
    parent = bench.record(queue="parent")
    return parent, [bench.record(parent=parent) for _ in range(2)]


def test_work_waits_for_its_children_and_wakes_by_the_last(bench: Any, family: tuple[str, list[str]]) -> None:
    """Parked work is claimed again when a child ends, and ends with the last, however each child ended."""
    parent, _ = family
    joins = bench.worker(join, queues=("parent",))
    assert joins.run_once()
    assert not joins.run_once()
    assert bench.metadata(parent).step == "waits for 2 of 2 child operations"
    bench.worker(bench.nothing).run_once()
    assert joins.run_once()
    assert not joins.run_once()
    assert (bench.metadata(parent).step, bench.metadata(parent).progress_percent) == (
        "waits for 1 of 2 child operations",
        50,
    )
    bench.worker(refuse).run_once()
    assert joins.run_once()
    assert answer(bench, parent) == "SUCCEEDED FAILED"
    assert bench.row(parent).retries == 0


def test_a_cancel_reaches_the_children(bench: Any, family: tuple[str, list[str]]) -> None:
    """Cancelling the parent cancels the children; it waits for them, and goes on by how they ended."""
    parent, children = family
    joins = bench.worker(join, queues=("parent",))
    joins.run_once()
    bench.cancel(parent)
    for _ in children:
        bench.worker(lambda work: work.pause(5)).run_once()
    assert joins.run_once()
    assert answer(bench, parent) == "CANCELLED CANCELLED"


def test_deleting_the_parent_deletes_its_children(bench: Any, family: tuple[str, list[str]]) -> None:
    """Deleting ended work deletes its children and their rows."""
    parent, children = family
    for _ in children:
        bench.worker(bench.nothing).run_once()
    bench.worker(join, queues=("parent",)).run_once()
    bench.reach.delete(parent)
    assert bench.names("operation", "id") == []


def test_no_wakeup_is_lost_between_the_check_and_the_parking(bench: Any) -> None:
    """Children that end at any instant, by workers of their own, bring the parent to its end at once."""
    for _ in range(8):
        parent = bench.record(queue="parent")
        children = [bench.record(parent=parent) for _ in range(4)]
        joins = bench.worker(join, queues=("parent",))
        done = threading.Barrier(3)

        def end_children(worker: Any, done: threading.Barrier) -> None:
            done.wait(60)
            while worker.run_once():
                pass

        workers = [
            threading.Thread(target=end_children, args=(bench.worker(bench.nothing), done)) for _ in range(2)
        ]
        for each in workers:
            each.start()
        done.wait(60)
        while not all(bench.row(child).ended for child in children):
            joins.run_once()
        for each in workers:
            each.join(60)
        joins.run_once()
        assert answer(bench, parent) == "SUCCEEDED " * 3 + "SUCCEEDED"
