"""Every action, killed after each of its steps: the disk is whole, and a repeat ends as if never killed."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from recast.diskimage import DiskBusy, DiskHost, NewDisk

MIB = 1 << 20
CLUSTER = 64 << 10
FORMAT = Path(__file__).parents[4] / "libs" / "recast" / "diskimage" / "FORMAT.md"


def nothing(_host: DiskHost) -> None:
    """Leave the host as it is."""


def make_base(host: DiskHost) -> None:
    """Make a base of a letter."""
    host.new_base("other", MIB, lambda fd: os.pwrite(fd, b"o" * MIB, 0))


def write(host: DiskHost, offset: int, byte: int) -> None:
    """Write one cluster of disk d1 as its guest."""
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {byte} {offset} {CLUSTER}"]
    subprocess.run([*command, host.disk("d1").active_path], check=True, capture_output=True)


def make_disk(host: DiskHost) -> None:
    """Make disk d1 on the base and write to it."""
    host.disk("d1").create(2 * MIB, "letters")
    write(host, 0, 1)


def make_frozen(host: DiskHost) -> None:
    """Freeze disk d1 for the first time and write on."""
    make_disk(host)
    host.disk("d1").freeze("f1")
    write(host, CLUSTER, 2)


def make_thawed(host: DiskHost) -> None:
    """Bring disk d1 to rest on a private layer."""
    make_frozen(host)
    host.disk("d1").thaw("f1")


def make_frozen_again(host: DiskHost) -> None:
    """Freeze disk d1 a second time and write on."""
    make_thawed(host)
    host.disk("d1").freeze("f2")
    write(host, 2 * CLUSTER, 3)


def make_thawed_and_other_base(host: DiskHost) -> None:
    """Bring disk d1 to rest, with another base to change to."""
    make_thawed(host)
    make_base(host)


def make_thawed_and_other_disk(host: DiskHost) -> None:
    """Bring disk d1 to rest, beside a disk that was never frozen."""
    make_thawed(host)
    host.disk("d2").create(MIB, None)


def make_half_frozen(host: DiskHost) -> None:
    """Leave a freeze of two disks as a killed attempt leaves it: d1 is frozen, d2 is not."""
    make_thawed_and_other_disk(host)
    host.disk("d1").freeze("f2")


def make_base_with_template(host: DiskHost) -> None:
    """Leave a base that no disk uses, with its template."""
    make_base(host)
    host.disk("d9").create(MIB, "other")
    host.disk("d9").delete()


@dataclass(frozen=True)
class Scenario:
    """An action, and the state before it."""

    name: str
    before: Callable[[DiskHost], None]
    action: Callable[[DiskHost], None]


SCENARIOS = [
    Scenario("new base", nothing, make_base),
    Scenario("create", nothing, lambda host: host.disk("d1").create(2 * MIB, "letters")),
    Scenario("create without base", nothing, lambda host: host.disk("d1").create(2 * MIB, None)),
    Scenario(
        "create many",
        make_disk,
        lambda host: host.create_disks([NewDisk(f"d{number}", 3 * MIB, "letters") for number in range(6)]),
    ),
    Scenario("first freeze", make_disk, lambda host: host.disk("d1").freeze("f1")),
    Scenario("later freeze", make_thawed, lambda host: host.disk("d1").freeze("f2")),
    Scenario("freeze of two", make_thawed_and_other_disk, lambda host: host.freeze_disks(["d1", "d2"], "f2")),
    Scenario("first thaw", make_frozen, lambda host: host.disk("d1").thaw("f1")),
    Scenario("later thaw", make_frozen_again, lambda host: host.disk("d1").thaw("f2")),
    Scenario("resize", make_frozen, lambda host: host.disk("d1").resize(5 * MIB)),
    Scenario("replace", make_thawed_and_other_base, lambda host: host.disk("d1").replace(4 * MIB, "other")),
    Scenario("delete", make_thawed, lambda host: host.disk("d1").delete()),
    Scenario("delete base", make_base_with_template, lambda host: host.delete_base("other")),
]


class RecordsSteps:
    """Records the steps that an action takes."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        """Take one step."""
        self.names.append(name)


def disk_state(host: DiskHost, disk_id: str) -> tuple[object, ...]:
    """The state of one disk that a user can see."""
    disk = host.disk(disk_id)
    freeze_id = disk.unmerged_freeze()
    frozen: tuple[object, ...] = ()
    if freeze_id is not None:
        with disk.frozen_reader(freeze_id) as reader:
            frozen = (reader.pread(0, reader.size_bytes), disk.changed_extents(freeze_id))
    with disk.reader() as reader:
        return (reader.pread(0, reader.size_bytes), disk.size_bytes(), disk.base(), freeze_id, *frozen)


def host_state(host: DiskHost) -> dict[str, object]:
    """The state of a host that a user can see."""
    bases = {f"base {name}": host.base_bytes(name) for name in host.base_names()}
    return {**bases, **{disk_id: disk_state(host, disk_id) for disk_id in host.disk_ids()}}


def files_of(root: Path) -> set[str]:
    """The paths of all files and folders of a host."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_each_step_and_repeated_ends_as_never_killed(scenario, host, root, tmp_path, run_killed):
    """Killed, every disk is as before or as after; repeated, all files are those of an unbroken run."""
    scenario.before(host)
    before = host_state(host)
    prepared = tmp_path / "prepared"
    shutil.copytree(root, prepared)
    record = RecordsSteps()
    scenario.action(DiskHost(root, step=record))
    after, files_after = host_state(host), files_of(root)
    assert record.names
    for step in record.names:
        shutil.rmtree(root)
        shutil.copytree(prepared, root)
        assert run_killed(step, scenario.action)
        killed = host_state(host)
        for name in killed:
            assert killed[name] in (before.get(name), after.get(name)), step
        assert set(before) & set(after) <= set(killed), step
        scenario.action(host)
        assert host_state(host) == after, step
        assert files_of(root) == files_after, step
        assert not host.disk("d1").exists() or host.disk("d1").check() == []


def test_every_step_stands_in_the_format_document(host, root):
    """FORMAT.md's table lists exactly the steps that actions take."""
    record = RecordsSteps()
    host = DiskHost(root, step=record)
    make_half_frozen(host)
    host.freeze_disks(["d1", "d2"], "f2")
    make_base(host)
    disk = host.disk("d1")
    disk.thaw("f2")
    disk.resize(4 * MIB)
    disk.replace(4 * MIB, "other")
    disk.delete()
    host.delete_base("other")
    documented = re.findall(r"^\|[^|]*\| `([a-z_]+\.[a-z_]+)` \|", FORMAT.read_text(), re.MULTILINE)
    assert set(documented) == set(record.names)


@pytest.mark.parametrize(
    "step", ["freeze.linked", "freeze.marked", "freeze.overlay_made", "freeze.durable", "replace.built"]
)
def test_leftovers_of_a_killed_action_do_not_stop_another(step, host, root, run_killed, read_all):
    """A freeze or replacement that is never repeated leaves nothing that obstructs a later freeze."""
    make_thawed(host)
    content = read_all(host.disk("d1"))
    action = step.partition(".")[0]
    actions = {
        "freeze": lambda h: h.disk("d1").freeze("lost"),
        "replace": lambda h: h.disk("d1").replace(MIB, None),
    }
    assert run_killed(step, actions[action])
    assert host.disk("d1").unmerged_freeze() is None
    assert host.disk("d1").check() != []
    host.disk("d1").freeze("f2")
    assert host.disk("d1").check() == []
    assert read_all(host.disk("d1"), "f2") == content
    assert host.disk("d1").changed_extents("f2") == [(CLUSTER, CLUSTER)]


def test_killed_create_that_is_given_up_is_removed_by_delete(host, root, run_killed):
    """Deleting a disk that was never finished removes its parts."""
    assert run_killed("create.built", lambda h: h.disk("d1").create(MIB, None))
    assert not host.disk("d1").exists()
    host.disk("d1").delete()
    assert os.listdir(root / "disks") == []


def test_killed_base_that_is_given_up_is_removed_by_delete(host, root, run_killed):
    """Deleting a base that was never finished removes its parts."""
    assert run_killed("new_base.filled", make_base)
    assert not host.has_base("other")
    host.delete_base("other")
    assert os.listdir(root / "bases") == ["letters.raw"]


def test_commit_killed_half_way_changes_nothing_that_is_read(guest, read_all):
    """While a merge is half written, disk and freeze read as before; the repeat completes it."""
    disk = guest.disk
    guest.resize(16 * MIB)
    disk.freeze("f1")
    disk.thaw("f1")
    guest.write(0, 16 * MIB, 5)
    guest.write(MIB, MIB, 6)
    disk.freeze("f2")
    guest.write(0, CLUSTER, 7)
    private, frozen = disk.path / "layer-f1.qcow2", disk.path / "layer-f2.qcow2"
    before = private.stat().st_blocks
    # Slowed down by qemu-img's own rate limit, so that it is killed in the middle for certain.
    command = ["qemu-img", "commit", "-q", "-d", "-r", str(4 * MIB), "-f", "qcow2", "-b", private, frozen]
    process = subprocess.Popen(command)
    while private.stat().st_blocks == before:
        assert process.poll() is None
    process.kill()
    process.wait()
    with disk.frozen_reader("f2") as reader:
        assert reader.pread(0, MIB) == bytes([5]) * MIB
        assert reader.pread(MIB, MIB) == bytes([6]) * MIB
    assert read_all(disk) == guest.model
    assert disk.unmerged_freeze() == "f2"
    disk.thaw("f2")
    assert read_all(disk) == guest.model
    assert disk.check() == []


def test_orphaned_qemu_img_holds_the_lock_of_the_disk(host, root, tmp_path, monkeypatch, read_all):
    """A worker killed during its commit leaves the disk busy until that commit has ended."""
    make_frozen_again(host)
    content = read_all(host.disk("d1"))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    real = shutil.which("qemu-img")
    waits = tmp_path / "bin" / "qemu-img"
    waits.parent.mkdir()
    waits.write_text(f'#!/bin/sh\nif [ "$1" = commit ]; then read line < {gate}; fi\nexec {real} "$@"\n')
    waits.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{waits.parent}:{os.environ['PATH']}")
        worker = os.fork()
        if worker == 0:
            host.disk("d1").thaw("f2")
            os._exit(0)
        opened = gate.open("w")  # returns when the commit waits at its gate
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    with pytest.raises(DiskBusy):
        host.disk("d1").thaw("f2")
    opened.close()
    orphan_ended = os.open(host.disk("d1").path, os.O_RDONLY)
    fcntl.flock(orphan_ended, fcntl.LOCK_EX)
    os.close(orphan_ended)
    host.disk("d1").thaw("f2")
    assert host.disk("d1").unmerged_freeze() is None
    assert read_all(host.disk("d1")) == content
