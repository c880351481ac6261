"""The stack in the foreground, as people start it."""

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

from recast.stack.foreground import LogFollower

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
    assert f"RECAST_KEYS={tmp_path}/root/keys recast server list\n" in printed
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


def test_foreground_ends_when_a_service_ends(environment: Environment, tmp_path: Path) -> None:
    """When a service ends by itself the stack names it, prints its log, and ends with 1."""
    process = _start(tmp_path, environment | {"FALLS": "ims"})
    assert process.stdout is not None
    _read_until(process.stdout, "recast server list")
    [entry, *_] = (tmp_path / "logs" / "ims.log").read_text().splitlines()
    os.kill(json.loads(entry)["pid"], signal.SIGUSR1)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ims ended with code 1; the end of" in printed
    assert "fell over" in printed


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
