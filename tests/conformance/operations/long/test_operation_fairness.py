"""No project holds more than half of a worker's threads while another waits."""

import threading
from collections import Counter
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from recast.operations import State, Work
from tests.harness.expectations import until

SECONDS = 20.0  # the promise is 5 s; a busy machine has four times as long


class Projects:
    """Work that runs until it is released: which projects' work runs now, and how often each began."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()
        self.released = threading.Event()
        self._lock = threading.Lock()

    def run(self, work: Work) -> Message:
        """Checks often, as work does that reads or writes a disk."""
        with self._lock:
            self.running[work.project] += 1
            self.begun[work.id] += 1
        try:
            while not self.released.is_set():
                work.pause(0.02)
                self.checks[work.id] += 1
        finally:
            with self._lock:
                self.running[work.project] -= 1
        return Empty()


def begun_within(projects: Projects, counts: dict[str, int]) -> None:
    """The projects come to run so much work in time."""
    until(lambda: projects.running == Counter(counts), f"running: {counts}", seconds=SECONDS)


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.fault("FAULT-FAIR-WORKERS")
def test_the_surplus_of_a_project_gives_way(bench: Any, threads: int) -> None:
    """One project's work on all threads gives way, piece by piece, until each project has its half."""
    projects = Projects()
    first = [bench.record(project="first") for _ in range(threads + 1)]
    bench.start(projects.run, threads=threads)
    begun_within(projects, {"first": threads})
    second = [bench.record(project="second")]
    begun_within(projects, {"first": threads - 1, "second": 1})
    second += [bench.record(project="second") for _ in range(threads)]
    share = max(1, threads // 2)
    until(lambda: projects.running["second"] >= share, "the second project's half")
    assert projects.running["first"] >= share
    # The oldest work of a project stays: it has begun once.
    assert [projects.begun[each] for each in first[:share]] == [1] * share
    projects.released.set()
    until(lambda: all(bench.row(each).ended for each in (*first, *second)), "the end of all work")
    assert {bench.row(each).state for each in (*first, *second)} == {State.SUCCEEDED}
    assert {bench.row(each).failures for each in first} == {0}


@pytest.mark.fault("FAULT-FAIR-WORKERS")
def test_a_project_alone_has_all_threads(bench: Any) -> None:
    """Without another project that waits no work gives way, and no thread is idle."""
    projects = Projects()
    operations = [bench.record(project="first") for _ in range(6)]
    bench.start(projects.run, threads=4)
    begun_within(projects, {"first": 4})
    projects.released.set()
    until(lambda: all(bench.row(each).ended for each in operations), "the end of all work")
    assert max(projects.begun.values()) == 1


@pytest.mark.parametrize("waiting", ["second", "third"])
@pytest.mark.fault("FAULT-FAIR-WORKERS")
def test_two_halves_do_not_give_way_to_each_other(bench: Any, waiting: str) -> None:
    """Two projects with half of the threads each retain them, though more work of either, or of a third,
    waits.
    """
    projects = Projects()
    for project in ("first", "second"):
        for _ in range(2):
            bench.record(project=project)
    bench.start(projects.run, threads=4)
    begun_within(projects, {"first": 2, "second": 2})
    later = bench.record(project=waiting)
    more = bench.record(project="first")
    enough = projects.checks + Counter(dict.fromkeys(projects.checks, 30))  # each asked twice at least
    until(lambda: projects.checks >= enough, "checks of all work")
    assert projects.running == Counter({"first": 2, "second": 2})
    projects.released.set()
    until(lambda: bench.row(later).ended and bench.row(more).ended, "the end of all work")
    assert max(projects.begun.values()) == 1


@pytest.mark.fault("FAULT-FAIR-WORKERS")
def test_new_work_of_a_project_with_few_threads_is_first(bench: Any) -> None:
    """A free thread is for the project that has fewer than its half, though another's work is older."""
    projects = Projects()
    bench.record(project="first")
    bench.record(project="first")
    worker = bench.start(projects.run, threads=2)
    begun_within(projects, {"first": 2})
    bench.record(project="first")
    bench.record(project="second")
    begun_within(projects, {"first": 1, "second": 1})
    worker.stop()


@pytest.mark.fault("FAULT-FAIR-WORKERS")
def test_work_that_is_decided_or_undone_gives_way_too(bench: Any) -> None:
    """Work past its point of no return gives way as well, and is finished later."""
    released = threading.Event()

    def run(work: Work) -> Message:
        work.transact("decide", lambda tx: bench.effect(tx, work.id), decides=True)
        while work.project == "first" and not released.is_set():
            work.pause(0.02)
        return Empty()

    first = [bench.record(project="first") for _ in range(2)]
    bench.start(run, threads=2)
    until(lambda: sorted(bench.effects()) == first, "the decisions")
    second = bench.record(project="second")
    until(lambda: bench.row(second).ended, "the other project's work")
    released.set()
    until(lambda: all(bench.row(each).ended for each in first), "the end of the first project's work")
    assert sorted(bench.effects()) == [*first, second]


@pytest.mark.fault("FAULT-FAIR-WORKERS")
def test_one_thread_is_no_ping_pong(bench: Any) -> None:
    """A worker with one thread ends the work that it has begun."""
    runs: list[str] = []

    def run(work: Work) -> Message:
        runs.append(work.project)
        if work.project == "first":
            bench.record(project="second")
        for _ in range(30):
            work.pause(0.02)
        return Empty()

    first = bench.record(project="first")
    bench.start(run, threads=1)
    until(lambda: bench.row(first).ended, "the end of the first work")
    assert runs[0] == "first"
    assert runs.count("first") == 1
