"""The calls of callers on work: get, cancel, delete. Only a server can wait for it."""

from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from recast.faults import Conflict, Refusal
from recast.longrunning.v1.operation_metadata_pb2 import OPERATION_STATE_SUCCEEDED

BY_CLIENT = True


def refuse_to_go_on(work: Any) -> Empty:
    """A run that a cancel ends."""
    work.check()
    return Empty()


class TestGet:
    """Reading work."""

    def test_an_operation_has_its_state_and_metadata(self, bench: Any) -> None:
        """An operation has verb, target, state and times, and its result once it has ended."""
        operation = bench.record()
        before = bench.message(operation)
        bench.worker(bench.nothing).run_once()
        after, metadata = bench.message(operation), bench.metadata(operation)
        assert before.name == f"projects/demo/operations/{operation}"
        assert (before.done, before.HasField("response")) == (False, False)
        assert after.done
        assert after.response.Is(Empty.DESCRIPTOR)
        assert (metadata.verb, metadata.target) == ("Do", "projects/demo/x")
        assert metadata.state == OPERATION_STATE_SUCCEEDED
        assert metadata.create_time.seconds < metadata.end_time.seconds <= metadata.update_time.seconds

    def test_failed_work_has_its_refusal_alone(self, bench: Any) -> None:
        """An operation that failed holds the error, and no response."""
        operation = bench.record()
        bench.worker(lambda _: Conflict(resource="x")).run_once()
        assert bench.message(operation).WhichOneof("result") == "error"

    def test_unknown_work_is_not_there(self, bench: Any) -> None:
        """Work that was never recorded is OPERATION_NOT_FOUND to each call."""
        for call in (bench.reach.get, bench.reach.cancel, bench.reach.delete):
            with pytest.raises(Refusal) as refused:
                call("unknown")
            assert refused.value.reason == "OPERATION_NOT_FOUND"


class TestCancelAndDelete:
    """Cancelling and forgetting work."""

    def test_a_cancel_ends_the_work(self, bench: Any) -> None:
        """Work that is cancelled ends with CANCELLED for an error."""
        operation = bench.record()
        bench.cancel(operation)
        bench.worker(refuse_to_go_on).run_once()
        assert (bench.message(operation).done, bench.message(operation).error.code) == (True, 1)

    def test_a_cancel_of_ended_work_is_answered(self, bench: Any) -> None:
        """A cancel that comes after the end is no error, and changes nothing."""
        operation = bench.record()
        bench.worker(bench.nothing).run_once()
        bench.cancel(operation)
        assert bench.message(operation).HasField("response")

    def test_ended_work_can_be_forgotten(self, bench: Any) -> None:
        """The record of ended work is deleted with its steps and request id."""
        operation = bench.record()
        bench.worker(lambda work: (work.step("one", lambda: 1), Empty())[1]).run_once()
        bench.reach.delete(operation)
        with pytest.raises(Refusal) as refused:
            bench.message(operation)
        assert refused.value.reason == "OPERATION_NOT_FOUND"
        assert bench.names("operation_step", "operation_id") == []

    def test_work_that_has_not_ended_is_not_forgotten(self, bench: Any) -> None:
        """The record of work that has not ended cannot be deleted."""
        operation = bench.record()
        with pytest.raises(Refusal) as refused:
            bench.reach.delete(operation)
        assert refused.value.reason == "OPERATION_RUNNING"
        assert refused.value.violations[0].resource == f"projects/demo/operations/{operation}"
