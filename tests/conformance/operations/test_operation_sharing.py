"""Work beside other work: shared and exclusive uses, workers that compete, and a worker that stops."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from recast.faults import Conflict, Refusal, Unavailable
from recast.operations import State, Work
from tests.harness.expectations import until

R = "projects/demo/chunks"


def uses(exclusive: bool, then: Callable[[Work], Message | Refusal]) -> Callable[[Work], Message | Refusal]:
    """A run that uses R, and goes on."""

    def run(work: Work) -> Message | Refusal:
        work.use(R, exclusive=exclusive)
        return then(work)

    return run


def refuse(_work: Work) -> Message:
    """A run that fails for good."""
    raise Conflict(resource="x")


class TestUse:
    """Using a resource together, or alone."""

    @pytest.mark.parametrize(
        ("holder_is_exclusive", "asker_is_exclusive", "is_given"),
        [(False, False, True), (False, True, False), (True, False, False), (True, True, False)],
        ids=["shared beside shared", "alone beside shared", "shared beside alone", "alone beside alone"],
    )
    def test_a_use_is_given_beside_another(
        self, bench: Any, holder_is_exclusive: bool, asker_is_exclusive: bool, is_given: bool
    ) -> None:
        """Shared uses go together; any other use waits, and its retry reason names the holder."""
        holder = bench.record()
        bench.kill_at(holder, uses(holder_is_exclusive, bench.die))
        bench.execute(f"UPDATE operation SET lease_until = {bench.clock() + 60} WHERE id = '{holder}'")
        asker = bench.record()
        bench.worker(uses(asker_is_exclusive, bench.nothing)).run_once()
        assert bench.row(asker).ended is is_given
        if not is_given:
            assert holder in bench.row(asker).last_retry_reason

    def test_uses_of_different_things_do_not_meet(self, bench: Any) -> None:
        """A use of one resource is not in the way of any other."""
        bench.kill_at(
            bench.record(), lambda work: (work.use("projects/demo/other", exclusive=True), bench.die(work))
        )
        other = bench.record()
        bench.execute(f"UPDATE operation SET lease_until = {bench.clock() + 60} WHERE id <> '{other}'")
        bench.worker(uses(True, bench.nothing)).run_once()
        assert bench.row(other).state == State.SUCCEEDED

    @pytest.mark.parametrize(
        ("then", "state"),
        [
            (lambda _: Empty(), State.SUCCEEDED),
            (refuse, State.FAILED),
            (lambda _: Conflict(resource="x"), State.FAILED),
            (lambda work: work.step("cancel", lambda: work.pause(60)), State.CANCELLED),
        ],
        ids=["success", "failure", "refusal", "cancel"],
    )
    def test_a_use_ends_with_its_work(
        self, bench: Any, then: Callable[[Work], Message], state: State
    ) -> None:
        """The use of a resource ends in the same transaction as its work, however that ends."""
        operation = bench.record()

        def killed(work: Work) -> Message:
            work.use(R, exclusive=True)
            return bench.die(work)

        bench.kill_at(operation, killed)
        if state is State.CANCELLED:
            bench.cancel(operation)
        bench.drive(bench.worker(uses(True, then)), operation)
        assert bench.row(operation).state == state
        assert bench.names("operation_use", "resource") == []

    def test_a_use_outlasts_a_retry(self, bench: Any) -> None:
        """Work that is given back to be tried again retains its uses."""

        def run(work: Work) -> Message:
            work.use(R, exclusive=True)
            raise Unavailable(problem="later")

        bench.worker(run).run_once()
        operation = bench.record()
        bench.worker(run).run_once()
        assert bench.names("operation_use", "resource") == [R]
        bench.drive(bench.worker(uses(True, bench.nothing)), operation)
        assert bench.names("operation_use", "resource") == []

    def test_one_may_use_it_alone_after_using_it_with_others(self, bench: Any) -> None:
        """Work that shares a resource may come to use it alone when no other work uses it."""

        def run(work: Work) -> Message:
            work.use(R)
            work.use(R, exclusive=True)
            return bench.die(work)

        bench.kill_at(bench.record(), run)
        assert [bool(each) for each in bench.names("operation_use", "exclusive")] == [True]

    def test_of_many_at_once_one_uses_it_alone(self, bench: Any) -> None:
        """Of several uses alone that are requested at the same moment, one is given."""
        together = threading.Barrier(4)
        operations = [bench.record() for _ in range(4)]

        def run(work: Work) -> Message:
            together.wait()
            work.use(R, exclusive=True)
            return bench.die(work)

        def claim(_: int) -> None:
            with contextlib.suppress(bench.Killed):
                bench.worker(run).run_once()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(claim, range(4)))
        assert bench.names("operation_use", "resource") == [R]
        assert sorted(bench.row(each).retries for each in operations) == [0, 1, 1, 1]


class TestWorkers:
    """Several workers, with threads of their own."""

    def test_two_workers_never_run_the_same_work(self, bench: Any) -> None:
        """Of many pieces of work on one database each is run once, although two workers compete for all."""
        lock = threading.Lock()
        running: set[str] = set()
        runs: list[str] = []
        doubled: list[str] = []

        def run(work: Work) -> Message:
            with lock:
                runs.append(work.id)
                if work.id in running:
                    doubled.append(work.id)
                running.add(work.id)
            work.transact("write", lambda tx: bench.effect(tx, work.id))
            with lock:
                running.discard(work.id)
            return Empty()

        operations = [bench.record() for _ in range(30)]
        workers = [bench.start(run, threads=3) for _ in range(2)]
        until(
            lambda: len(bench.effects()) == 30 and all(bench.row(each).ended for each in operations),
            "the end of all work",
        )
        for worker in workers:
            worker.stop()
        assert sorted(runs) == sorted(bench.effects()) == operations
        assert doubled == []

    def test_a_lease_is_renewed_during_a_long_step(self, bench: Any) -> None:
        """A worker renews the lease of work that runs longer than it, in one step."""
        begun, let_go = threading.Event(), threading.Event()

        def run(work: Work) -> Message:
            work.step("long", lambda: begun.set() or let_go.wait(60))
            return Empty()

        operation = bench.record()
        bench.start(run, threads=1, lease_seconds=1.0)
        assert begun.wait(60)
        first = bench.row(operation).lease_until
        until(lambda: bench.row(operation).lease_until > first + 1.0, "two renewals")
        let_go.set()
        until(lambda: bench.row(operation).ended, "the end of the work")
        assert (bench.row(operation).state, bench.row(operation).epoch) == (State.SUCCEEDED, 1)

    def test_a_stopped_worker_gives_its_work_back(self, bench: Any) -> None:
        """A worker that stops interrupts its work at the next check, and another may have it at once."""
        begun = threading.Event()

        def run(work: Work) -> Message:
            work.step("one", begun.set)
            while True:
                work.pause(60)

        operation = bench.record()
        worker = bench.start(run, threads=2)
        assert begun.wait(60)
        worker.stop()
        row = bench.row(operation)
        assert (row.state, row.lease_until, row.retries) == (State.RUNNING, 0.0, 0)
        assert bench.worker(bench.nothing).run_once()
        assert bench.row(operation).state == State.SUCCEEDED

    def test_a_stopped_worker_leaves_no_thread(self, bench: Any) -> None:
        """A worker that was stopped has no thread left, whether it had work or none."""
        before = set(threading.enumerate())
        worker = bench.start(bench.nothing, threads=4)
        assert len(set(threading.enumerate()) - before) == 5
        worker.stop()
        assert set(threading.enumerate()) - before == set()

    def test_decided_work_is_interrupted_too(self, bench: Any) -> None:
        """A worker that stops does not wait for decided work: it is finished elsewhere, and not undone."""
        begun = threading.Event()

        def run(work: Work) -> Message:
            work.transact("decide", lambda tx: bench.effect(tx, "decided"), decides=True)
            if not begun.is_set():
                begun.set()
                work.pause(60)
            return Empty()

        operation = bench.record()
        worker = bench.start(run, threads=1)
        assert begun.wait(60)
        worker.stop()
        bench.cancel(operation)
        bench.drive(bench.worker(run), operation)
        assert (bench.row(operation).state, bench.effects()) == (State.SUCCEEDED, ["decided"])

    def test_recorded_work_wakes_a_worker(self, bench: Any) -> None:
        """Work that this process records is begun without waiting for the next poll."""
        bench.start(bench.nothing, threads=1)
        for _ in range(5):
            begun = bench.clock()
            operation = bench.record()
            until(lambda operation=operation: bench.row(operation).ended, "the end of the work")
            assert bench.clock() - begun < 5

    def test_work_that_was_begun_is_not_waiting(self, bench: Any) -> None:
        """`waiting` finds only work that has not begun: begun work may have read before
        the present change.
        """
        found: list[bool] = []

        def find_waiting(_work: Work) -> Message:
            with bench.database.read() as session:
                found.append(bench.operations.waiting(session, "projects/demo/x") is not None)
            return Empty()

        first = bench.record()
        find_waiting(bench)
        bench.drive(bench.worker(find_waiting), first)
        find_waiting(bench)
        assert found == [True, False, False]


DAY = 86400


class TestWrongClocks:
    """Times that a clock which was ahead has written (FAULT-N06)."""

    @pytest.mark.fault("FAULT-N06")
    @pytest.mark.parametrize("ahead", [3600, DAY, 400 * DAY])
    def test_a_lease_of_the_future_ends_with_a_whole_one(self, bench: Any, ahead: int) -> None:
        """The work of a dead owner whose clock was ahead is taken over after one lease from now."""
        operation = bench.record()
        bench.kill_at(operation, bench.die)
        bench.execute(f"UPDATE operation SET lease_until = {bench.clock() + ahead} WHERE id = '{operation}'")
        worker = bench.worker(bench.nothing)
        assert not worker.run_once()
        worker.tend()
        assert bench.clock() < bench.row(operation).lease_until < bench.clock() + 120
        bench.expire(operation)
        assert worker.run_once()
        assert bench.row(operation).state == State.SUCCEEDED

    @pytest.mark.fault("FAULT-N06")
    def test_a_delay_of_the_future_is_over(self, bench: Any) -> None:
        """Work that was given back by a clock that was ahead is claimed at once."""
        operation = bench.record()
        bench.execute(f"UPDATE operation SET not_before = {bench.clock() + DAY} WHERE id = '{operation}'")
        worker = bench.worker(bench.nothing)
        assert not worker.run_once()
        worker.tend()
        assert worker.run_once()

    @pytest.mark.fault("FAULT-N06")
    def test_leases_and_delays_of_now_stay(self, bench: Any) -> None:
        """A lease and a delay that can be are not changed."""
        leased, parked = bench.record(), bench.record()
        until = bench.clock() + 100
        bench.execute(f"UPDATE operation SET lease_until = {until} WHERE id = '{leased}'")
        bench.execute(f"UPDATE operation SET not_before = {until} WHERE id = '{parked}'")
        worker = bench.worker(bench.nothing)
        worker.tend()
        assert not worker.run_once()
        assert (bench.row(leased).lease_until, bench.row(parked).not_before) == (until, until)
