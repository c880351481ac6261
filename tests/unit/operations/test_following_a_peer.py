"""A peer's operation as a step of one's own work."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from google.longrunning import operations_pb2 as pb
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from recast.faults import Conflict, RemoteRefusal, TooManyWaits, Unavailable
from recast.longrunning.v1.operation_metadata_pb2 import DiskProgress, OperationMetadata
from recast.operations import State, Work
from recast.operations.peer import follow
from recast.rpc.status import status_from_refusal

PEER = "projects/demo/operations/theirs"


def operation(done: bool = False, *, has_disks: bool = True, **result: Any) -> pb.Operation:
    """A peer's operation, half done."""
    disks = [DiskProgress(disk="d", done_bytes=50, total_bytes=100)] if has_disks else []
    message = pb.Operation(name=PEER, done=done, **result)
    message.metadata.Pack(OperationMetadata(disks=disks))
    return message


@dataclass
class PeerOperations:
    """A peer that gives one answer after the other, and records the calls."""

    answers: Iterator[pb.Operation | Exception]
    calls: list[str] = field(default_factory=list)

    def _answer(self, method: str) -> pb.Operation:
        self.calls.append(method)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def WaitOperation(self, request: pb.WaitOperationRequest, timeout: float) -> pb.Operation:
        """Waits for a moment, not for the end: so that a cancel is noticed."""
        assert request.name == PEER
        assert request.timeout.ToNanoseconds() / 1e9 < 1 < timeout
        return self._answer("wait")

    def GetOperation(self, request: pb.GetOperationRequest, timeout: float) -> pb.Operation:
        """Reads."""
        return self._answer("get")

    def CancelOperation(self, request: pb.CancelOperationRequest) -> Empty:
        """Records the cancel."""
        assert request.name == PEER
        self.calls.append("cancel")
        return Empty()


def following(peer: PeerOperations, begun: list[str]) -> Callable[[Work], Message]:
    """A run that follows a peer's work."""

    def run(work: Work) -> Message:
        def begin() -> pb.Operation:
            begun.append(work.id)
            return pb.Operation(name=PEER)

        follow(work, peer, "export", begin)
        return Empty()

    return run


def cancel(service: Any, name: str) -> None:
    """Cancels one's own work."""
    service.stub().CancelOperation(pb.CancelOperationRequest(name=name))


def state_of(service: Any, name: str) -> tuple[str, OperationMetadata]:
    """State and progress of one's own work."""
    with service.operations.database.read() as session:
        row = service.operations.find(session, "demo", name.rpartition("/")[2])
    return row.state, OperationMetadata.FromString(row.progress)


def test_a_peer_s_work_is_waited_for(service: Any) -> None:
    """A peer's work is begun once, and waited for until it has ended."""
    peer, begun = PeerOperations(iter([operation(), operation(), operation(done=True)])), []
    name = service.record()
    service.finish(following(peer, begun))
    assert state_of(service, name)[0] == State.SUCCEEDED
    assert (len(begun), peer.calls) == (1, ["wait"] * 3)


def test_a_peer_s_work_is_found_again(service: Any) -> None:
    """After an interruption the same work of the peer is followed, not begun again, and reported."""
    peer, begun = PeerOperations(iter([Unavailable(problem="restarting"), operation(done=True)])), []
    name = service.record()
    worker = service.worker(following(peer, begun))
    assert worker.run_once()
    with service.operations.database.write() as tx:
        row = service.operations.find(tx.session, "demo", name.rpartition("/")[2])
        row.not_before = 0.0
        tx.commit()
    assert worker.run_once()
    state, metadata = state_of(service, name)
    assert (len(begun), state, metadata.disks[0].disk) == (1, State.SUCCEEDED, "d")


def test_a_peer_s_work_without_disks_leaves_the_progress(service: Any) -> None:
    """Work that follows an export, then a thaw without disks, ends with the export's progress."""
    peer = PeerOperations(iter([operation(done=True), operation(done=True, has_disks=False)]))
    name = service.record()

    def run(work: Work) -> Message:
        for step in ("export", "thaw"):
            follow(work, peer, step, lambda: pb.Operation(name=PEER))
        return Empty()

    service.finish(run)
    metadata = state_of(service, name)[1]
    assert (metadata.progress_percent, metadata.done_bytes, metadata.total_bytes) == (100, 100, 100)


def test_a_peer_s_failure_is_one_s_own(service: Any) -> None:
    """A peer's refusal ends one's own work, as the peer's."""
    status = status_from_refusal(Conflict(resource="projects/demo/servers/s"), "ecs.recast")
    peer = PeerOperations(iter([operation(done=True, error=status)]))
    name = service.record()
    service.finish(following(peer, []))
    error = service.stub().GetOperation(pb.GetOperationRequest(name=name)).error
    assert error.details[0].value.find(b"ecs.recast") > 0
    assert error.message == status.message


def test_many_waits_at_the_peer_are_no_failure(service: Any) -> None:
    """When a peer has TOO_MANY_WAITS, its operation is polled until it has ended."""
    busy = RemoteRefusal(TooManyWaits.kind, TooManyWaits.reason, "24 callers are waiting already")
    peer = PeerOperations(iter([busy, operation(), busy, operation(done=True)]))
    name = service.record()
    service.finish(following(peer, []))
    assert state_of(service, name)[0] == State.SUCCEEDED
    assert peer.calls == ["wait", "get", "wait", "get"]


def test_a_cancel_is_passed_on(service: Any) -> None:
    """A cancel of one's own work, noticed while the peer's is followed, is one of the peer's."""
    name = service.record()

    def answers() -> Iterator[pb.Operation]:
        cancel(service, name)
        yield from repeat(operation())

    peer = PeerOperations(answers())
    service.finish(following(peer, []))
    assert state_of(service, name)[0] == State.CANCELLED
    assert peer.calls[-1] == "cancel"


def test_a_lost_peer_is_an_error(service: Any) -> None:
    """A peer that does not know its operation any more ends one's own work."""
    gone = RemoteRefusal(Conflict.kind, "OPERATION_NOT_FOUND", "there is no operation")
    name = service.record()
    service.finish(following(PeerOperations(iter([gone])), []))
    assert state_of(service, name)[0] == State.FAILED
