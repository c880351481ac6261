"""Wires that are cut, and wires that fall silent: after the healing every piece of work ends with its result.

The four pairs are hurt at once, each amid work that the others do not disturb.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest
from google.longrunning import operations_pb2

from tests.faults.kills.rig import DEADLINE_SECONDS
from tests.faults.kills.scenarios import Scenario, build_world, scenarios
from tests.faults.network.wires import Fault, WiredRig

# Longer than gRPC's own retries, which take about a second, and than a lease of 1 s.
CUT_SECONDS = 8.0
# Longer than the deadline of every call between services, which is 20 s.
SILENT_SECONDS = 22.0
# For each pair, the work during which it is hurt, and the calls that are hurt.
_AMID = {
    "csbs->ecs": (
        "CreateBackup",
        ("DescribeServer", "FreezeServer", "ExportDisks", "WaitOperation", "ThawServer"),
    ),
    "ims->csbs": ("CreateImage", ("CheckImageEligibility", "LockBackup", "ConfirmLock")),
    "ims->ecs": ("CreateImageOfServer", ("HoldServer", "FreeServer")),
    "ecs->ims": ("CreateServers", ("ResolveImage", "PinImage", "UnpinImage")),
}


@dataclass
class Amid:
    """One piece of work with one wire hurt amid it."""

    pair: str
    method: str
    scenario: Scenario
    subject: str
    ended: operations_pb2.Operation | None = None
    seconds: float = 0.0
    """From the healing to the end."""
    problem: str = ""

    def run(self, rig: WiredRig, fault: Fault, seconds: float) -> None:
        """Does the work; its wire is hurt at the first call of the method."""
        rig.wires[self.pair].arm(self.method, 1, fault, seconds)
        try:
            self.ended = self.scenario.act(rig, self.subject)
        except Exception as problem:  # noqa: BLE001  # a thread's end: the test reports it
            self.problem = f"{type(problem).__name__}: {problem}"
        healed = rig.wires[self.pair].heal_time
        self.seconds = max(0.0, time.monotonic() - healed) if healed else 0.0  # the work needed no healing


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WiredRig]:
    """A stack with wires, and the world of the scenarios."""
    wired = WiredRig(tmp_path_factory.mktemp("cut"))
    try:
        build_world(wired, wired.root / "disks")
        yield wired
    finally:
        wired.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "rounds", "seconds"),
    [(Fault.CUT, range(5), CUT_SECONDS), (Fault.SILENCE, (1,), SILENT_SECONDS), (Fault.HANG, (1,), 0.0)],
    ids=["cut", "silent", "hanging"],
)
def test_work_amid_a_hurt_wire_succeeds_after_the_healing(
    rig: WiredRig, figure: Callable[[str], None], fault: Fault, rounds: Iterable[int], seconds: float
) -> None:
    """Each pair is hurt after (for a hanging call: before) a call was done, once for each of its methods, for
    longer than any caller waits; within 60 s of the healing the work has succeeded and nothing is left over.
    """
    begun, hurt, took = time.monotonic(), 0, []
    for number in rounds:
        each = _amid(rig, number)
        threads = [threading.Thread(target=one.run, args=(rig, fault, seconds)) for one in each]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rig.wait_until_idle()
        assert [one.problem for one in each if one.problem] == []
        for one in each:
            assert rig.wires[one.pair].disarm(), f"{one.pair} {one.method} was not called"
            assert one.ended is not None
            assert not one.ended.HasField("error"), one.ended.error.message
        rig.check()
        for one in each:
            one.scenario.verify(rig, one.subject)
        rig.wait_until_idle()
        hurt += len(each)
        took += [one.seconds for one in each] if seconds else []
    calls = rig.calls()
    assert [call for call in calls if call.deadline_seconds is None] == []
    assert max(call.attempt for call in calls) < 4
    assert max(took, default=0.0) < DEADLINE_SECONDS
    healed = f"the last end {max(took):.1f} s after its healing; " if took else ""
    figure(
        f"{fault}: {hurt} wires hurt for {seconds:.0f} s, {hurt} pieces of work SUCCEEDED; {healed}"
        f"{time.monotonic() - begun:.0f} s in all"
    )


def _amid(rig: WiredRig, number: int) -> list[Amid]:
    """One piece of work a pair; the number chooses the call."""
    by_name = {scenario.name: scenario for scenario in scenarios(rig.root / "disks")}
    each = []
    for pair, (name, methods) in _AMID.items():
        scenario = by_name[name]
        each.append(Amid(pair, methods[number % len(methods)], scenario, scenario.prepare(rig)))
    rig.wait_until_idle()
    return each
