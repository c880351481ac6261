"""A power cut at every point of a full and of an incremental backup: unsynced writes are gone."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.longrunning import operations_pb2

from recast.client import SERVICES
from recast.doctor import Installation, examine
from recast.stack import LocalStack
from tests.faults.kills.rig import DEADLINE_SECONDS, LEASE_SECONDS, PROJECT
from tests.faults.storage import io_rig
from tests.faults.storage.io_rig import IoRig
from tests.faults.storage.power_cut import Loss, Rebuilt
from tests.faults.storage.recorded_backups import WATCHED, Recording, State
from tests.harness.thirds import Third

_SECONDS = 1200  # a quarter of it on two quiet cores
_STARTS = 12


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """The two backups, recorded."""
    rig = IoRig(tmp_path_factory.mktemp("power") / "rig", WATCHED)
    try:
        io_rig.build_world(rig)
        yield Recording(rig)
    finally:
        rig.close()


def test_nothing_escapes_the_recorder(recording: Recording) -> None:
    """Doing all records anew gives exactly the files that there are."""
    disk = recording.disk()
    for record in recording.records():
        disk.feed(record)
    there = {
        str(path.relative_to(recording.after)): path.read_bytes()
        for folder in WATCHED
        for path in (recording.after / folder).rglob("*")
        if path.is_file()
    }
    done = dict(disk.files())
    assert done.keys() == there.keys()
    assert [path for path in there if done[path] != there[path]] == []


@pytest.mark.timeout(_SECONDS)
def test_no_prefix_of_the_writes_breaks_a_promise(
    recording: Recording, tmp_path: Path, third: Third, figure: Callable[[str], None]
) -> None:
    """In any state after a power cut a deep check finds nothing wrong, and every answer
    to the client holds.
    """
    total = sum(1 for _ in recording.states(recording.disk()))
    chosen = set(third.part(range(total)))
    disk = recording.disk()
    rebuilt = Rebuilt(tmp_path / "state", recording.before / "keys")
    checked: Counter[Loss] = Counter()
    violations = []
    for number, state in enumerate(recording.states(disk)):
        if number not in chosen:
            continue
        rebuilt.build(disk, state.loss, state.left)
        checked[state.loss] += 1
        violations += [f"{state}: {problem}" for problem in _problems(state, rebuilt.root)]
    counted = Counter(record.kind.name.lower() for record in recording.records())
    figure(f"operations recorded: {sum(counted.values())} ({_listed(counted)})")
    figure(f"states checked: {sum(checked.values())} ({_listed(checked)})")
    assert not violations
    assert all(checked[loss] for loss in Loss)


@pytest.mark.timeout(_SECONDS)
def test_a_stack_started_after_a_power_cut_finishes_its_work(
    recording: Recording, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """The services come up on the state after a power cut, every requested backup becomes AVAILABLE, and
    nothing is left over.
    """
    total = sum(1 for _ in recording.states(recording.disk()))
    chosen = {number * total // _STARTS for number in range(_STARTS)}
    disk = recording.disk()
    rebuilt = Rebuilt(tmp_path / "state", recording.before / "keys")
    losses: Counter[Loss] = Counter()
    unfinished = 0
    for number, state in enumerate(recording.states(disk)):
        if number in chosen:
            rebuilt.build(disk, state.loss, state.left)
            shutil.copytree(rebuilt.root, recording.root)
            unfinished += _start(recording.root, state)
            shutil.rmtree(recording.root)
            losses[state.loss] += 1
    figure(f"stacks started: {sum(losses.values())} ({_listed(losses)}), with {unfinished} works under way")
    assert sum(losses.values()) == _STARTS
    assert unfinished


def _problems(state: State, root: Path) -> list[str]:
    # Nothing changes between two checks: there is nothing to wait for.
    report = examine(Installation.local(root), deep=True, pause=lambda _seconds: None)
    return [str(problem) for problem in report.problems] + [
        problem for promise in state.promises if (problem := promise.broken_in(root))
    ]


def _start(root: Path, state: State) -> int:
    """Starts the services on a state, and lets them finish; gives how much work had not ended."""
    leases = {f"RECAST_{service.upper()}_LEASE_SECONDS": str(LEASE_SECONDS) for service in SERVICES}
    with LocalStack(root, environment=leases) as stack, stack.client("demo", "operator") as recast:
        unfinished = []
        for service in SERVICES:
            operations = recast.operations(service)
            request = operations_pb2.ListOperationsRequest(name=PROJECT, filter="done = false")
            unfinished += [(operations, each.name) for each in operations.ListOperations(request).operations]
        for operations, name in unfinished:
            wait = operations_pb2.WaitOperationRequest(name=name)
            wait.timeout.FromSeconds(int(DEADLINE_SECONDS))
            assert operations.WaitOperation(wait, timeout=DEADLINE_SECONDS).done, state
        report = examine(Installation.local(root), at_rest=True, deep=True)
        assert report.problems == (), state
    for promise in state.promises:
        assert promise.finished().broken_in(root) is None, state
    return len(unfinished)


def _listed(counter: Counter[str] | Counter[Loss]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items())
