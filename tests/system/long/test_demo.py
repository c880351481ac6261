"""The demo, run small as a program: its report, and its report of a failure."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
_SECONDS = 90
PROMISED = {"R01", "R03", "R04", "R05", "R09", "R12", "R13", "R14", "R15", "R35"} | {
    "R37", "R39", "R44", "R45", "R59", "R64"
}  # fmt: skip


class Run(NamedTuple):
    """The end of a run of the demo."""

    code: int
    output: str
    report: dict[str, Any]
    root: Path

    def rules(self, *, ok: bool) -> set[str]:
        """The rules of the checks with this outcome."""
        return {check["rule"] for check in self.report["checks"] if check["ok"] is ok}


def _begin(root: Path, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.demo.demo",
        "--scale",
        "small",
        "--root",
        str(root / "runs"),
        *options,
    ]
    return subprocess.Popen(
        [*command, "--report", str(root / "report.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def _interrupt(child: subprocess.Popen[str]) -> str:
    """Ends a run as Ctrl-C does, once its services work; its output until then."""
    assert child.stdout
    output_lines = []
    for line in child.stdout:
        output_lines.append(line)
        if "Import them as images" in line:
            child.send_signal(signal.SIGINT)
            break
    return "".join(output_lines)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The demo as it is, with a byte broken, and interrupted; beside each other, because all mostly wait."""
    options = {"as it is": (), "broken": ("--break-byte",), "interrupted": ("--keep",)}
    roots = {name: tmp_path_factory.mktemp("demo") for name in options}
    children = {name: _begin(roots[name], *more) for name, more in options.items()}
    ended = {}
    try:
        earlier = _interrupt(children["interrupted"])
        for name in ("interrupted", "as it is", "broken"):
            output, _ = children[name].communicate(timeout=_SECONDS)
            report = json.loads((roots[name] / "report.json").read_text())
            ended[name] = Run(children[name].returncode, earlier + output, report, roots[name])
            earlier = ""
    finally:
        for child in children.values():
            # SIGTERM, not SIGKILL: the run ends its services with it. One that has ended gets no signal.
            child.terminate()
            child.wait(_SECONDS)
    return ended


@pytest.mark.rule(*sorted(PROMISED))
def test_every_check_of_the_demo_holds(runs: dict[str, Run]) -> None:
    """The demo ends well, and every promised rule is among its checks."""
    run = runs["as it is"]
    assert run.code == 0, run.output
    assert run.report["ok"] is True
    assert run.rules(ok=False) == set()
    assert run.rules(ok=True) >= PROMISED


def test_the_report_has_steps_and_bytes(runs: dict[str, Run]) -> None:
    """The report has the time of each of the nine steps, and bytes that a reader can compare."""
    report = runs["as it is"].report
    assert set(report) == {"ok", "steps", "checks", "bytes"}
    assert len(report["steps"]) == 9
    assert all(step["seconds"] > 0 for step in report["steps"])
    sizes = report["bytes"]
    assert sizes["logical"] == 128 << 20
    assert 0 < sizes["stored"] < sizes["logical"]
    assert 0 < sizes["provisioned"] < sizes["logical"]


def test_piped_output_is_plain_and_has_the_refusals(runs: dict[str, Run]) -> None:
    """Piped output has no escape sequences, and each refusal with reason, rule, sentence and resource."""
    output = runs["as it is"].output
    assert "\x1b" not in output
    for line in (
        "refused BACKUP_HAS_IMAGE (rule R15)",
        "image projects/demo/images/web-image stands on it",
        "- projects/demo/images/web-image",
        'CREATING, "Image can be created"',
    ):
        assert line in output


def test_a_good_run_leaves_nothing(runs: dict[str, Run]) -> None:
    """After a run in which all checks held, its folder is gone."""
    assert os.listdir(runs["as it is"].root / "runs") == []


@pytest.mark.rule("R12")
def test_one_wrong_byte_fails_the_demo(runs: dict[str, Run]) -> None:
    """One byte changed on one of thirty disks fails the proof of R12, and no other check."""
    run = runs["broken"]
    assert run.code == 1, run.output
    assert run.report["ok"] is False
    failed = [check for check in run.report["checks"] if not check["ok"]]
    assert [check["rule"] for check in failed] == ["R12", "R13"]
    assert "30 disks" in failed[0]["name"]
    assert "equal to one another" in failed[1]["name"]
    assert "projects/demo/disks/shop-0002-data-2: Content mismatch at offset" in run.output


def test_a_bad_run_leaves_its_folder_and_names_the_logs(runs: dict[str, Run]) -> None:
    """After a run that failed, the folder is there, and the output names the services' logs in it."""
    run = runs["broken"]
    [folder] = (run.root / "runs").iterdir()
    for service in ("csbs", "ims", "ecs"):
        log = folder / "stack" / "logs" / f"{service}.log"
        assert log.exists()
        assert str(log) in run.output


def test_ctrl_c_stops_the_services(runs: dict[str, Run]) -> None:
    """After Ctrl-C each service has written that it stopped, and the exit status is that of an interrupt."""
    run = runs["interrupted"]
    assert run.code == 130, run.output
    assert run.report["ok"] is False
    assert run.report["error"]["message"] == "interrupted"
    [folder] = (run.root / "runs").iterdir()
    for service in ("csbs", "ims", "ecs"):
        last = (folder / "stack" / "logs" / f"{service}.log").read_text().splitlines()[-1]
        assert json.loads(last)["event"] == "stopped"


def test_a_missing_tool_is_named_with_its_package(tmp_path: Path) -> None:
    """Without QEMU's tools the demo prints at once the package to install."""
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "tests.demo.demo", "--scale", "small", "--root", str(tmp_path / "runs")]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    assert done.returncode == 1
    assert "qemu-img is not installed: install the package qemu-utils" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
