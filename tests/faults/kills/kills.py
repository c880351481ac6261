"""`make test-crash`: ends each service at each point of each kind of work, and checks that nothing is lost.

    python -m tests.faults.kills.kills [--kills 500] [--stacks 2] [--only CreateBackup] [--third 2/3]
                                         [--report FILE]

First every scenario runs once and the points that each service reaches are recorded: the list is made by the
run, and a step of the code that is not on it fails the run. Then, for each point, the scenario runs again,
the service is ended there by SIGKILL, started again, and all work must come to its promised end, and `recast
doctor` must find nothing. Points are killed at their first time, then at later ones, until the number of
kills is reached; with `--third` at a third of the points, and a third as often. The last line counts them.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from recast.client import SERVICES, Service
from tests.faults.kills.failing_scenarios import failing_scenarios
from tests.faults.kills.promised_points import unreached
from tests.faults.kills.rig import NotRecovered, Rig
from tests.faults.kills.scenarios import Scenario, build_world, scenarios
from tests.harness.thirds import Third


@dataclass(frozen=True)
class Kill:
    """One service ended at the nth time that a scenario reaches a point."""

    scenario: str
    service: Service
    point: str
    time: int

    def __str__(self) -> str:
        return f"{self.scenario}: {self.service} at {self.point} #{self.time}"


@dataclass
class Tally:
    """The results of the kills."""

    killed: int = 0
    not_reached: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    by_scenario: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def every_scenario(folder: Path) -> list[Scenario]:
    """All work that is killed."""
    return [*scenarios(folder), *failing_scenarios(folder)]


def discover(rig: Rig, all_scenarios: list[Scenario]) -> list[Kill]:
    """Every point that every scenario reaches, with how often."""
    kills = []
    for scenario in all_scenarios:
        subject = scenario.prepare(rig)
        rig.wait_until_idle()
        counted(rig)  # points of the preparation are not the scenario's
        scenario.act(rig, subject)
        rig.wait_until_idle()
        for service, names in counted(rig).items():
            kills += [
                Kill(scenario.name, service, name, time)
                for name, times in names.items()
                for time in range(1, times + 1)
            ]
        scenario.verify(rig, subject)
        rig.wait_until_idle()
    return kills


def counted(rig: Rig) -> dict[Service, Counter[str]]:
    """The number of times each point was reached since the last call, without those of an idle service."""
    found: dict[Service, Counter[str]] = {}
    for service, log in rig.logs.items():
        names = log.read_text().splitlines() if log.exists() else []
        found[service] = Counter(name for name in names if not name.startswith((":commit", "ListOperations")))
        log.write_text("")
    return found


class Plan:
    """Every point once; then every scenario's own first time at it, then second times and so on, until enough
    services were ended: a point's later times depend on the hour, and may not come again.
    """

    def __init__(self, kills: list[Kill], wanted: int, tally: Tally) -> None:
        ordered = sorted(kills, key=lambda kill: kill.time)
        once = {(kill.service, kill.point): kill for kill in reversed(ordered)}
        first = set(once.values())
        self.points = len(once)
        self._kills = [*once.values(), *(kill for kill in ordered if kill not in first)]
        self._wanted = wanted
        self._tally = tally
        self._taken = self._under_way = 0

    def take(self) -> Kill | None:
        """The next kill; None when there were enough, or all."""
        with self._tally.lock:
            is_enough = self._tally.killed + self._under_way >= self._wanted
            if self._taken == len(self._kills) or (is_enough and self._taken >= self.points):
                return None
            self._taken += 1
            self._under_way += 1
            return self._kills[self._taken - 1]

    def done(self) -> None:
        """A kill that was taken is in the tally."""
        with self._tally.lock:
            self._under_way -= 1


def work(root: Path, plan: Plan, tally: Tally) -> None:
    """Takes kills from the plan and makes them, in a stack of its own."""
    rig = Rig(root)
    try:
        build_world(rig, root / "disks")
        by_name = {scenario.name: scenario for scenario in every_scenario(root / "disks")}
        while kill := plan.take():
            rig = make(rig, by_name[kill.scenario], kill, tally)
            plan.done()
    finally:
        rig.close()


def make(rig: Rig, scenario: Scenario, kill: Kill, tally: Tally) -> Rig:
    """One kill. After a failure the stack is thrown away, so that the next kill does not pay for this one."""
    try:
        subject = scenario.prepare(rig)
        rig.wait_until_idle()
        before = rig.deaths
        rig.arm(kill.service, f"{kill.point} #{kill.time}")
        operation = scenario.act(rig, subject)
        rig.wait_until_idle()
        if operation.HasField("error") != scenario.fails:
            raise NotRecovered(f"the work ended otherwise than it must: {operation.error.message or 'well'}")
        has_died = rig.deaths > before
        rig.check()
        scenario.verify(rig, subject)
        rig.wait_until_idle()
    except Exception as problem:  # noqa: BLE001  # any exception is a finding of this run
        with tally.lock:
            tally.failures.append(f"{kill}: {type(problem).__name__}: {problem}")
            print(f"FAILED {tally.failures[-1]}", flush=True)
        return renewed(rig)
    with tally.lock:
        if has_died:
            tally.killed += 1
            tally.by_scenario[kill.scenario] += 1
        else:
            tally.not_reached.append(str(kill))
    return rig


def renewed(rig: Rig) -> Rig:
    """A fresh stack; the old one's folder stays for an analysis of the failure."""
    rig.close()
    fresh = Rig(rig.root.with_name(f"{rig.root.name}+"))
    build_world(fresh, fresh.root / "disks")
    return fresh


def main() -> int:
    """Runs the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--stacks", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--third", type=Third.parse, default=Third(), metavar="K/3")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="recast-crash-"))
    begun = time.monotonic()
    rig = Rig(root / "discover")
    build_world(rig, rig.root / "disks")
    chosen = [each for each in every_scenario(rig.root / "disks") if options.only in each.name]
    try:
        kills = discover(rig, chosen)
        rig.check()
    finally:
        rig.close()
    reached = {service: {kill.point for kill in kills if kill.service == service} for service in SERVICES}
    unkilled = [] if options.only else unreached(reached)
    for step in unkilled:
        print(f"FAILED {step}: no scenario reaches this step, or NOT_KILLED is wrong about it", flush=True)
    tally = Tally()
    wanted = options.third.share(options.kills)
    plan = Plan([kill for kill in kills if options.third.has(f"{kill.service} {kill.point}")], wanted, tally)
    print(f"{plan.points} points in {len(chosen)} scenarios", flush=True)
    threads = [
        threading.Thread(target=work, args=(root / f"stack-{n}", plan, tally)) for n in range(options.stacks)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, count in sorted(tally.by_scenario.items()):
        print(f"  {name:24} {count:4} kills")
    seconds = time.monotonic() - begun
    print(f"not reached on the second run: {len(tally.not_reached)}")
    for missed in tally.not_reached[:20]:
        print(f"  {missed}")
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        report = {"points": plan.points, "kills": tally.killed, "seconds": round(seconds, 1)}
        report |= {"not_reached": len(tally.not_reached), "failures": tally.failures}
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    if not tally.failures:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{seconds:.0f} s, {tally.killed / max(1, seconds):.2f} kills a second, data in {root}")
    print(f"{tally.killed} passed, {len(tally.failures) + len(unkilled)} failed")
    return 1 if tally.failures or unkilled or tally.killed < (1 if options.only else wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
