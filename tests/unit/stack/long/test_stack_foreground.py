"""The stack in the foreground, as people start it."""

import io
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from recast.stack.__main__ import main
from recast.stack.foreground import LogFollower, run

Environment = dict[str, str]


def _read_until(stream: IO[str], pattern: str, seconds: float = 60.0) -> str:
    """The output of a process up to the line that matches; fails after `seconds` of silence."""
    printed = ""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not re.search(pattern, printed):
            assert selector.select(seconds), f"{pattern!r} was not printed: {printed}"
            part = os.read(stream.fileno(), 65536).decode()
            assert part, f"{pattern!r} was not printed: {printed}"
            printed += part
    return printed


def _start(root: Path, environment: Environment, first_port: int = 0) -> "subprocess.Popen[str]":
    # A shell that runs the tests in the background has them ignore SIGINT; the stack sets its own handlers.
    return subprocess.Popen(
        [sys.executable, "-m", "recast.stack", "--root", str(root), "--first-port", str(first_port)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_foreground_prints_its_addresses_and_stops(
    number: signal.Signals, environment: Environment, tmp_path: Path
) -> None:
    """The stack prints its addresses and commands, then warnings alone, and ends with 0
    and no service left.
    """
    process = _start(tmp_path / "root", environment)
    assert process.stdout is not None
    try:
        printed = _read_until(process.stdout, r"(?s)csbs +warning.*ims +warning.*ecs +warning.*\n")
        process.send_signal(number)
        rest = process.stdout.read()
        code = process.wait(60)
    finally:
        process.kill()
        process.stdout.close()
    assert code == 0
    assert re.search(r"csbs +127\.0\.0\.1:\d+", printed)
    assert f"  RECAST_KEYS={tmp_path}/root/keys recast server list\n" in printed
    bearer = r'grpcurl -plaintext -H "authorization: Bearer \$\([^)]*recast token\)"'
    assert re.search(bearer, printed)
    assert "eyJ" not in printed  # no token stays in the scrollback
    assert "csbs warning disk is nearly full free_bytes=7\n" in printed
    assert "settings" not in printed
    assert f"stopped; the data stays in {tmp_path}/root\n" in rest.replace("\n/", "/")
    for service in ("csbs", "ims", "ecs"):
        entry = json.loads((tmp_path / "root" / "logs" / f"{service}.log").read_text().splitlines()[0])
        with pytest.raises(ProcessLookupError):
            os.kill(entry["pid"], 0)


def _pids(root: Path, service: str) -> list[int]:
    """The process ids of a service, one a start."""
    entries = [json.loads(line) for line in (root / "logs" / f"{service}.log").read_text().splitlines()]
    return [entry["pid"] for entry in entries if entry["event"] == "settings"]


@pytest.mark.fault("FAULT-N07")
def test_services_that_are_killed_are_started_again(environment: Environment, tmp_path: Path) -> None:
    """Each killed service is named with its signal and started again on its port; the other lives on."""
    process = _start(tmp_path, environment)
    assert process.stdout is not None
    try:
        _read_until(process.stdout, "recast server list")
        for service in ("csbs", "ecs"):
            os.kill(_pids(tmp_path, service)[0], signal.SIGKILL)
        printed = _read_until(process.stdout, r"(?s)serves again.*serves again")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    for service in ("csbs", "ecs"):
        assert f"{service} ended by SIGKILL; it is started again in 1 s\n" in printed
        assert f"{service} serves again\n" in printed
    assert [len(_pids(tmp_path, each)) for each in ("csbs", "ims", "ecs")] == [2, 1, 2]
    assert process.returncode == 0


@pytest.mark.fault("FAULT-N07")
def test_a_service_is_restarted_by_command(environment: Environment, tmp_path: Path) -> None:
    """`recast stack restart` restarts one service of the stack whose keys it has, and waits for it."""
    process = _start(tmp_path, environment)
    assert process.stdout is not None
    variables = {key: value for key, value in os.environ.items() if not key.startswith("RECAST_")}
    command = [sys.executable, "-c", "from recast.client.cli import main; main()", "stack", "restart", "ecs"]
    try:
        _read_until(process.stdout, "recast server list")
        ended = subprocess.run(
            command,
            env=variables | environment | {"RECAST_KEYS": str(tmp_path / "keys")},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (ended.returncode, ended.stdout) == (0, "")
    assert re.fullmatch(r"ecs serves again at 127\.0\.0\.1:\d+\n", ended.stderr)
    assert "ecs is restarted, as requested\n" in printed
    assert [len(_pids(tmp_path, each)) for each in ("csbs", "ims", "ecs")] == [1, 1, 2]


@pytest.mark.fault("FAULT-N08")
def test_the_printed_line_works_in_a_shell(environment: Environment, tmp_path: Path) -> None:
    """The line of the banner names the keys so that a shell reads it, with blanks and quotes in the path; the
    command finds the endpoints beside the keys.
    """
    root = tmp_path / "it's a stack"
    process = _start(root, environment)
    assert process.stdout is not None
    try:
        printed = _read_until(process.stdout, "recast server list")
        [line] = [each for each in printed.splitlines() if each.endswith("recast server list")]
        shown = subprocess.run(
            ["sh", "-c", line.replace("recast server list", f"{sys.executable} -c '{_SHOW}'")],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    for service, end in json.loads(shown.stdout).items():
        assert re.search(rf"{service} +{end}\b", printed)


_SHOW = (
    "import json, os; from recast.client import Settings;"
    "print(json.dumps(Settings.from_environment(os.environ).endpoints))"
)


@pytest.mark.fault("FAULT-N20")
@pytest.mark.parametrize("port", ["99999", "65534", "-1", "x", "7101.5"])
def test_a_port_that_is_none_is_wrong_usage(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first port without room for all services is refused in a line, before anything is made."""
    monkeypatch.setattr(sys, "argv", ["recast.stack", f"--first-port={port}"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--first-port: must be 0 to 65533, not " in capsys.readouterr().err


@pytest.mark.fault("FAULT-N20")
@pytest.mark.parametrize("root", ["a-file", "a-file/below", "/proc/recast", "n" * 300])
def test_a_root_that_cannot_be_used_is_one_line(root: str, tmp_path: Path) -> None:
    """A root that is a file, or in which nothing can be made, is one line and exit code 1."""
    (tmp_path / "a-file").write_text("")
    console = Console(file=io.StringIO(), width=1000)
    assert run(tmp_path / root, 0, console) == 1
    assert f"{tmp_path / root} cannot be used: " in console.file.getvalue()  # type: ignore[attr-defined]


def test_foreground_reports_a_port_in_use(environment: Environment, tmp_path: Path) -> None:
    """A port in use is one clear line and exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = _start(tmp_path, environment, port)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port}, which csbs needs, is in use: " in printed
    assert "Traceback" not in printed


def test_log_is_followed_in_pieces(tmp_path: Path) -> None:
    """A line is printed once it is whole: errors with their trace, plain output as it is, nothing older."""
    log = tmp_path / "csbs.log"
    log.write_text("before\n")
    follower = LogFollower("csbs", log)
    with log.open("a") as output:
        output.write('{"level": "info", "event": "fine"}\n{"level": "error", "event": "b')
        output.flush()
        assert list(follower.new_lines()) == []
        output.write('ug", "exception": "Traceback"}\nplain\n')
        output.flush()
        assert [line.plain for line in follower.new_lines()] == ["csbs error   bug\nTraceback", "csbs plain"]
