"""Runs of qemu-img that print much, or never end."""

import os
from itertools import islice
from pathlib import Path

import pytest

from recast.diskimage import DiskImageError, qemu_img

ENTRY = (
    '{ "start": 0, "length": 512, "depth": 0, "present": true, "zero": false, "data": true, "offset": 512},'
)


class GivenUp(Exception):
    """The caller has cancelled the run."""


def give_up() -> None:
    """A watch that cancels at once."""
    raise GivenUp


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell script in place of qemu-img; it writes its process id to the file `pid`."""
    path = tmp_path / "bin" / "qemu-img"
    path.parent.mkdir()
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


def write(path: Path, commands: str) -> None:
    """Fill the script."""
    path.write_text(f"#!/bin/sh\necho $$ > {path.parent.parent}/pid\n{commands}\n")
    path.chmod(0o755)


def is_running(script: Path) -> bool:
    """Whether the last run of the script goes on."""
    try:
        os.kill(int((script.parent.parent / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
@pytest.mark.parametrize(
    "commands",
    [f"while :; do echo '{ENTRY}'; done", "exec sleep 60", f"echo '{ENTRY}'; exec sleep 60"],
    ids=["endless", "silent", "stuck"],
)
def test_a_map_is_ended_by_its_watch(tmp_path: Path, script: Path, commands: str) -> None:
    """The watch is called while extents are read, and while none come; no program is left running."""
    write(script, commands)
    with pytest.raises(GivenUp):
        list(qemu_img.map_image(tmp_path, "qcow2", watch=give_up))
    assert not is_running(script)


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_a_map_is_read_as_it_is_printed(
    tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endless map gives its first extents, and no file of them is made; leaving it ends the program."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    write(script, f"while :; do echo '{ENTRY}'; done")
    entries = qemu_img.map_image(tmp_path, "qcow2")
    assert [entry.length for entry in islice(entries, 1000)] == [512] * 1000
    assert list(folder.iterdir()) == []
    entries.close()  # type: ignore[attr-defined]
    assert not is_running(script)


def test_a_map_that_fails_says_why(tmp_path: Path, script: Path) -> None:
    """The extents before a failure come first, then its first line as the error."""
    write(script, f"echo '[{ENTRY}'; echo 'qemu-img: the end' >&2; exit 1")
    entries = qemu_img.map_image(tmp_path, "qcow2")
    assert next(entries).length == 512
    with pytest.raises(DiskImageError, match="qemu-img map: the end"):
        next(entries)


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_the_limits_of_a_map_hold(tmp_path: Path, script: Path) -> None:
    """A map runs under the limits that it is given."""
    write(script, "ulimit -t >&2; exit 1")
    with pytest.raises(DiskImageError, match="qemu-img map: 7"):
        list(qemu_img.map_image(tmp_path, "qcow2", qemu_img.Limits(cpu_seconds=7)))
