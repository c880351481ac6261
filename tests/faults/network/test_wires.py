"""Each call between services is hurt once, in each way that heals by itself, in each kind of work that makes
it.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

import pytest

from recast.rpc import channel
from tests.faults.kills.rig import NotRecovered
from tests.faults.kills.scenarios import Scenario, build_world, scenarios
from tests.faults.network.wires import PAIRS, READS, Call, Fault, WiredRig
from tests.harness.thirds import Third

_READ_FAULTS = (Fault.DELAY, Fault.REFUSE, Fault.LOSE)
_CHANGE_FAULTS = (*_READ_FAULTS, Fault.TWICE, Fault.BOTH, Fault.LATE)
_MOST_TIMES = 2  # later calls of one method in one piece of work are the same poll, or the same pin
_STACKS = 2
SEED = 20261122


@dataclass(frozen=True)
class Blow:
    """One fault for the nth call of a method over a wire, in one scenario."""

    scenario: str
    pair: str
    method: str
    time: int
    fault: Fault

    def __str__(self) -> str:
        return f"{self.scenario}: {self.pair} {self.method} #{self.time} {self.fault}"


@dataclass
class Tally:
    """The results of the blows."""

    struck: Counter[Fault] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    late: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)


def test_the_service_config_retries_what_aip_194_allows() -> None:
    """By the service config a call is repeated after UNAVAILABLE, and after the CANCELLED of gRPC's servers,
    not ours, for calls that they do not take up at their shutdown; it is made four times at most.
    """
    config = json.loads(channel._SERVICE_CONFIG)
    policies = [each["retryPolicy"] for each in config["methodConfig"]]
    assert [policy["retryableStatusCodes"] for policy in policies] == [["UNAVAILABLE", "CANCELLED"]]
    assert [policy["maxAttempts"] for policy in policies] == [4]


@pytest.mark.timeout(420)
def test_every_call_is_hurt_and_its_work_succeeds(
    tmp_path_factory: pytest.TempPathFactory, third: Third, figure: Callable[[str], None]
) -> None:
    """Whichever call between services is delayed, refused, done unheard, repeated or repeated late, the work
    that made it succeeds, nothing is left over, and a change has one effect and one answer.
    """
    root = tmp_path_factory.mktemp("wires")
    with _rigs(root, _STACKS) as rigs:
        every = plan(rigs[0], scenarios(root / "0/disks"))
        blows = [blow for blow in every if third.has(str(blow))]
        random.Random(SEED).shuffle(blows)
        queue: Queue[Blow] = Queue()
        for blow in blows:
            queue.put(blow)
        tally = Tally()
        threads = [threading.Thread(target=_work, args=(rig, queue, tally)) for rig in rigs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    methods = {(blow.pair, blow.method) for blow in blows}
    figure(f"{len(PAIRS)} pairs, {len(methods)} methods, {len(blows)} faults; seed {SEED}")
    figure(f"{tally.struck.total()} struck: {_listed(tally.struck)}; {len(tally.missed)} not reached")
    figure(f"repeated when the work had ended: {_listed(tally.late)}")
    assert tally.problems == []
    assert tally.unlike == []
    figure(_judged(tally.calls))
    assert len(tally.missed) * 10 < len(blows)
    assert {pair for pair, _ in methods} == set(PAIRS)


def plan(rig: WiredRig, chosen: Iterable[Scenario]) -> list[Blow]:
    """Runs every scenario unhurt, and gives every fault for every call that it makes."""
    blows = []
    for scenario in chosen:
        subject = scenario.prepare(rig)
        rig.wait_until_idle()
        for wire in rig.wires.values():
            wire.counted()
        scenario.act(rig, subject)
        rig.wait_until_idle()
        for pair, wire in rig.wires.items():
            for method, times in wire.counted().items():
                faults = _READ_FAULTS if method in READS else _CHANGE_FAULTS
                blows += [
                    Blow(scenario.name, pair, method, time, fault)
                    for time in range(1, min(times, _MOST_TIMES) + 1)
                    for fault in faults
                ]
        scenario.verify(rig, subject)
        rig.wait_until_idle()
    return blows


@contextmanager
def _rigs(root: Path, count: int) -> Iterator[list[WiredRig]]:
    with ExitStack() as stack:
        rigs = []
        for number in range(count):
            rig = WiredRig(root / str(number))
            stack.callback(rig.close)
            build_world(rig, root / str(number) / "disks")
            rigs.append(rig)
        yield rigs


def _work(rig: WiredRig, queue: "Queue[Blow]", tally: Tally) -> None:
    """Takes blows from the queue until there are none, or one was not survived: then the rig is no use."""
    by_name = {scenario.name: scenario for scenario in scenarios(rig.root / "disks")}
    with suppress(Empty):
        while not tally.problems:
            blow = queue.get_nowait()
            try:
                _strike(rig, by_name[blow.scenario], blow, tally)
            except Exception as problem:  # noqa: BLE001  # any exception is a finding of this run
                tally.problems.append(f"{blow}: {type(problem).__name__}: {problem}")
    tally.calls += rig.calls()
    tally.unlike += [each for wire in rig.wires.values() for each in wire.unlike]


def _strike(rig: WiredRig, scenario: Scenario, blow: Blow, tally: Tally) -> None:
    subject = scenario.prepare(rig)
    rig.wait_until_idle()
    wire = rig.wires[blow.pair]
    wire.arm(blow.method, blow.time, blow.fault)
    operation = scenario.act(rig, subject)
    rig.wait_until_idle()
    was_struck = wire.disarm()
    if operation.HasField("error"):
        raise NotRecovered(f"the work failed: {operation.error.message}")
    tally.late.update(wire.deliver_late())
    rig.wait_until_idle()
    rig.check()
    scenario.verify(rig, subject)
    rig.wait_until_idle()
    if was_struck:
        tally.struck[blow.fault] += 1
    else:
        tally.missed.append(str(blow))


def _judged(calls: list[Call]) -> str:
    """Checks the calls over the wires against the rules of deadlines and retries; gives their counts."""
    without = [call for call in calls if call.deadline_seconds is None]
    assert without == [], "calls without a deadline"
    unavailable = {(call.pair, call.request, call.attempt) for call in calls if call.outcome == "UNAVAILABLE"}
    repeats = [call for call in calls if call.attempt]
    for call in repeats:
        assert call.attempt < 4
        assert (call.pair, call.request, call.attempt - 1) in unavailable
    most = max(call.deadline_seconds or 0.0 for call in calls)
    return f"{len(calls)} calls, all with a deadline of {most:.1f} s at most, {len(repeats)} repeats by gRPC"


def _listed(counted: Counter[Fault] | Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
