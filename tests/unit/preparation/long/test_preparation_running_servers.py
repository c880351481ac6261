"""The disk of a running server: its last changes are in its journal alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recast.preparation import Report, Verdict, inspect
from tests.harness import disks, gpt
from tests.harness.disks import Link
from tests.harness.journals import debugfs, log_change, make_volume, mark_needs_recovery, replay

MIB = 1 << 20
MakeReader = Callable[[Any], Any]
DISABLED = "/etc/cloud/cloud-init.disabled"
PINNED = 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:12:34:56", NAME="eth0"\n'
KINDS = {
    "ext4": (4096, "jo", ("-t", "ext4")),
    "ext4-csum-v2": (4096, "jo -c -v 2", ("-t", "ext4", "-O", "metadata_csum,64bit")),
    "ext4-csum-v3-1k": (1024, "jo -c -v 3", ("-t", "ext4")),
    "ext4-32bit-1k": (1024, "jo", ("-t", "ext4", "-O", "^metadata_csum,^64bit")),
    "ext3-4k": (4096, "jo", ("-t", "ext3")),
    "ext3-1k": (1024, "jo", ("-t", "ext3")),
}


@pytest.fixture(params=KINDS)
def kind(request: Any) -> str:
    """Give the name of each kind of volume."""
    return str(request.param)


def make_root(path: Path, kind: str, files: dict[str, str | Link]) -> None:
    """Make a volume of `kind` with the files of a prepared server and with `files`."""
    block_size, _, options = KINDS[kind]
    root = path.with_suffix(".files")
    for name, content in (disks.system_files("prepared") | files).items():
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            target.symlink_to(content.target)
        else:
            target.write_text(content)
    make_volume(path, block_size, 16 * MIB, *options, "-d", str(root))


def verdict(report: Report, check: str) -> Verdict:
    """Return the verdict of a check."""
    return next(finding.verdict for finding in report.findings if finding.check == check)


MOVES: dict[str, tuple[dict[str, str | Link], Sequence[str], str, Verdict, Verdict]] = {
    "enabled": ({DISABLED: ""}, [f"rm {DISABLED}"], "CLOUD_INIT_ENABLED", Verdict.MISSING, Verdict.OK),
    "removed": ({}, ["rm /usr/bin/cloud-init"], "CLOUD_INIT_INSTALLED", Verdict.OK, Verdict.MISSING),
    "disabled": (
        {"/tmp/empty": "#\n"},
        [f"ln /tmp/empty {DISABLED}"],
        "CLOUD_INIT_ENABLED",
        Verdict.OK,
        Verdict.MISSING,
    ),
    "pin removed": (
        {"/etc/udev/rules.d/70-persistent-net.rules": PINNED},
        ["rm /etc/udev/rules.d/70-persistent-net.rules"],
        "NO_PERSISTENT_NET_RULES",
        Verdict.MISSING,
        Verdict.OK,
    ),
    "fstab replaced": (
        {"/etc/fstab.new": "/dev/sda1 / ext4 defaults 0 1\n"},
        ["unlink /etc/fstab", "ln /etc/fstab.new /etc/fstab"],
        "FSTAB_BY_UUID",
        Verdict.OK,
        Verdict.MISSING,
    ),
}


@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F01")
@pytest.mark.parametrize("move", MOVES)
def test_a_change_in_the_journal_alone(tmp_path: Path, file_reader: MakeReader, kind: str, move: str) -> None:
    """A change that only the journal has is seen, in both directions, as after a replay of the journal."""
    files, commands, check, before, after = MOVES[move]
    path = tmp_path / "disk.raw"
    make_root(path, kind, files)
    assert verdict(inspect(file_reader(path)), check) is before
    log_change(path, commands, KINDS[kind][1])
    running = inspect(file_reader(path))
    assert verdict(running, check) is after
    assert replay(path)
    assert inspect(file_reader(path)) == running


@pytest.mark.fault("FAULT-F01")
@pytest.mark.parametrize("wrong", ["not committed", "not needed"])
def test_a_change_that_a_boot_drops(tmp_path: Path, file_reader: MakeReader, kind: str, wrong: str) -> None:
    """A transaction without a commit block, or in the journal of an unmounted volume, changes nothing."""
    path = tmp_path / "disk.raw"
    make_root(path, kind, {})
    log_change(path, ["rm /usr/bin/cloud-init"], KINDS[kind][1])
    if wrong == "not committed":
        place = int(debugfs(path, ["bmap <8> 1"]).split()[-1])
        head = path.read_bytes()[place * KINDS[kind][0] :][:12]
        commit = head[:4] + b"\0\0\0\2" + head[8:]
        with path.open("r+b") as file:
            file.seek(path.read_bytes().index(commit))
            file.write(b"\xa5" * 1024)
    else:
        mark_needs_recovery(path, False)
    report = inspect(file_reader(path))
    assert verdict(report, "CLOUD_INIT_INSTALLED") is Verdict.OK
    assert (report.missing, report.unknown) == ((), ())


@pytest.mark.fault("FAULT-F01")
def test_a_volume_beside_the_root(tmp_path: Path, file_reader: MakeReader) -> None:
    """Each volume's journal is replayed: here of the one that the root mounts, by a label in the journal."""
    root, usr, disk = (tmp_path / name for name in ("root.raw", "usr.raw", "disk.raw"))
    make_root(root, "ext4", {"/etc/fstab": f"UUID={disks.ROOT_UUID} / ext4\nLABEL=system /usr ext4\n"})
    shutil.copytree(root.with_suffix(".files") / "usr", tmp_path / "usr", symlinks=True)
    make_volume(usr, 1024, 16 * MIB, "-t", "ext4", "-L", "old", "-d", str(tmp_path / "usr"))
    log_change(root, ["rm /etc/hosts"])
    log_change(usr, ["rm /bin/cloud-init", "set_super_value volume_name system"], has_superblock=True)
    with disk.open("wb") as file:
        file.truncate(40 * MIB)
        slots = [gpt.Slot(gpt.MBR_LINUX, at * MIB, 16 * MIB) for at in (1, 20)]
        gpt.write_mbr(file.fileno(), slots)
        for slot, volume in zip(slots, (root, usr), strict=True):
            file.seek(slot.first)
            file.write(volume.read_bytes())
    report = inspect(file_reader(disk))
    assert verdict(report, "CLOUD_INIT_INSTALLED") is Verdict.MISSING
    assert verdict(report, "OS_RELEASE") is Verdict.OK
