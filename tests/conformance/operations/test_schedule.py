"""Recurring work: each due time is run once, by any one replica, and old rows expire by it."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recast.database import Database
from recast.operations import Expiries, OperationRow, Operations, Schedule
from recast.operations.tables import ScheduleRow
from recast.operations.work import Interrupted
from recast.resources import RequestReplay

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.time


@pytest.fixture
def clock() -> Clock:
    """The clock of all replicas."""
    return Clock()


@pytest.fixture
def replica(bench: Any, clock: Clock) -> Callable[..., tuple[Schedule, list[datetime]]]:
    """Makes the schedule of one more replica, with work every day; gives it with the times of its runs."""

    def make(run: Callable[[], None] = lambda: None) -> tuple[Schedule, list[datetime]]:
        schedule, runs = Schedule(bench.database, clock), list[datetime]()
        schedule.add("daily", DAY, lambda: (runs.append(clock()), run())[1])
        schedule.run_due()  # the database has the name from now on
        return schedule, runs

    return make


def row(database: Database) -> ScheduleRow:
    """The row of the work."""
    with database.read() as session:
        return session.get_one(ScheduleRow, "daily")


class TestDueTimes:
    """When work is run."""

    @pytest.mark.fault("FAULT-N06")
    def test_a_due_time_of_the_far_future_is_an_interval_ahead(
        self, bench: Any, clock: Clock, replica: Any
    ) -> None:
        """A due time that was written while the clock was a year ahead delays a run by one interval."""
        schedule, runs = replica()
        clock.time += 365 * DAY
        schedule.run_due()
        clock.time -= 365 * DAY
        schedule.run_due()
        assert row(bench.database).due_time == clock.time + DAY
        clock.time += DAY
        schedule.run_due()
        assert len(runs) == 2

    def test_work_is_run_when_it_is_due(self, bench: Any, clock: Clock, replica: Any) -> None:
        """Work is due one interval after it was added, and then one interval after it was run."""
        schedule, runs = replica()
        begin = clock.time
        for hours in (0, 23, 24, 25, 47, 48):
            clock.time = begin + hours * HOUR
            schedule.run_due()
        assert runs == [begin + DAY, begin + 2 * DAY]
        assert row(bench.database).last_run_time == begin + 2 * DAY

    def test_two_replicas_run_a_due_time_once(self, clock: Clock, replica: Any) -> None:
        """Of replicas that poll at the same time one runs the work, and the others do not wait for it."""
        barrier, ran = threading.Barrier(4), list[str]()
        replicas = [replica(lambda: ran.append("run"))[0] for _ in range(4)]
        for _ in range(5):
            clock.time += DAY

            def poll(schedule: Schedule) -> None:
                barrier.wait()
                schedule.run_due()

            threads = [threading.Thread(target=poll, args=[schedule]) for schedule in replicas]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert ran == ["run"] * 5

    def test_missed_runs_are_made_up_once(self, clock: Clock, replica: Any) -> None:
        """After a downtime of many intervals work is run once, and then one interval later."""
        _, _ = replica()
        clock.time += 10 * DAY
        schedule, runs = replica()
        schedule.run_due()
        assert runs == [clock.time]
        clock.time += DAY
        schedule.run_due()
        assert len(runs) == 2

    def test_a_clock_that_jumps_back_runs_nothing_twice(self, clock: Clock, replica: Any) -> None:
        """A clock that jumps back by a day has work run later, not again."""
        schedule, runs = replica()
        clock.time += DAY
        schedule.run_due()
        clock.time -= DAY
        schedule.run_due()
        clock.time += DAY
        schedule.run_due()
        assert len(runs) == 1
        clock.time += DAY
        schedule.run_due()
        assert len(runs) == 2

    def test_a_killed_run_is_made_up(self, bench: Any, clock: Clock, replica: Any) -> None:
        """A run whose process was killed is not repeated at once, but within the hour."""

        def die() -> None:
            raise bench.Killed

        schedule, _ = replica(die)
        clock.time += DAY
        with pytest.raises(bench.Killed):
            schedule.run_due()
        other, runs = replica()
        other.run_due()
        assert runs == []
        clock.time += HOUR
        other.run_due()
        assert runs == [clock.time]

    def test_a_failed_run_does_not_stop_the_others(self, clock: Clock, replica: Any, logs: list[Any]) -> None:
        """An exception in a run is logged; the other work runs, and the failed run when it is next due."""

        def fail() -> None:
            raise ZeroDivisionError

        schedule, runs = replica(fail)
        schedule.add("other", DAY, lambda: others.append("run"))
        others: list[str] = []
        schedule.run_due()
        clock.time += DAY
        assert schedule.run_due() == ["other"]
        assert [each["schedule"] for each in logs if each["event"] == "scheduled run failed"] == ["daily"]
        schedule.run_due()
        assert (len(runs), others) == (1, ["run"])
        clock.time += DAY
        schedule.run_due()
        assert len(runs) == 2

    def test_a_run_that_a_shutdown_ends_is_due_at_once(self, clock: Clock, replica: Any) -> None:
        """A run that raises Interrupted is run again by the next process."""

        def stop() -> None:
            raise Interrupted

        schedule, _ = replica(stop)
        clock.time += DAY
        assert schedule.run_due() == []
        other, runs = replica()
        other.run_due()
        assert len(runs) == 1

    def test_a_shorter_interval_counts_at_once(self, bench: Any, clock: Clock, replica: Any) -> None:
        """Work whose interval differs in a new version is due by the new one."""
        replica()
        schedule, runs = Schedule(bench.database, clock), list[str]()
        schedule.add("daily", HOUR, lambda: runs.append("run"))
        schedule.run_due()
        clock.time += HOUR
        schedule.run_due()
        assert runs == ["run"]

    def test_its_own_thread_runs_what_is_due(self, clock: Clock, replica: Any) -> None:
        """A started schedule runs due work, and stops."""
        has_run = threading.Event()
        schedule, _ = replica(has_run.set)
        clock.time += DAY
        schedule.start()
        assert has_run.wait(10)
        schedule.stop()


class TestExpiries:
    """The expiry of a service's old rows."""

    @pytest.fixture
    def expire(self, bench: Any, clock: Clock) -> Callable[[Callable[[Expiries], None]], None]:
        """Adds expiries and has them run once."""

        def run(add: Callable[[Expiries], None]) -> None:
            schedule = Schedule(bench.database, clock)
            add(Expiries(schedule, bench.database, clock))
            schedule.run_due()
            clock.time += DAY
            assert len(schedule.run_due()) == 1

        return run

    def test_old_request_ids_are_forgotten(self, bench: Any, clock: Clock, expire: Any) -> None:
        """Request ids expire after their age, in any number; those of a peer's work after 30 days."""
        ages = {"new": 5, "old": 9, "older": 40}
        with bench.database.write() as tx:
            for name, days in ages.items():
                for method, count in (("person", 700), ("work", 2)):
                    for number in range(count):
                        tx.session.add(
                            RequestReplay(
                                project="demo",
                                method=method,
                                request_id=f"{name}-{number:04}",
                                body_digest=b"",
                                answer=b"",
                                create_time=clock.time - timedelta(days=days),
                            )
                        )
            tx.commit()
        expire(lambda expiries: expiries.add_request_ids(7 * DAY, ["work"], 30 * DAY))
        with bench.database.read() as session:
            left = session.connection().exec_driver_sql("SELECT method, request_id FROM request_replay").all()
        assert {(method, name.partition("-")[0]) for method, name in left} == {
            ("person", "new"),
            ("work", "new"),
            ("work", "old"),
        }
        assert len(left) == 704

    def test_ended_operations_are_forgotten(self, bench: Any, expire: Any, clock: Clock) -> None:
        """Ended operations expire with steps and children; one that has not ended stays with its children."""
        parent = bench.record(queue="parent")
        child = bench.record(parent=parent)
        running = bench.record(queue="parent")
        its_child = bench.record(parent=running)
        bench.worker(lambda work: work.step("a", lambda: None) or bench.nothing(work)).run_once()
        bench.worker(bench.nothing).run_once()
        bench.worker(bench.nothing, queues=("parent",)).run_once()
        assert [bench.row(each).ended for each in (parent, child, running, its_child)] == [
            True,
            True,
            False,
            True,
        ]
        clock.time += 29 * DAY
        expire(lambda expiries: expiries.add_operations(timedelta(days=31)))
        assert len(bench.names("operation", "id")) == 4
        clock.time += DAY
        expire(lambda expiries: expiries.add_operations(timedelta(days=30)))
        assert sorted(bench.names("operation", "id")) == [running, its_child]
        assert bench.names("operation_step") == []

    def test_an_expiry_stops_with_its_process(self, bench: Any, clock: Clock) -> None:
        """A deletion that a shutdown ends is due at once."""
        schedule = Schedule(bench.database, clock)
        Expiries(schedule, bench.database, clock).add(OperationRow, "create_time", DAY)
        schedule.run_due()
        clock.time += DAY
        stopping = Schedule(bench.database, clock)
        stopping.begin_to_stop()
        assert stopping.run_due() == []
        assert schedule.run_due() == ["expire operation"]


def test_operations_and_schedule_share_a_database(bench: Any) -> None:
    """The table of due times is one of operations' own."""
    assert isinstance(bench.operations, Operations)
    assert bench.names("schedule") == []
