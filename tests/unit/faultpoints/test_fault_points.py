"""A process ends at an ordered point, and nowhere else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from recast.faultpoints import reach, within
for number in range(3):
    with within(f"Do/projects/demo/disks/{number}"):
        reach("begin")
print("alive")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program whose folder names its process `svc`."""
    path = tmp_path / "svc" / "__main__.py"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    return path


def run(program: Path, points: Path | None) -> subprocess.CompletedProcess[str]:
    """Runs the program, with or without a folder of orders."""
    environment = dict(os.environ) | ({"RECAST_FAULT_POINTS": str(points)} if points else {})
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_points_are_recorded(program: Path, tmp_path: Path) -> None:
    """Every point that is reached is recorded, with the work under way, without names of resources."""
    assert run(program, tmp_path).stdout == "alive\n"
    assert (tmp_path / "svc.reached").read_text() == "Do/*:begin\n" * 3


@pytest.mark.parametrize(("order", "reached"), [("Do/*:begin", 1), ("Do/*:begin #3 @7", 3)])
def test_a_process_ends_at_the_ordered_time(program: Path, tmp_path: Path, order: str, reached: int) -> None:
    """The process is killed at the time of the point that the order names."""
    (tmp_path / "svc.point").write_text(order)
    assert run(program, tmp_path).returncode == -signal.SIGKILL
    assert (tmp_path / "svc.reached").read_text().count("\n") == reached


def test_another_point_is_passed(program: Path, tmp_path: Path) -> None:
    """An order for another point, or a later time, changes nothing."""
    (tmp_path / "svc.point").write_text("Do/*:begin #4")
    assert run(program, tmp_path).returncode == 0


def test_without_orders_a_point_is_nothing(program: Path, tmp_path: Path) -> None:
    """A process that was not started to be ended writes nothing."""
    assert run(program, None).stdout == "alive\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["svc"]


def test_a_process_is_stopped_once_where_ordered(program: Path, tmp_path: Path) -> None:
    """An order to stop has the process sleep at its point, and once woken it goes on to its end."""
    (tmp_path / "svc.point").write_text("Do/*:begin #2 stop @7")
    environment = dict(os.environ) | {"RECAST_FAULT_POINTS": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE) as child:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert (tmp_path / "svc.reached").read_text() == "Do/*:begin\n" * 2
        child.send_signal(signal.SIGCONT)
        assert child.communicate()[0] == b"alive\n"
    assert child.returncode == 0
