"""Files on other file systems, and programs in other folders, are not taken for absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from recast.preparation import linux, windows
from recast.preparation.checks import run_checks
from recast.preparation.filetree import FileTree
from recast.preparation.fstab import MountedTree
from recast.preparation.inspection import inspect_here
from recast.preparation.report import Verdict
from tests.harness import disks, gpt
from tests.harness.memory_tree import LinkTo, MemoryTree

OK, MISSING, UNKNOWN = Verdict.OK, Verdict.MISSING, Verdict.UNKNOWN
MIB = 1 << 20
BIN = {"/bin/cloud-init": "#!"}


def verdict_on(check: str, tree: FileTree) -> Verdict:
    """Return the verdict of one check of Linux."""
    return next(each.verdict for each in run_checks(linux.CHECKS, tree) if each.check == check)


@pytest.mark.parametrize(
    ("root", "device", "usr", "verdict"),
    [
        # A link of the root leads into the file system that is mounted there.
        ({"/etc/fstab": "LABEL=u /usr ext4\n", "/opt/bin": LinkTo("../usr/bin")}, "label=u", BIN, OK),
        ({"/etc/fstab": "LABEL=u /srv ext4\n", "/usr": LinkTo("/srv")}, "label=u", BIN, OK),
        ({"/etc/fstab": "PARTLABEL=u /usr ext4\n"}, "partlabel=u", BIN, OK),
        ({"/etc/fstab": "LABEL=my\\040usr /usr ext4\n"}, "label=my usr", BIN, OK),
        ({"/etc/fstab": "LABEL=u /usr ext4\n"}, "label=u", {"/bin/sh": "x"}, MISSING),
        ({"/etc/fstab": "/srv/usr /usr none bind 0 0\n", "/srv/usr/bin/cloud-init": "#!"}, "x", {}, OK),
        ({"/etc/fstab": "/usr /usr none bind 0 0\n", "/usr/bin/cloud-init": "#!"}, "x", {}, OK),
        (
            {"/etc/fstab": "/a /usr none bind\n/usr /a none bind\n", "/a/x": "", "/usr/x": ""},
            "x",
            {},
            UNKNOWN,
        ),
        # The fstab does not name it: mount.usr= on the kernel's line, or the partition's type.
        ({"/etc/fstab": "LABEL=root / ext4\n"}, "label=u", BIN, UNKNOWN),
        (
            {"/etc/fstab": "LABEL=root / ext4\n", "/bin": LinkTo("usr/bin"), "/usr/.keep": ""},
            "x",
            {},
            UNKNOWN,
        ),
        ({"/etc/fstab": "LABEL=root / ext4\n", "/ostree/deploy/a/x": ""}, "x", {}, UNKNOWN),
    ],
)
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F07")
def test_program_on_another_file_system(
    root: dict[str, str | LinkTo], device: str, usr: dict[str, str | LinkTo], verdict: Verdict
) -> None:
    """Cloud-Init is searched in all that is mounted, and is unknown where that cannot be told."""
    tree = MountedTree(MemoryTree(root), {device: MemoryTree(usr)})
    assert verdict_on("CLOUD_INIT_INSTALLED", tree) is verdict


@pytest.mark.fault("FAULT-F07")
def test_links_between_mounts_end() -> None:
    """A loop of links between two file systems is unreadable, not endless."""
    root = {"/etc/fstab": "LABEL=u /usr ext4\n", "/opt": LinkTo("/usr/opt")}
    tree = MountedTree(MemoryTree(root), {"label=u": MemoryTree({"/opt": LinkTo("/opt"), "/bin/sh": "x"})})
    assert verdict_on("CLOUD_INIT_INSTALLED", tree) is UNKNOWN


@pytest.mark.fault("FAULT-F07")
def test_usr_by_partition_label(tmp_path: Path, file_reader: Callable[[Any], Any]) -> None:
    """On a real disk /usr is read from the partition that the fstab names by its label in the GPT."""
    path, size = tmp_path / "disk.raw", 64 * MIB
    root_files = {"/usr/bin/cloud-init": None, "/usr/lib/os-release": None, "/etc/os-release": "ID=x\n",
                  "/etc/fstab": "PARTLABEL=usr /usr ext4\n"}  # fmt: skip
    root = disks.make_system_disk(tmp_path / "root.raw", 24 * MIB, 0, table="none", files=root_files)
    usr_files = dict.fromkeys(disks.system_files("prepared")) | {"/bin/cloud-init": "#!\n"}
    usr = disks.make_system_disk(
        tmp_path / "usr.raw", 24 * MIB, 0, table="none", files=usr_files, root_uuid=UUID(int=5)
    )
    with path.open("w+b") as file:
        file.truncate(size)
        slots = [gpt.Slot(gpt.LINUX, MIB, 24 * MIB, "root", UUID(int=6)),
                 gpt.Slot(gpt.LINUX, 25 * MIB, 24 * MIB, "usr", UUID(int=7))]  # fmt: skip
        gpt.write_gpt(file.fileno(), size, slots, UUID(int=8))
        os.pwrite(file.fileno(), root.path.read_bytes(), MIB)
        os.pwrite(file.fileno(), usr.path.read_bytes(), 25 * MIB)
    report = inspect_here(file_reader(path))
    (installed,) = [each for each in report.findings if each.check == "CLOUD_INIT_INSTALLED"]
    assert (installed.verdict, installed.detail) == (OK, "/usr/bin/cloud-init is there")


HIVE = {"/Windows/System32/config/SYSTEM": "regf"}
HOME = "/Program Files/Cloudbase Solutions/Cloudbase-Init"
EXE = "Python/Scripts/cloudbase-init.exe"
SETUP = "/Windows/Setup/Scripts/SetupComplete.cmd"


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        ({f"{HOME}/{EXE}": "MZ"}, OK),
        ({f"/Program Files (x86)/Cloudbase Solutions/Cloudbase-Init/{EXE}": "MZ"}, OK),
        ({f"/Cloudbase-Init/{EXE}": "MZ"}, OK),
        ({"/Python311/Scripts/cloudbase-init.exe": "MZ"}, OK),
        ({SETUP: '"C:\\Tools\\ci\\cloudbase-init.exe" --x\n', "/Tools/ci/cloudbase-init.exe": "MZ"}, OK),
        ({SETUP: '"D:\\ci\\cloudbase-init.exe"\n'}, UNKNOWN),
        ({SETUP: '"C:\\Tools\\ci\\cloudbase-init.exe" --x\n'}, MISSING),
        ({f"{HOME}/{EXE}": ""}, MISSING),
        ({}, MISSING),
    ],
)
@pytest.mark.rule("R21")
@pytest.mark.fault("FAULT-F07", "FAULT-W05")
def test_cloudbase_init(files: dict[str, str], verdict: Verdict) -> None:
    """Cloudbase-Init is found in its other homes and where Windows' own files name it."""
    findings = run_checks(windows.CHECKS, MemoryTree(HIVE | files))
    assert next(each.verdict for each in findings if each.check == "CLOUDBASE_INIT_INSTALLED") is verdict


@pytest.mark.rule("R21")
@pytest.mark.fault("FAULT-F07")
def test_driver_in_the_store() -> None:
    """A driver in the DriverStore is unknown: only the registry has whether it starts."""
    store = "/Windows/System32/DriverStore/FileRepository"
    findings = run_checks(
        windows.CHECKS, MemoryTree(HIVE | {f"{store}/viostor.inf_amd64_1/viostor.sys": "MZ"})
    )
    assert next(each.verdict for each in findings if each.check == "WINDOWS_VIRTIO") is UNKNOWN


@pytest.mark.rule("R21")
@pytest.mark.fault("FAULT-W05")
def test_empty_driver() -> None:
    """An empty file is no driver."""
    findings = run_checks(windows.CHECKS, MemoryTree(HIVE | {"/Windows/System32/drivers/viostor.sys": ""}))
    assert next(each.verdict for each in findings if each.check == "WINDOWS_VIRTIO") is MISSING
