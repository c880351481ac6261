"""Parts of a batch: known from the first answer, each with an end of its own, or that of the whole."""

from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import status_pb2

from recast.faults import Conflict
from recast.longrunning.v1 import operation_metadata_pb2 as pb
from recast.operations import Work, part_id

BY_CLIENT = True
TARGETS = ("projects/demo/a", "projects/demo/b")


def parts(operation: str = "batch") -> list[pb.OperationPart]:
    """A part for each target."""
    return [
        pb.OperationPart(id=part_id(operation, position), target=target)
        for position, target in enumerate(TARGETS)
    ]


def ends(bench: Any, operation: str) -> list[tuple[str, int]]:
    """The state of each part, and the code of its error."""
    found = bench.metadata(operation).parts
    assert [(part.id, part.target) for part in found] == [(part.id, part.target) for part in parts()]
    return [(pb.OperationState.Name(part.state).rpartition("_")[2], part.error.code) for part in found]


@pytest.fixture
def batch(bench: Any) -> str:
    """A batch of two."""
    operation: str = bench.record(parts=parts())
    return operation


def test_a_part_has_an_id_of_the_operation_and_its_position() -> None:
    """Ids count from -0000 in the order of the request."""
    assert [part.id for part in parts("x")] == ["x-0000", "x-0001"]


def test_parts_are_known_from_the_first_answer_and_stand_where_the_whole_does(bench: Any, batch: str) -> None:
    """Before the work begins, while it runs and reports progress, and when it has succeeded."""
    seen = [ends(bench, batch)]

    def run(work: Work) -> Message:
        work.progress([pb.DiskProgress(disk="d", done_bytes=1, total_bytes=2)])
        seen.append(ends(bench, batch))
        message: Message = bench.nothing(work)
        return message

    bench.worker(run).run_once()
    seen.append(ends(bench, batch))
    assert seen == [[(state, 0)] * 2 for state in ("PENDING", "RUNNING", "SUCCEEDED")]


def test_parts_of_work_that_fails_or_is_cancelled_end_with_its_reason(bench: Any, batch: str) -> None:
    """What is undone is undone for each part."""

    def refuse(_work: Work) -> Message:
        raise Conflict(resource="x")

    bench.worker(refuse).run_once()
    assert ends(bench, batch) == 2 * [("FAILED", bench.message(batch).error.code)]
    cancelled = bench.record(parts=parts())
    bench.cancel(cancelled)
    bench.worker(lambda work: work.pause(5)).run_once()
    assert ends(bench, cancelled) == 2 * [("CANCELLED", 1)]


def test_a_part_may_fail_by_itself(bench: Any, batch: str) -> None:
    """The parts that failed say why, the others succeeded."""

    def run(work: Work) -> Message:
        work.end_parts({TARGETS[1]: status_pb2.Status(code=9)})
        message: Message = bench.nothing(work)
        return message

    bench.worker(run).run_once()
    assert ends(bench, batch) == [("SUCCEEDED", 0), ("FAILED", 9)]


def test_the_parts_of_children_are_those_of_their_parent(bench: Any) -> None:
    """When a child ends its parts have ended, whatever becomes of the others."""

    def join(work: Work) -> Message:
        work.children()
        message: Message = bench.nothing(work)
        return message

    def refuse(_work: Work) -> Message:
        raise Conflict(resource="x")

    batch = bench.record(queue="batch", parts=parts())
    for part in parts():
        bench.record(parent=batch, parts=[part])
    joins = bench.worker(join, queues=("batch",))
    joins.run_once()
    assert ends(bench, batch) == 2 * [("RUNNING", 0)]
    bench.worker(refuse).run_once()
    joins.run_once()
    [failed, running] = ends(bench, batch)
    assert (failed[0], running) == ("FAILED", ("RUNNING", 0))
    bench.worker(bench.nothing).run_once()
    joins.run_once()
    assert ends(bench, batch) == [failed, ("SUCCEEDED", 0)]


@pytest.mark.fault("FAULT-N16")
def test_parts_are_counted_while_they_are_made(bench: Any, batch: str) -> None:
    """A step counts the parts that it has made; the number does not decrease, also not with the progress."""
    seen = []

    def make(work: Work) -> None:
        for done in (1, 0):
            work.count_parts(done)
            work.progress([pb.DiskProgress(disk="d", done_bytes=done, total_bytes=2)])
            seen.append(work.last_progress().parts_done)

    def run(work: Work) -> Message:
        work.step("make", lambda: make(work))
        work.end_parts({TARGETS[1]: status_pb2.Status(code=9)})
        message: Message = bench.nothing(work)
        return message

    bench.worker(run).run_once()
    assert (seen, bench.metadata(batch).parts_done) == ([1, 1], len(TARGETS))


@pytest.mark.fault("FAULT-N13")
@pytest.mark.parametrize(("step", "words"), [("thaw:begin", "thaw"), ("write a", "write a"), ("end", "end")])
def test_a_step_is_in_words_and_ends_with_the_work(bench: Any, step: str, words: str) -> None:
    """The step of running work has no inner name; work that has ended, well or not, has none."""
    seen = []

    def run(work: Work) -> Message:
        work.step(step, lambda: seen.append(bench.metadata(work.id).step))
        message: Message = bench.nothing(work)
        return message

    def fail(work: Work) -> Message:
        work.step(step, lambda: None)
        raise Conflict(resource="x")

    for each in (run, fail):
        operation = bench.record()
        bench.worker(each).run_once()
        assert bench.metadata(operation).step == ""
    assert seen == [words]
