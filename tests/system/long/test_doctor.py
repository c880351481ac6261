"""`recast doctor`: it finds each damage, and reports no work under way as a damage."""

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

from recast.client import Recast
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.doctor import Code, Installation, Report, examine
from recast.ecs.v1 import server_pb2, server_service_pb2
from recast.stack import LocalStack
from tests.demo import seed
from tests.harness.expectations import until
from tests.system.damages import DAMAGES, Damage
from tests.system.patient import (
    DEBIAN,
    DEMO,
    IDLE,
    IDLE_DATA,
    IDLE_SYSTEM,
    LOOSE,
    NIGHTLY,
    SPARE,
    WEB,
    WEB_DATA,
    WEB_IMAGE,
    WEB_SYSTEM,
    Patient,
)

MOST_BACKUPS = 50
"""So often a backup is made until the doctor sees one under way; it takes a tenth of a second."""


@dataclass(frozen=True)
class Made:
    """A stack that was stopped, and the doctor's reports while it worked."""

    root: Path
    under_load: list[Report]
    """The last report is of the moment when all work had ended."""
    backups: int
    """Their number by its API."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The demo's data, a backup, and a server that came and went, with the doctor's reports meanwhile."""
    root = tmp_path_factory.mktemp("made")
    with LocalStack(root / "stack") as stack:
        recast = stack.client("demo", "operator")
        seed.seed(recast, tmp_path_factory.mktemp("seed"))
        under_load = _reports_under_load(recast, root / "stack")
        listing = recast.backups.ListBackups(
            backup_service_pb2.ListBackupsRequest(parent=DEMO, page_size=1000)
        )
    return Made(root / "stack", under_load, backups=len(listing.backups))


def _reports_under_load(recast: Recast, root: Path) -> list[Report]:
    here = Installation.local(root)
    server = server_service_pb2.CreateServersRequest(
        parent=DEMO, server_id="load", server=server_pb2.Server(display_name="load"), image=WEB_IMAGE
    )
    deletion = server_service_pb2.DeleteServerRequest(name=f"{DEMO}/servers/load", delete_data_disks=True)
    recast.servers.CreateServers(server)
    reports = _reports_of_a_backup(recast, here)
    recast.servers.DeleteServer(deletion)
    reports += _reports_until_idle(here)
    return [*reports, examine(here, deep=True, at_rest=True)]


def _reports_of_a_backup(recast: Recast, here: Installation) -> list[Report]:
    """Reports of which one has a backup under way; a backup that ends before the first report is repeated."""
    reports: list[Report] = []
    for turn in range(MOST_BACKUPS):
        backup = backup_service_pb2.CreateBackupRequest(
            parent=DEMO, backup_id=f"load-{turn}", backup=backup_pb2.Backup(server=IDLE), full=True
        )
        recast.backups.CreateBackup(backup)
        reports += _reports_until_idle(here)
        if any(_has_a_backup_under_way(report) for report in reports):
            break
    return reports


def _reports_until_idle(here: Installation) -> list[Report]:
    reports: list[Report] = []

    def is_idle() -> bool:
        reports.append(examine(here))
        return not reports[-1].in_progress

    until(is_idle, "the end of all work")
    return reports


def _has_a_backup_under_way(report: Report) -> bool:
    return any(each.what.startswith("CreateBackup of ") for each in report.in_progress)


@pytest.fixture
def patient(made: Made, tmp_path: Path) -> Patient:
    """A copy of the whole installation."""
    return Patient.copy_of(made.root, tmp_path / "patient")


def test_running_services_are_well(made: Made) -> None:
    """While a backup and a server are made, and one deleted, nothing is wrong, but work is in progress."""
    assert [report.problems for report in made.under_load] == [()] * len(made.under_load)
    assert any(_has_a_backup_under_way(report) for report in made.under_load)


def test_work_that_has_ended_leaves_nothing_under_way(made: Made) -> None:
    """When all work has ended nothing is in progress, and every byte is as expected."""
    report = made.under_load[-1]
    assert (report.problems, report.in_progress) == ((), ())


def test_clean_installation_is_counted(made: Made, patient: Patient) -> None:
    """A stopped installation is well, and the report has its counts."""
    report = patient.examine(at_rest=True)
    assert (report.problems, report.in_progress) == ((), ())
    counts = report.counts
    assert (counts.backups, counts.images, counts.servers, counts.disks) == (made.backups, 3, 2, 5)
    chunks = [path.stat().st_size for path in patient.root.glob("store/*/demo/chunks/*/*")]
    assert (counts.chunks, counts.stored_bytes) == (len(chunks), sum(chunks))
    assert (counts.collectable_indexes, counts.collectable_chunks, counts.collectable_bytes) == (0, 0, 0)


@pytest.mark.fault("FAULT-N01")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_each_damage_is_found(patient: Patient, damage: Damage) -> None:
    """A damage gives problems of its own codes and of no others."""
    damage.inflict(patient)
    if damage.relation != "row-message":
        patient.forget_messages()
    report = patient.examine(deep=damage.deep, at_rest=damage.at_rest)
    assert {problem.code for problem in report.problems} == damage.codes, report.problems
    assert not damage.problems or len(report.problems) == damage.problems, report.problems


def relations() -> dict[str, set[str]]:
    """The table of RELATIONS.md: the codes of each relation."""
    lines = resources.files("recast.doctor").joinpath("RELATIONS.md").read_text().splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return {cell[0].strip("`"): set(re.findall(r"`([A-Z_]+)`", cell[2])) for cell in cells}


def test_every_relation_has_a_damage() -> None:
    """For each relation and each of its codes there is a damage to it, and none is to another relation."""
    found: dict[str, set[str]] = defaultdict(set)
    for damage in DAMAGES:
        found[damage.relation] |= {code for code in damage.codes if code in relations()[damage.relation]}
    assert found == relations()
    # There is no check that cannot fail.
    assert set().union(*relations().values()) == set(Code)


UNDER_WAY: list[Callable[[Patient], None]] = []


def under_way(scene: Callable[[Patient], None]) -> Callable[[Patient], None]:
    """Enters a moment of an installation at work."""
    UNDER_WAY.append(scene)
    return scene


@under_way
def _servers_of_a_batch(patient: Patient) -> None:
    result = server_service_pb2.CreateServersResult()
    result.outcomes.add(server=f"{DEMO}/servers/first")
    result.outcomes.add(server=IDLE)
    patient.add_work(
        "ecs", "CreateServers", f"{DEMO}/servers/first", state="UNDOING", request=result.SerializeToString()
    )
    patient.sql("ecs", "UPDATE server SET state = 'CREATING' WHERE name = ?", IDLE)
    patient.sql("ecs", "UPDATE disk SET state = 'CREATING' WHERE name IN (?, ?)", IDLE_SYSTEM, IDLE_DATA)
    patient.folder(IDLE_DATA).rename(
        patient.folder(IDLE_DATA).with_name(f".gone-{patient.folder(IDLE_DATA).name}")
    )
    (patient.host / "bases" / ".x.raw.new").touch()


@under_way
def _server_deletion(patient: Patient) -> None:
    steps = {"detach": f'["{IDLE_SYSTEM}"]'.encode()}
    patient.add_work("ecs", "DeleteServer", IDLE, steps=steps)
    patient.sql("ecs", "UPDATE server SET state = 'DELETING' WHERE name = ?", IDLE)
    patient.sql("ecs", "DELETE FROM attachment WHERE server = ?", IDLE)
    patient.sql("ecs", "UPDATE disk SET state = 'DELETING' WHERE name = ?", IDLE_SYSTEM)
    patient.sql("ecs", "UPDATE disk SET state = 'AVAILABLE' WHERE name = ?", IDLE_DATA)
    shutil.rmtree(patient.folder(IDLE_SYSTEM))


@under_way
def _os_change_after_its_swap(patient: Patient) -> None:
    patient.add_work(
        "ecs", "ChangeServerOs", IDLE, steps={"swap": f'"{LOOSE}"'.encode(), ":decided": b"true"}
    )
    patient.sql("ecs", "UPDATE disk SET state = 'DELETING', role = 'SYSTEM' WHERE name = ?", LOOSE)


@under_way
def _os_change_before_its_swap(patient: Patient) -> None:
    patient.add_work("ecs", "ChangeServerOs", IDLE)
    patient.sql("ecs", "UPDATE server SET state = 'CHANGING_OS' WHERE name = ?", IDLE)
    new = {"name": f"{DEMO}/disks/new-work", "folder": "new", "state": "CREATING"}
    patient.copy_row("ecs", "disk", IDLE_SYSTEM, **new)
    (patient.host / "disks" / ".new-new").mkdir()


@under_way
def _freeze_of_a_backup(patient: Patient) -> None:
    freeze = patient.layer(WEB_DATA).name.removeprefix("layer-").removesuffix(".qcow2")
    (patient.folder(WEB_DATA) / f"frozen-{freeze}").touch()  # one of its two disks, before the other's turn
    patient.sql("ecs", "UPDATE freeze SET state = 'FREEZING' WHERE freeze_id = ?", freeze)
    patient.sql("ecs", "UPDATE server SET freeze_id = ?, frozen_for = ? WHERE name = ?", freeze, SPARE, WEB)
    patient.sql("csbs", "UPDATE backup SET state = 'CREATING', content = NULL WHERE name = ?", SPARE)
    patient.sql("csbs", "DELETE FROM operation_step")
    patient.sql("csbs", "DELETE FROM operation WHERE id = ?", freeze)
    patient.add_work("csbs", "CreateBackup", SPARE, operation_id=freeze)


@under_way
def _image_of_a_held_server(patient: Patient) -> None:
    patient.add_work("ims", "CreateImage", WEB_IMAGE)
    patient.sql("ims", "UPDATE image SET state = 'CREATING', lock_token = 0 WHERE name = ?", WEB_IMAGE)
    patient.sql("ims", "UPDATE image SET held_server = ? WHERE name = ?", WEB, WEB_IMAGE)
    patient.sql("csbs", "UPDATE image_lock SET state = 'HELD'")
    patient.sql("ecs", "UPDATE server SET state = 'STOPPED' WHERE name = ?", WEB)
    patient.sql("ecs", "INSERT INTO image_hold (server, image) VALUES (?, ?)", WEB, WEB_IMAGE)


@under_way
def _image_pinned_by_new_disk(patient: Patient) -> None:
    patient.add_work("ecs", "CreateDisk", LOOSE)
    patient.sql("ecs", "UPDATE disk SET state = 'CREATING' WHERE name = ?", LOOSE)
    patient.sql(
        "ims", "INSERT INTO image_pin VALUES (?, 'new-work', ?, '2026-01-01 00:00:00')", DEBIAN, LOOSE
    )
    shutil.rmtree(patient.folder(LOOSE))


@under_way
def _failed_image_that_gives_its_lock_back(patient: Patient) -> None:
    patient.add_work("ims", "CreateImage", WEB_IMAGE, state="UNDOING")
    patient.sql("ims", "DELETE FROM image WHERE name = ?", WEB_IMAGE)


@under_way
def _import_under_way(patient: Patient) -> None:
    patient.add_work("ims", "ImportImage", DEBIAN)
    patient.sql("ims", "UPDATE image SET state = 'CREATING', content = NULL WHERE name = ?", DEBIAN)
    key = patient.value("ims", "SELECT upload_key FROM image WHERE name = ?", DEBIAN)
    (patient.root / "data" / "ims-staging" / key).touch()


@under_way
def _restore_of_one_disk_of_two(patient: Patient) -> None:
    patient.add_work("csbs", "RestoreBackup", NIGHTLY)
    patient.sql("csbs", "UPDATE backup SET state = 'RESTORING' WHERE name = ?", NIGHTLY)
    patient.add_work("ecs", "RestoreDisks", WEB, steps={"begin": b"null", ":decided": b"true"})
    patient.sql("ecs", "UPDATE server SET state = 'RESTORING' WHERE name = ?", WEB)
    patient.sql("ecs", "UPDATE disk SET base = 'other' WHERE name = ?", WEB_SYSTEM)


@under_way
def _deletions(patient: Patient) -> None:
    patient.add_work("csbs", "DeleteBackup", SPARE)
    patient.sql("csbs", "DELETE FROM backup WHERE name = ?", SPARE)  # its indexes are still there
    patient.add_work("ecs", "DeleteDisk", LOOSE)
    patient.sql("ecs", "UPDATE disk SET state = 'DELETING' WHERE name = ?", LOOSE)
    patient.folder(LOOSE).rename(patient.folder(LOOSE).with_name(f".gone-{patient.folder(LOOSE).name}"))


@pytest.mark.parametrize("scene", UNDER_WAY, ids=lambda scene: scene.__name__.strip("_"))
def test_work_under_way_is_no_problem(patient: Patient, scene: Callable[[Patient], None]) -> None:
    """Resources of work that has not ended are in progress; at rest that work is the one problem."""
    scene(patient)
    patient.forget_messages()
    report = patient.examine()
    assert report.problems == ()
    assert report.in_progress
    at_rest = patient.examine(at_rest=True)
    assert {problem.code for problem in at_rest.problems} == {Code.OPERATION_NOT_ENDED}


def test_upload_may_wait_for_ever(patient: Patient) -> None:
    """An upload that waits for more bytes is in progress, also at rest."""
    new = {"name": f"{DEMO}/images/new", "state": "CREATING", "content": None, "upload_key": "new"}
    patient.copy_row("ims", "image", DEBIAN, **new, upload_is_complete=0)
    patient.forget_messages()
    (patient.root / "data" / "ims-staging" / "new").write_bytes(b"half")
    report = patient.examine(at_rest=True)
    assert report.problems == ()
    assert [each.resource for each in report.in_progress] == [f"{DEMO}/images/new"]


def test_restore_that_failed_leaves_disks_in_doubt(patient: Patient) -> None:
    """Disks of a server in ERROR need not stand on the bases that their rows name."""
    patient.sql("ecs", "UPDATE server SET state = 'ERROR' WHERE name = ?", WEB)
    patient.sql("ecs", "UPDATE disk SET base = 'other' WHERE name = ?", WEB_SYSTEM)
    assert patient.examine(at_rest=True).problems == ()


def test_name_of_a_backup_may_be_used_again(patient: Patient) -> None:
    """A disk may name a backup that is gone, whose name a newer, failed backup has."""
    other = f"{DEMO}/backups/other"
    late = {"state": "ERROR", "content": None, "create_time": "2100-01-01 00:00:00.000000"}
    failed = {"image_ready": 0, "error": b"\0"}
    patient.copy_row("csbs", "backup", SPARE, name=other, **late, **failed)
    patient.forget_messages()
    patient.sql("csbs", "DELETE FROM backup WHERE name = ?", SPARE)
    assert patient.examine(at_rest=True).problems == ()
    patient.sql("csbs", "UPDATE backup SET name = ? WHERE name = ?", SPARE, other)
    assert patient.examine(deep=True, at_rest=True).problems == ()


def test_unnamed_content_awaits_collection(patient: Patient) -> None:
    """Indexes and chunks that no row names are counted, and are no problem."""
    patient.sql("csbs", "DELETE FROM backup WHERE name = ?", f"{DEMO}/backups/load-0")
    (patient.root / "store" / "csbs" / "demo" / "chunks" / "ab").mkdir(exist_ok=True)
    (patient.root / "store" / "csbs" / "demo" / "chunks" / "ab" / ("ab" * 32)).write_bytes(b"12345")
    report = patient.examine(at_rest=True)
    assert report.problems == ()
    assert (report.counts.collectable_indexes, report.counts.collectable_chunks) == (2, 1)
    assert report.counts.collectable_bytes == 5


def test_a_problem_counts_when_it_stays(patient: Patient) -> None:
    """A problem that is gone at the second check, or is only found there, is not reported."""
    key = patient.root / "keys" / "people.pem"
    key.chmod(0o644)

    def mend(_seconds: float) -> None:
        key.chmod(0o600)
        (patient.host / "core").touch()

    assert patient.examine(pause=mend).problems == ()
    assert [problem.code for problem in patient.examine().problems] == [Code.FILE_UNOWNED]


def test_an_examination_changes_nothing(patient: Patient) -> None:
    """The doctor writes into no database, no store and no disk."""
    before = _state(patient.root)
    patient.examine(deep=True)
    assert _state(patient.root) == before


def _state(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file but SQLite's -shm and -wal files, which reading creates."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_the_command_prints_the_remedy(made: Made, patient: Patient) -> None:
    """Each problem is one line with its code, the resource and the remedy, and the exit code is 1."""
    patient.sql("ecs", "UPDATE disk SET state = 'IN_USE' WHERE name = ?", LOOSE)
    done = _doctor("--root", str(patient.root))
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if "DISK_USE_WRONG" in line]
    assert LOOSE in line
    assert "report it" in line
    counted = f"1 problem: {made.backups} backups, 3 images, 2 servers, 5 disks; "
    assert done.stdout.splitlines()[-1].startswith(counted)


def test_the_command_speaks_json(patient: Patient) -> None:
    """With --output json the report is one JSON object, and the exit code of a clean installation is 0."""
    done = _doctor("--root", str(patient.root), "--at-rest", "--output", "json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["problems"], report["in_progress"]) == ([], [])
    assert report["counts"]["servers"] == 2


def _doctor(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "recast.doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
