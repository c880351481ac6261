"""google.longrunning.Operations as a server has it: projects, lists, names, and the limit of waits.

Its effects on work are tested by tests/conformance/operations, through a client too.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.longrunning import operations_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from recast.faults import RemoteRefusal
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata
from recast.operations import Work
from tests.harness.expectations import until


def succeed(_work: Work) -> Message:
    """A run that succeeds at once."""
    return Empty()


def wait_request(name: str, seconds: float) -> pb.WaitOperationRequest:
    """A request to wait for so long."""
    timeout = Duration()
    timeout.FromNanoseconds(int(seconds * 1e9))
    return pb.WaitOperationRequest(name=name, timeout=timeout)


def listed(service: Any, text: str = "", **fields: Any) -> list[str]:
    """The targets of the operations in a list."""
    request = pb.ListOperationsRequest(name="projects/demo", filter=text, **fields)
    found = []
    for operation in service.stub().ListOperations(request).operations:
        metadata = OperationMetadata()
        operation.metadata.Unpack(metadata)
        found.append(metadata.target)
    return found


class TestGet:
    """GetOperation."""

    @pytest.mark.rule("R61")
    @pytest.mark.parametrize(
        "method", ["GetOperation", "WaitOperation", "CancelOperation", "DeleteOperation"]
    )
    def test_another_project_s_work_is_not_there(self, service: Any, method: str) -> None:
        """Work of another project is NOT_FOUND, by its own name and as if it were one's own."""
        name = service.record(project="other")
        request = getattr(pb, f"{method}Request")
        mine = name.replace("projects/other", "projects/demo")
        for requested, reason in ((name, "PROJECT_NOT_FOUND"), (mine, "OPERATION_NOT_FOUND")):
            with pytest.raises(RemoteRefusal) as refused:
                getattr(service.stub(), method)(request(name=requested))
            assert refused.value.reason == reason
        assert service.stub("other").GetOperation(pb.GetOperationRequest(name=name)).name == name

    @pytest.mark.parametrize("name", ["", "x", "projects/demo", "projects/demo/backups/x", "x" * 100_000])
    def test_a_text_that_is_no_name_is_refused(self, service: Any, name: str) -> None:
        """A name that is none of an operation is refused with the field's path, however long it is."""
        with pytest.raises(RemoteRefusal) as refused:
            service.stub().GetOperation(pb.GetOperationRequest(name=name))
        assert refused.value.reason == "REQUEST_INVALID"
        assert [field.field for field in refused.value.fields] == ["name"]


class TestList:
    """ListOperations."""

    def test_a_list_holds_the_project_s_work(self, service: Any) -> None:
        """A list holds the operations of its project, newest first, page by page."""
        for number in range(5):
            service.record(f"t{number}")
        service.record("t9", project="other")
        first = service.stub().ListOperations(pb.ListOperationsRequest(name="projects/demo", page_size=3))
        assert len(first.operations) == 3
        assert listed(service) == ["t4", "t3", "t2", "t1", "t0"]
        assert listed(service, page_size=3, page_token=first.next_page_token) == ["t1", "t0"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("done = true", ["t0"]),
            ('state = "PENDING"', ["t2", "t1"]),
            ('target = "t1" AND verb = "Do"', ["t1"]),
            ("create_time > 2026-03-01T00:02:30Z", ["t2"]),
            ('verb = "Other"', []),
        ],
    )
    def test_a_list_can_be_filtered(self, service: Any, text: str, expected: list[str]) -> None:
        """A list can be narrowed by done, state, target, verb and create_time."""
        for number in range(3):
            service.record(f"t{number}")
        service.finish(succeed)
        assert listed(service, text) == expected

    @pytest.mark.parametrize(
        "text", ["create_time > yesterday", "done < true", "x = 1", "done = true AND " * 5000]
    )
    def test_a_filter_that_cannot_be_read_is_refused(self, service: Any, text: str) -> None:
        """A filter that this list does not know is refused, and is no bug."""
        with pytest.raises(RemoteRefusal) as refused:
            listed(service, text)
        assert refused.value.reason == "FILTER_INVALID"

    @pytest.mark.rule("R61")
    def test_another_project_s_list_is_not_there(self, service: Any) -> None:
        """The list of another project is NOT_FOUND."""
        with pytest.raises(RemoteRefusal) as refused:
            service.stub().ListOperations(pb.ListOperationsRequest(name="projects/other"))
        assert refused.value.reason == "PROJECT_NOT_FOUND"


class TestWait:
    """WaitOperation."""

    def test_a_wait_ends_before_the_caller_s_deadline(self, service: Any) -> None:
        """A wait is answered half a second before its caller's deadline, so that the answer arrives."""
        name = service.record()
        assert not service.stub().WaitOperation(wait_request(name, 30), timeout=0.8).done

    def test_a_wait_ends_with_the_work(self, service: Any) -> None:
        """A wait is answered when the work has ended, long before its time is over."""
        name, begun = service.record(), time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(service.stub().WaitOperation, wait_request(name, 50))
            service.finish(succeed)
            assert waiting.result().done
        assert time.monotonic() - begun < 25

    def test_a_wait_ends_after_its_time(self, service: Any) -> None:
        """A wait for work that goes on is answered after its time with the work's present state."""
        name, begun = service.record(), time.monotonic()
        assert not service.stub().WaitOperation(wait_request(name, 0.15)).done
        assert time.monotonic() - begun >= 0.15

    def test_a_wait_for_ended_work_is_answered_at_once(self, service: Any) -> None:
        """Work that has ended is not waited for."""
        name = service.record()
        service.finish(succeed)
        assert service.stub().WaitOperation(pb.WaitOperationRequest(name=name)).done

    def test_a_closing_service_answers_its_waits(self, service: Any) -> None:
        """A wait at a service that is about to end is answered with the present state, and delays nothing."""
        name = service.record()
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(service.stub().WaitOperation, wait_request(name, 30))
            service.operations.close()
            assert not waiting.result().done
        assert time.monotonic() - begun < 10

    def test_so_many_may_wait(self, service: Any) -> None:
        """Past its share a project gets TOO_MANY_WAITS and a time; its other calls are answered."""
        name, stub = service.record(), service.stub()
        with ThreadPoolExecutor(service.max_waits) as pool:
            waits = [pool.submit(wait_in_a_place, stub, name) for _ in range(service.max_waits)]
            refused = until(lambda: refusal_of(stub, name), "all of them to wait")
            assert (refused.reason, refused.retry_seconds) == ("TOO_MANY_WAITS", 1.0)
            assert refused.facts["limit"] == str(service.max_waits)
            assert not stub.GetOperation(pb.GetOperationRequest(name=name)).done
            service.finish(succeed)
            assert all(each.result().done for each in waits)
        assert stub.WaitOperation(wait_request(name, 30)).done

    def test_another_project_gets_its_share(self, service: Any) -> None:
        """A project that came late waits although another had all waits: the oldest of those end early."""
        mine, other = service.record(), service.record(project="other")
        with ThreadPoolExecutor(service.max_waits + 2) as pool:
            waits = [pool.submit(wait_in_a_place, service.stub(), mine) for _ in range(service.max_waits)]
            until(lambda: refusal_of(service.stub(), mine), "all of them to wait")
            late = pool.submit(service.stub("other").WaitOperation, wait_request(other, 30))
            until(lambda: any(each.done() for each in waits), "one of them to end early")
            assert [each.result().done for each in waits if each.done()] == [False]
            assert not late.done()
            service.operations.close()


def wait_in_a_place(stub: Any, name: str) -> Any:
    """Waits long, as soon as there is a place: the short waits of `refusal_of` take one for a moment."""

    def answered() -> Any:
        try:
            return stub.WaitOperation(wait_request(name, 50))
        except RemoteRefusal as refusal:
            if refusal.reason != "TOO_MANY_WAITS":
                raise
            return None

    return until(answered, "a place to wait", seconds=120)


def refusal_of(stub: Any, name: str) -> RemoteRefusal | None:
    """Waits shortly; the refusal, if there is one."""
    try:
        stub.WaitOperation(wait_request(name, 0.01))
    except RemoteRefusal as refusal:
        return refusal
    return None
