"""The ends of work: by failing and being undone, by a cancel, or although something of it failed."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2

from recast.faults import Conflict, Kind, OperationRunning, Refusal, RemoteRefusal, TooManyWaits, Unavailable
from recast.operations import State, Work
from recast.rpc.status import refusal_from_status

BY_CLIENT = True


def fail(_work: Work) -> Message:
    """A run that fails for good."""
    raise Conflict(resource="projects/demo/x")


def meet_unavailable_peer(_work: Work) -> Message:
    """A run that needs a peer that is UNAVAILABLE."""
    raise Unavailable(problem="the peer is unavailable")


class TestRetries:
    """Retries of work."""

    @pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED])
    def test_an_unavailable_peer_is_waited_for(self, bench: Any, kind: Kind) -> None:
        """Work whose peer is UNAVAILABLE is given back, waits longer each time, and has the reason."""

        def run(_work: Work) -> Message:
            raise RemoteRefusal(kind, "SOME_REASON", "the peer is unavailable")

        operation, worker = bench.record(), bench.worker(run)
        for retry in range(1, 9):
            before = bench.clock()
            bench.make_due(operation)
            assert worker.run_once()
            row, metadata = bench.row(operation), bench.metadata(operation)
            assert before + min(5.0, 0.2 * 2 ** (retry - 1)) <= row.not_before <= bench.clock() + 5.0
            assert (row.lease_until, row.state) == (0.0, State.RUNNING)
            assert (metadata.retries, metadata.last_retry_reason) == (retry, "the peer is unavailable")
        bench.drive(bench.worker(bench.nothing), operation)
        assert bench.row(operation).state == State.SUCCEEDED

    def test_work_that_is_not_due_is_not_claimed(self, bench: Any) -> None:
        """Work that waits for its next try is left alone until then."""
        operation = bench.record()
        bench.worker(meet_unavailable_peer).run_once()
        bench.execute(f"UPDATE operation SET not_before = {bench.clock() + 60} WHERE id = '{operation}'")
        assert not bench.worker(bench.nothing).run_once()

    @pytest.mark.parametrize("refusal", [Conflict(resource="x"), TooManyWaits(limit=1)])
    def test_any_other_refusal_is_not_waited_out(self, bench: Any, refusal: Refusal) -> None:
        """A refusal that is no sign of an unavailable peer ends the work at once."""

        def run(_work: Work) -> Message:
            raise refusal

        operation = bench.record()
        assert bench.drive(bench.worker(run), operation) == 1


class TestUndo:
    """Failing for good."""

    def test_undoing_that_finds_all_done_succeeds(self, bench: Any) -> None:
        """An undo that gives a result ends the work SUCCEEDED with it, and with no error."""
        operation = bench.record()
        bench.worker(fail, lambda _work, _error: Empty()).run_once()
        assert bench.row(operation).state == State.SUCCEEDED
        message = bench.message(operation)
        assert message.HasField("response")
        assert not message.HasField("error")

    def test_a_refusal_has_the_work_undone(self, bench: Any) -> None:
        """A refusal is handed to the undoing, and the work ends FAILED with it, whole."""
        received: list[Refusal] = []

        def undo(work: Work, error: Refusal) -> None:
            received.append(error)
            assert bench.row(work.id).state == State.UNDOING
            assert not bench.message(work.id).done

        operation = bench.record()
        bench.worker(fail, undo).run_once()
        assert bench.row(operation).state == State.FAILED
        ended = refusal_from_status(bench.message(operation).error)
        for refusal in (received[0], ended):
            assert (refusal.kind, refusal.reason) == (Kind.ABORTED, "CONFLICT")
            assert refusal.facts == {"resource": "projects/demo/x"}
            assert refusal.domain == "test.recast"

    def test_a_bug_has_the_work_undone_and_stays_out_of_the_answer(self, bench: Any) -> None:
        """A bug in a workflow ends its work FAILED with INTERNAL, and without the bug's own text."""
        undone: list[str] = []

        def run(_work: Work) -> Message:
            raise ZeroDivisionError("inner text")

        operation = bench.record()
        bench.worker(run, lambda _work, error: undone.append(error.reason)).run_once()
        error = bench.message(operation).error
        assert undone == ["INTERNAL"]
        assert error.code == code_pb2.INTERNAL
        assert b"inner text" not in error.SerializeToString()
        assert operation in error.message

    def test_a_returned_refusal_needs_no_undoing(self, bench: Any) -> None:
        """A refusal that is returned instead of raised ends the work FAILED, and nothing is undone."""
        undone: list[str] = []
        operation = bench.record()
        worker = bench.worker(lambda _: Conflict(resource="x"), lambda *_: undone.append("undone"))
        assert bench.drive(worker, operation) == 1
        info = error_details_pb2.ErrorInfo()
        bench.message(operation).error.details[0].Unpack(info)
        assert (bench.row(operation).state, info.reason, undone) == (State.FAILED, "CONFLICT", [])

    def test_the_undoing_is_resumed(self, bench: Any) -> None:
        """An undoing that was killed is taken over after its last step; the work is not run again."""
        done: list[str] = []

        def undo(work: Work, error: Refusal) -> None:
            assert error.reason == "CONFLICT"
            work.step("undo one", lambda: done.append("one"))
            if len(done) == 1:
                done.append("killed")
                bench.die(work)
            work.step("undo two", lambda: done.append("two"))

        operation = bench.record()
        bench.kill_at(operation, fail, undo)
        assert bench.row(operation).state == State.UNDOING
        bench.worker(bench.die, undo).run_once()
        assert done == ["one", "killed", "two"]
        assert bench.row(operation).state == State.FAILED

    def test_an_undoing_that_fails_is_tried_again_and_given_up(self, bench: Any) -> None:
        """An undoing that fails is tried five times, and knows its last try; then the work ends
        FAILED with its first refusal.
        """
        tries: list[bool] = []

        def undo(work: Work, _error: Refusal) -> None:
            tries.append(work.is_last_try)
            raise OperationRunning(operation="x")

        operation = bench.record()
        assert bench.drive(bench.worker(fail, undo), operation) == 5
        assert tries == [False, False, False, False, True]
        assert bench.row(operation).state == State.FAILED
        assert "CONFLICT" in str(bench.message(operation).error)

    def test_an_undoing_waits_for_an_unavailable_peer(self, bench: Any) -> None:
        """An undoing whose peer is UNAVAILABLE is tried until the peer answers."""
        tries: list[int] = []

        def undo(_work: Work, _error: Refusal) -> None:
            tries.append(1)
            if len(tries) < 9:
                raise Unavailable(problem="restarting")

        operation = bench.record()
        assert bench.drive(bench.worker(fail, undo), operation) == 9
        assert bench.row(operation).failures == 0


class TestDecided:
    """Past the point of no return."""

    def test_decided_work_is_tried_again_before_it_is_undone(self, bench: Any) -> None:
        """Decided work that fails is tried fifteen times more; then it is undone, and ends FAILED."""
        undone: list[int] = []
        runs: list[int] = []

        def run(work: Work) -> Message:
            work.transact("decide", lambda tx: bench.effect(tx, "decided"), decides=True)
            runs.append(1)
            return fail(work)

        operation = bench.record()
        worker = bench.worker(run, lambda *_: undone.append(len(runs)))
        assert bench.drive(worker, operation) == 16
        assert undone == [16]
        assert bench.effects() == ["decided"]
        assert bench.row(operation).state == State.FAILED

    def test_waits_for_a_peer_are_no_failures_of_decided_work(self, bench: Any) -> None:
        """Decided work that waited twenty times for its peer still has all its tries, and
        so has its undoing.
        """
        runs: list[int] = []
        undone: list[int] = []

        def run(work: Work) -> Message:
            work.decide()
            runs.append(1)
            return meet_unavailable_peer(work) if len(runs) <= 20 else fail(work)

        def undo(work: Work, _error: Refusal) -> None:
            undone.append(1)
            if not work.is_last_try:
                raise OperationRunning(operation="x")

        operation = bench.record()
        assert bench.drive(bench.worker(run, undo), operation) == 40
        assert (len(runs), len(undone)) == (36, 5)

    def test_decided_work_that_recovers_succeeds(self, bench: Any) -> None:
        """Decided work that fails at first and then does not ends with its result."""
        runs: list[int] = []

        def run(work: Work) -> Message:
            work.decide()
            runs.append(1)
            return Empty() if len(runs) == 3 else fail(work)

        operation = bench.record()
        assert bench.drive(bench.worker(run), operation) == 3
        assert bench.row(operation).state == State.SUCCEEDED

    @pytest.mark.parametrize("late", ["cancel", "failure"])
    def test_work_that_is_taken_over_stays_decided(self, bench: Any, late: str) -> None:
        """A cancel or failure before the deciding step does not undo taken-over work that had passed it."""
        undone: list[str] = []

        def run(work: Work) -> Message:
            work.check()
            if late == "failure" and bench.row(work.id).epoch == 2:
                return fail(work)
            work.transact("decide", lambda tx: bench.effect(tx, "decided"), decides=True)
            return Empty()

        operation = bench.record()
        bench.kill_at(operation, lambda work: (run(work), bench.die(work)))
        if late == "cancel":
            bench.cancel(operation)
        bench.drive(bench.worker(run, lambda *_: undone.append("undone")), operation)
        assert (bench.row(operation).state, undone) == (State.SUCCEEDED, [])
        assert bench.effects() == ["decided"]


class TestCancel:
    """Cancelling work."""

    @pytest.mark.parametrize(
        "first",
        [
            lambda bench, work: work.step("one", lambda: bench.die(work)),
            lambda bench, work: work.transact("one", lambda tx: bench.effect(tx, "one")),
            lambda _bench, work: work.use("projects/demo/x"),
            lambda _bench, work: work.check(),
            lambda _bench, work: work.pause(60),
        ],
        ids=["step", "transact", "use", "check", "pause"],
    )
    def test_a_cancel_before_the_start(self, bench: Any, first: Callable[[Any, Work], object]) -> None:
        """Work that is cancelled before it begins does nothing, is undone, and ends CANCELLED."""
        undone: list[str] = []
        operation = bench.record()
        bench.cancel(operation)
        assert bench.metadata(operation).cancel_requested
        worker = bench.worker(lambda work: first(bench, work), lambda *_: undone.append("undone"))
        assert bench.drive(worker, operation) == 1
        assert (bench.row(operation).state, undone, bench.effects()) == (State.CANCELLED, ["undone"], [])
        assert bench.message(operation).error.code == code_pb2.CANCELLED

    def test_a_cancel_during_the_work(self, bench: Any) -> None:
        """Work that is cancelled while it runs stops at a check soon after, and ends CANCELLED."""
        pauses: list[int] = []

        def run(work: Work) -> Message:
            work.step("one", lambda: bench.cancel(work.id))
            while True:
                pauses.append(1)
                work.pause(0.02)

        operation = bench.record()
        assert bench.drive(bench.worker(run), operation) == 1
        assert bench.row(operation).state == State.CANCELLED
        assert len(pauses) < 25

    def test_a_cancel_after_the_point_of_no_return(self, bench: Any) -> None:
        """Work that is cancelled past its point of no return ends with its result."""

        def run(work: Work) -> Message:
            work.transact("decide", lambda tx: bench.effect(tx, "decided"), decides=True)
            bench.cancel(work.id)
            work.pause(0.3)
            work.step("rest", lambda: None)
            work.check()
            return Empty()

        operation = bench.record()
        bench.worker(run).run_once()
        assert bench.row(operation).state == State.SUCCEEDED
        assert bench.metadata(operation).cancel_requested

    def test_a_cancel_during_the_undoing(self, bench: Any) -> None:
        """Work that is cancelled while it is undone is undone to its end, and ends with its first refusal."""

        def undo(work: Work, _error: Refusal) -> None:
            bench.cancel(work.id)
            work.step("undo one", lambda: None)
            work.check()
            work.transact("undo two", lambda tx: bench.effect(tx, "undone"))

        operation = bench.record()
        assert bench.drive(bench.worker(fail, undo), operation) == 1
        assert (bench.row(operation).state, bench.effects()) == (State.FAILED, ["undone"])

    def test_a_cancel_does_not_wait_for_the_next_try(self, bench: Any) -> None:
        """Work that waits for its next try is due at once when it is cancelled."""
        operation = bench.record()
        bench.worker(meet_unavailable_peer).run_once()
        bench.cancel(operation)
        assert bench.worker(lambda work: work.check()).run_once()
        assert bench.row(operation).state == State.CANCELLED

    def test_a_cancel_does_not_wait_for_an_unavailable_peer(self, bench: Any) -> None:
        """Work that only ever meets an UNAVAILABLE peer, and comes to no check, is cancelled all the same."""
        operation = bench.record()
        bench.worker(meet_unavailable_peer).run_once()
        bench.cancel(operation)
        assert bench.drive(bench.worker(meet_unavailable_peer), operation) == 1
        assert bench.row(operation).state == State.CANCELLED

    def test_a_cancel_of_ended_work_changes_nothing(self, bench: Any) -> None:
        """Work that has ended stays as it is when it is cancelled."""
        operation = bench.record()
        bench.worker(bench.nothing).run_once()
        before = bench.row(operation).model_dump()
        bench.cancel(operation)
        assert bench.row(operation).model_dump() == before
        assert not bench.worker(bench.die).run_once()
