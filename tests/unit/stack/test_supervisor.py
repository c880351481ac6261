"""Services that ended are started again, in bounds."""

import signal
from pathlib import Path

import pytest

from recast.client import SERVICES, Service
from recast.client.local_stack import request_restart, requested_restarts
from recast.stack.supervisor import Supervisor

pytestmark = pytest.mark.fault("FAULT-N07")


class SupervisedFake:
    """A stack whose services end, start and serve as the test decides."""

    def __init__(self) -> None:
        self.codes: dict[Service, int | None] = dict.fromkeys(SERVICES)
        self.serving = set(SERVICES)
        self.starts: list[Service] = []
        self.signals: list[tuple[Service, signal.Signals]] = []
        self.is_broken = False

    def end(self, service: Service, code: int) -> None:
        """Ends a service."""
        self.codes[service] = code
        self.serving.discard(service)

    def exit_code(self, service: Service) -> int | None:
        """None while it runs."""
        return self.codes[service]

    def signal(self, service: Service, number: signal.Signals) -> None:
        """Recorded."""
        self.signals.append((service, number))

    def start_again(self, service: Service) -> None:
        """Recorded; a broken service ends at once."""
        self.starts.append(service)
        self.codes[service] = 1 if self.is_broken else None

    def is_serving(self, service: Service) -> bool:
        """As decided."""
        return service in self.serving


class Stage:
    """A supervisor of a fake, with the clock of the test."""

    def __init__(self, root: Path) -> None:
        self.now, self.lines, self.stack, self.root = 0.0, list[str](), SupervisedFake(), root
        self.supervisor = Supervisor(
            self.stack, root, lambda line, _: self.lines.append(line), lambda: self.now
        )

    def pass_seconds(self, seconds: float) -> None:
        """Steps four times a second."""
        for _ in range(int(seconds * 4)):
            self.now += 0.25
            self.supervisor.step()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A running stack."""
    return Stage(tmp_path)


def test_a_service_that_ended_is_started_after_a_second(stage: Stage) -> None:
    """Its end and its new start are one line each; nothing happens to the others."""
    stage.pass_seconds(1)
    stage.stack.end("csbs", -signal.SIGSEGV)
    stage.pass_seconds(0.75)
    assert stage.stack.starts == []
    stage.pass_seconds(1)
    assert stage.stack.starts == ["csbs"]
    stage.stack.serving.add("csbs")
    stage.pass_seconds(1)
    assert stage.lines == ["csbs ended by SIGSEGV; it is started again in 1 s", "csbs serves again"]


def test_a_service_that_does_not_start_is_left_off(stage: Stage) -> None:
    """The delays double; after five starts it is left off, and the line names the command that starts it."""
    stage.stack.is_broken = True
    stage.stack.end("ims", 0)
    stage.pass_seconds(300)
    delays = [line.rpartition(" in ")[2] for line in stage.lines[:-1]]
    assert delays == ["1 s", "2 s", "4 s", "8 s", "16 s"]
    assert "left off after 5 starts: mend it, then `recast stack restart ims`" in stage.lines[-1]
    assert stage.stack.starts == ["ims"] * 5
    stage.stack.is_broken = False
    request_restart(stage.root, "ims")
    stage.stack.serving.add("ims")
    stage.pass_seconds(1)
    assert (stage.stack.starts, stage.lines[-1]) == (["ims"] * 6, "ims serves again")
    assert requested_restarts(stage.root) == []


def test_a_service_that_served_a_while_begins_anew(stage: Stage) -> None:
    """After a minute of service the next end counts as the first."""
    for _ in range(3):
        stage.stack.end("ecs", 1)
        stage.pass_seconds(2)
        stage.stack.serving.add("ecs")
        stage.pass_seconds(62)
    assert stage.lines.count("ecs ended with code 1; it is started again in 1 s") == 3


def test_a_service_that_does_not_stop_is_killed(stage: Stage) -> None:
    """A restart by request sends SIGTERM, after 12 s SIGKILL, and starts the service without a delay."""
    request_restart(stage.root, "ecs")
    stage.pass_seconds(11)
    assert stage.stack.signals == [("ecs", signal.SIGTERM)]
    stage.pass_seconds(1.25)
    assert stage.stack.signals[-1] == ("ecs", signal.SIGKILL)
    stage.stack.end("ecs", -signal.SIGKILL)
    stage.pass_seconds(0.25)
    assert stage.stack.starts == ["ecs"]
    stage.stack.serving.add("ecs")
    stage.pass_seconds(0.25)
    assert stage.lines == ["ecs is restarted, as requested", "ecs serves again"]


def test_a_request_of_an_earlier_stack_is_dropped(tmp_path: Path) -> None:
    """A stack that was killed leaves requests; the next stack removes them."""
    request_restart(tmp_path, "csbs")
    stage = Stage(tmp_path)
    stage.pass_seconds(2)
    assert (stage.stack.signals, requested_restarts(tmp_path)) == ([], [])
