"""The record of steps that survives a kill, and the fencing of a worker that lost its lease."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from recast.faults import Conflict, Refusal, Unavailable
from recast.longrunning.v1.operation_metadata_pb2 import DiskProgress, OperationMetadata
from recast.operations import Lease, LeaseLost, State, Work


class TestSteps:
    """Steps and their memory."""

    def test_recorded_work_is_run_to_its_end(self, bench: Any) -> None:
        """Work that was recorded is claimed, run and ended with its result; then there is none left."""
        operation = bench.record()
        worker = bench.worker(lambda work: StringValue(value=work.target))
        assert worker.run_once()
        assert not worker.run_once()
        result = StringValue()
        bench.message(operation).response.Unpack(result)
        assert result.value == "projects/demo/x"
        assert bench.row(operation).state == State.SUCCEEDED
        assert bench.metadata(operation).progress_percent == 100

    def test_work_that_was_not_committed_is_none(self, bench: Any) -> None:
        """Work that was recorded in a transaction that rolled back is never run."""
        with bench.database.write() as tx:
            bench.operations.record(tx, project="demo", verb="Do", target="x", request=Empty())
        assert not bench.worker(bench.die).run_once()

    def test_a_step_is_remembered(self, bench: Any) -> None:
        """A step that was done is not done again when the work is run again; its result is the same."""
        done: list[str] = []

        def run(work: Work) -> Message:
            def first() -> str:
                done.append("first")
                return f"result {len(done)}"

            result = work.step("first", first)
            assert work.done("first")
            if len(done) < 3:
                done.append("again")
                raise Unavailable(problem="the peer is unavailable")
            return StringValue(value=result)

        operation = bench.record()
        assert bench.drive(bench.worker(run), operation) == 3
        assert done == ["first", "again", "again"]
        assert b"result 1" in bench.row(operation).response

    @pytest.mark.parametrize(
        ("result", "of", "seen"),
        [
            (None, None, None),
            (("a", 1), None, ["a", 1]),
            ({"a": [1, None]}, None, {"a": [1, None]}),
            (StringValue(value="x"), StringValue, StringValue(value="x")),
        ],
        ids=["nothing", "tuple", "nested", "message"],
    )
    def test_the_first_run_sees_what_the_second_will(
        self, bench: Any, result: Any, of: Any, seen: Any
    ) -> None:
        """A step's result is the same when it is returned by its action and when it is
        read from its record.
        """
        results: list[Any] = []

        def run(work: Work) -> Message:
            results.append(work.step("get", lambda: result, of))
            if len(results) == 1:
                raise Unavailable(problem="again")
            return Empty()

        bench.drive(bench.worker(run), bench.record())
        assert results == [seen, seen]

    @pytest.mark.parametrize("of", [None, Empty])
    def test_a_result_that_could_not_be_read_back_is_a_bug_at_once(self, bench: Any, of: Any) -> None:
        """A step whose action gives another type than the step declares ends its work at the first run."""
        operation = bench.record()
        bench.worker(lambda work: work.step("get", lambda: StringValue(value="x"), of)).run_once()
        assert bench.message(operation).error.code == 13

    def test_a_killed_worker_s_work_is_taken_over(self, bench: Any) -> None:
        """A killed worker's work stays with it for its lease; then another goes on after its last step."""
        done: list[str] = []

        def run(work: Work) -> Message:
            work.step("one", lambda: done.append("one"))
            work.step("two", lambda: done.append("two"))
            return Empty()

        def killed_in_two(work: Work) -> Message:
            work.step("one", lambda: done.append("one"))
            work.step("two", lambda: bench.die(work))
            return Empty()

        operation = bench.record()
        with pytest.raises(bench.Killed):
            bench.worker(killed_in_two).run_once()
        assert bench.row(operation).state == State.RUNNING
        other = bench.worker(run)
        assert not other.run_once()
        bench.expire(operation)
        assert other.run_once()
        assert done == ["one", "two"]
        assert bench.row(operation).state == State.SUCCEEDED

    def test_a_transaction_is_done_exactly_once(self, bench: Any) -> None:
        """A write to the own database happens once, wherever around its commit the worker is killed."""

        def run(work: Work) -> str:
            return work.transact("write", lambda tx: bench.effect(tx, "written"))

        def killed_before(work: Work) -> Message:
            return work.transact(
                "write", lambda tx: (bench.effect(tx, "lost"), tx.session.flush(), bench.die(work))
            )

        def killed_after(work: Work) -> Message:
            run(work)
            return bench.die(work)

        operation = bench.record()
        bench.kill_at(operation, killed_before)
        assert bench.effects() == []
        bench.kill_at(operation, killed_after)
        bench.kill_at(operation, killed_after)
        bench.worker(lambda work: StringValue(value=run(work))).run_once()
        assert bench.effects() == ["written"]
        assert b"written" in bench.row(operation).response

    def test_the_request_goes_with_the_end(self, bench: Any) -> None:
        """The request, which may hold a key, is there while work runs and is gone when it has ended."""
        operation = bench.record()
        bench.worker(lambda work: StringValue.FromString(work.request)).run_once()
        assert b"key" in bench.row(operation).response
        assert bench.row(operation).request == b""

    def test_progress_does_not_go_back(self, bench: Any) -> None:
        """Work that is taken over does not report less progress than before."""

        def report(done_bytes: int) -> Callable[[Work], Message]:
            def run(work: Work) -> Message:
                work.progress([DiskProgress(disk="d", done_bytes=done_bytes, total_bytes=100)])
                return bench.die(work)

            return run

        operation = bench.record()
        bench.kill_at(operation, report(80))
        assert bench.metadata(operation).progress_percent == 80
        bench.kill_at(operation, report(10))
        assert bench.metadata(operation).progress_percent == 80
        assert bench.metadata(operation).done_bytes == 10
        bench.kill_at(operation, report(100))
        assert bench.metadata(operation).progress_percent == 99
        bench.worker(bench.nothing).run_once()
        assert bench.metadata(operation).progress_percent == 100
        assert bench.metadata(operation).done_bytes == 100

    @pytest.mark.fault("FAULT-W09")
    def test_a_wait_shows_what_for(self, bench: Any) -> None:
        """Work that waits for other work names it, and has its progress, which does not go back."""
        seen = []

        def run(work: Work) -> Message | Refusal:
            for percent in (30, 20, 100):
                progress = OperationMetadata(progress_percent=percent, done_bytes=percent)
                work.wait_for("backup b", progress, 0.0)
                seen.append(bench.metadata(work.id))
            return Conflict(resource="x")

        bench.record()
        bench.worker(run, monotonic=lambda: 3.0 * len(seen)).run_once()
        assert [(each.step, each.progress_percent, each.done_bytes) for each in seen] == [
            ("waits for backup b, at 30 %", 30, 30),
            ("waits for backup b, at 20 %", 30, 20),
            ("waits for backup b, at 100 %", 99, 100),
        ]

    def test_progress_is_written_every_two_seconds(self, bench: Any) -> None:
        """Progress is written at once, then not before two seconds have passed, and the last at the end."""
        seconds, seen = [100.0], []

        def run(work: Work) -> Message | Refusal:
            for done_bytes, at in ((10, 100.0), (20, 101.9), (30, 102.0), (40, 103.9)):
                seconds[0] = at
                work.progress([DiskProgress(disk="d", done_bytes=done_bytes, total_bytes=100)])
                seen.append(bench.metadata(work.id).done_bytes)
            return Conflict(resource="x")

        operation = bench.record()
        bench.worker(run, monotonic=lambda: seconds[0]).run_once()
        assert seen == [10, 10, 30, 30]
        assert (bench.metadata(operation).done_bytes, bench.metadata(operation).progress_percent) == (40, 40)


class TestLeases:
    """Leases and fencing."""

    @pytest.mark.parametrize(
        "write",
        [
            lambda _bench, work: work.step("late", lambda: "x"),
            lambda bench, work: work.transact("late", lambda tx: bench.effect(tx, "late")),
            lambda _bench, work: work.progress([DiskProgress(disk="d", done_bytes=1, total_bytes=2)]),
            lambda _bench, work: work.use("projects/demo/late"),
        ],
        ids=["step", "transact", "progress", "use"],
    )
    @pytest.mark.parametrize("has_checked", [False, True])
    def test_a_stale_worker_leaves_no_trace(
        self, bench: Any, write: Callable[[Any, Work], object], has_checked: bool
    ) -> None:
        """A worker whose work was taken over gets LeaseLost from any write, also just after a check."""
        held: list[Work] = []

        def keep(work: Work) -> Message:
            held.append(work)
            if has_checked:
                work.check()
            return bench.die(work)

        operation = bench.record()
        bench.kill_at(operation, keep)
        bench.kill_at(operation, bench.die)
        before = bench.row(operation).model_dump()
        with pytest.raises(LeaseLost):
            write(bench, held[0])
        assert bench.row(operation).model_dump() == before
        assert (
            bench.effects() == bench.names("operation_step") == bench.names("operation_use", "resource") == []
        )

    @pytest.mark.parametrize(
        "write",
        [
            lambda lease: lease.end(state=State.SUCCEEDED),
            lambda lease: lease.give_back(),
            lambda lease: lease.write(step="late"),
        ],
        ids=["end", "give back", "write"],
    )
    def test_a_lost_lease_writes_nothing(self, bench: Any, write: Callable[[Lease], None]) -> None:
        """A lease whose operation was taken over ends nothing and gives nothing back."""
        operation = bench.record()
        lease = bench.worker(bench.nothing).claim()
        bench.expire(operation)
        bench.kill_at(operation, bench.die)
        before = bench.row(operation).model_dump()
        with pytest.raises(LeaseLost):
            write(lease)
        assert bench.row(operation).model_dump() == before

    def test_work_is_lost_amid_a_step(self, bench: Any) -> None:
        """A step's result after a take-over is not recorded, and the new owner's end stands."""
        others: list[bool] = []

        def overtaken(work: Work) -> Message:
            def slow() -> str:
                bench.expire(work.id)
                others.append(bench.worker(lambda _: StringValue(value="mine")).run_once())
                return "late"

            work.step("slow", slow)
            return StringValue(value="not mine")

        operation = bench.record()
        assert bench.worker(overtaken).run_once()
        assert others == [True]
        assert bench.row(operation).response.endswith(b"mine")
        assert not bench.row(operation).response.endswith(b"not mine")
        assert bench.names("operation_step") == []

    def test_one_worker_may_meet_its_own_lost_work_again(self, bench: Any) -> None:
        """A worker that claims work which another of its threads has just lost does not confuse the two."""
        depth: list[str] = []

        def run(work: Work) -> Message:
            depth.append(work.id)
            if len(depth) == 1:
                bench.expire(work.id)
                assert worker.run_once()
            return StringValue(value=f"run {len(depth)}")

        worker = bench.worker(run)
        operation = bench.record()
        assert worker.run_once()
        assert b"run 2" in bench.row(operation).response
        assert not worker.run_once()

    def test_a_lease_is_renewed(self, bench: Any) -> None:
        """A renewal makes the lease end later."""
        operation = bench.record()
        lease = bench.worker(bench.nothing, lease_seconds=100.0).claim()
        bench.execute(f"UPDATE operation SET lease_until = lease_until - 60 WHERE id = '{operation}'")
        before = bench.row(operation).lease_until
        lease.renew()
        assert bench.row(operation).lease_until > before + 50
        lease.check()

    def test_a_renewal_does_not_take_back_a_returned_lease(self, bench: Any) -> None:
        """A renewal that comes after the lease was given back changes nothing."""
        operation = bench.record()
        lease = bench.worker(bench.nothing).claim()
        lease.give_back(60.0)
        before = bench.row(operation).model_dump()
        lease.renew()
        with pytest.raises(LeaseLost):
            lease.check()
        assert bench.row(operation).model_dump() == before

    def test_a_renewal_does_not_touch_another_s_lease(self, bench: Any) -> None:
        """A renewal that comes after a take-over changes nothing, and the old owner's lease is lost."""
        operation = bench.record()
        lease = bench.worker(bench.nothing).claim()
        bench.expire(operation)
        with pytest.raises(bench.Killed):
            bench.worker(bench.die).run_once()
        before = bench.row(operation).model_dump()
        lease.renew()
        assert bench.row(operation).model_dump() == before
        with pytest.raises(LeaseLost):
            lease.check()

    def test_a_lease_that_could_not_be_renewed_is_given_up(self, bench: Any) -> None:
        """Work whose lease ran out stops at its next check, before it knows of a take-over."""

        def run(work: Work) -> Message:
            while True:
                work.pause(0.01)

        operation = bench.record()
        assert bench.worker(run, lease_seconds=0.05).run_once()
        assert not bench.row(operation).ended
        bench.expire(operation)  # by the database's clock, which began later
        assert bench.worker(bench.nothing).run_once()
        assert bench.row(operation).state == State.SUCCEEDED

    def test_a_newer_version_s_work_is_left_alone(self, bench: Any) -> None:
        """A worker claims only work of its own verbs."""
        bench.record(verb="DoBetter")
        known = bench.record()
        worker = bench.worker(bench.nothing)
        assert worker.run_once()
        assert not worker.run_once()
        assert bench.row(known).ended

    def test_a_worker_serves_its_queues(self, bench: Any) -> None:
        """A worker claims only work of the queues that it serves, the oldest first."""
        order: list[str] = []

        def run(work: Work) -> Message:
            order.append(work.id)
            return Empty()

        here = [bench.record(queue="here"), bench.record(queue="here")]
        bench.record(queue="elsewhere")
        worker = bench.worker(run, queues=("here",))
        while worker.run_once():
            pass
        assert order == here

    def test_a_remembered_result_is_json(self, bench: Any) -> None:
        """The recorded result of a step is readable JSON."""
        operation = bench.record()
        bench.kill_at(operation, lambda work: (work.step("a", lambda: {"x": 1}), bench.die(work)))
        assert [json.loads(bytes(result)) for result in bench.names("operation_step", "result")] == [{"x": 1}]

    def test_a_worker_outlives_a_bug(self, bench: Any) -> None:
        """A worker goes on to the next work after a bug in one workflow."""
        broken, whole = bench.record(), bench.record()

        def run(work: Work) -> Message | Refusal:
            if work.id == broken:
                raise ZeroDivisionError
            return Empty()

        worker = bench.worker(run)
        assert worker.run_once()
        assert worker.run_once()
        assert (bench.row(broken).state, bench.row(whole).state) == (State.FAILED, State.SUCCEEDED)
