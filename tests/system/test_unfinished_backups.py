"""A backup while it is CREATING: the mark "Image can be created", and the calls that
it allows and forbids.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from google.longrunning import operations_pb2

from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.imagelock.v1 import image_lock_service_pb2 as lock_pb
from recast.ims.v1 import image_pb2
from recast.longrunning.v1 import operation_metadata_pb2
from tests.harness.expectations import file_digest, metadata_of, refused, state_of, until
from tests.harness.project import Tenant


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """Holds a disk's folder, as another action on the disk would."""
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


@pytest.fixture(scope="module")
def running(main: Tenant) -> Tenant:
    """The project with the server `live` of two disks."""
    main.create_server("live", data_disks=[ecs_pb.DataDiskSpec(image=main.image("media-2"))])
    return main


@pytest.mark.rule("R03", "R04")
@pytest.mark.fault("FAULT-W01")
def test_a_backup_is_creating_then_marked_then_available(running: Tenant) -> None:
    """The answer has CREATING; the mark comes when the last disk is frozen, not before; AVAILABLE comes at
    the end.
    """
    last = running.path(running.disk("live-data-1")).parent
    with running.cloud.chunks_held("csbs", "main"):
        with busy(last):
            answer = running.start_backup("steps", "live")
            waits = until(lambda: running.metadata(answer.operation, "csbs").last_retry_reason, "the freeze")
            assert running.disk("live-data-1") in waits
            assert str(running.cloud.root) not in waits
            first = running.path(running.disk("live-system")).parent
            assert not list(first.glob("frozen-*"))  # no disk before all can be
            backup = running.get_backup("steps")
            assert (state_of(answer.backup), state_of(backup), backup.image_ready) == (
                "CREATING",
                "CREATING",
                False,
            )
            with refused("BACKUP_NOT_IMAGE_READY", state="CREATING", rule="R02"):
                running.start_image("early", "steps")
        marked = until(
            lambda: next(iter(b for b in [running.get_backup("steps")] if b.image_ready), None), "the mark"
        )
        assert state_of(marked) == "CREATING"
        assert list(last.glob("frozen-*"))
        assert marked.freeze_time.ToMilliseconds() > 0
    running.wait(answer.operation, "csbs")
    done = running.get_backup("steps")
    assert (state_of(done), done.image_ready) == ("AVAILABLE", True)
    assert done.freeze_time == marked.freeze_time


@pytest.mark.rule("R02", "R04", "R12")
def test_an_image_of_a_marked_backup_becomes_normal_when_the_backup_is_available(running: Tenant) -> None:
    """An image of a CREATING and marked backup waits, CREATING, and becomes NORMAL with the backup, holding
    its bytes.
    """
    before = running.digests("live")
    with running.unfinished_backup("marked", "live") as backup:
        answer = running.start_image("marked", "marked")
        until(lambda: running.get_backup("marked").image, "the lock")
        assert state_of(running.get_image("marked")) == "CREATING"
    running.wait(backup.operation, "csbs")
    assert state_of(running.result(answer.operation, "ims", image_pb2.Image)) == "NORMAL"
    running.create_server("marked", "marked")
    assert running.digests("marked") == before


@pytest.mark.fault("FAULT-W09")
@pytest.mark.rule("R37")
@pytest.mark.parametrize("of_server", [False, True])
def test_the_operation_of_an_image_shows_the_backup_that_it_waits_for(
    running: Tenant, of_server: bool
) -> None:
    """While an image waits for its backup, the step names the backup and its progress, which is the image's
    own; also of an image straight from a server.
    """

    def waits(operation: operations_pb2.Operation, backup: str) -> str:
        # Again and again: the waiting backup writes its own progress now and then.
        running.cloud.execute(
            "csbs", "UPDATE operation SET progress = :progress WHERE target = :backup",
            progress=moved.SerializeToString(), backup=backup,
        )  # fmt: skip
        current = metadata_of(running.recast.operations("ims").GetOperation(
            operations_pb2.GetOperationRequest(name=operation.name)
        ))  # fmt: skip
        return current.step if current.progress_percent == 60 and len(current.disks) == 1 else ""

    name = f"shown-{of_server}".lower()
    moved = operation_metadata_pb2.OperationMetadata(
        progress_percent=60, disks=[{"disk": "d", "done_bytes": 6, "total_bytes": 10}]
    )
    with running.cloud.chunks_held("csbs", running.project):
        if of_server:
            image = running.start_image(name, "", backup=None, server=running.server("live"))
            backup = until(lambda: running.get_image(name).source_backup, "the backup")
        else:
            backup = running.start_backup(name, "live").backup.name
            until(lambda: running.get_backup(name).image_ready, "the mark")
            image = running.start_image(name, name)
        step = until(lambda: waits(image.operation, backup), "the progress of the backup")
        assert step == f"waits for backup {backup}, at 60 %"
    running.wait(image.operation, "ims")
    running.delete_image(name, delete_backup=True)


@pytest.mark.rule("R10")
def test_an_image_whose_backup_fails_is_in_error_and_its_lock_is_free(running: Tenant) -> None:
    """When the backup under a CREATING image fails, the image ends in ERROR and its lock on the backup is
    given back.
    """
    with running.unfinished_backup("doomed", "live") as backup:
        answer = running.start_image("doomed", "doomed")
        until(lambda: running.get_backup("doomed").image, "the lock")
        running.cancel(backup.operation, "csbs")
        with refused("BACKUP_FAILED", backup=running.backup("doomed")):
            running.wait(answer.operation, "ims")
    assert state_of(running.get_image("doomed")) == "ERROR"
    failed = running.get_backup("doomed")
    assert (state_of(failed), failed.image, failed.image_ready) == ("ERROR", "", False)
    running.delete_backup("doomed")
    running.delete_image("doomed")


@pytest.mark.parametrize("is_marked", [False, True])
@pytest.mark.rule("R05")
def test_a_creating_backup_is_not_restored(running: Tenant, is_marked: bool) -> None:
    """A backup that is CREATING, marked or not, is not restored, and the server is left alone."""
    name = f"unrestored-{is_marked}".lower()
    with running.unfinished_backup(name, "live") as answer:
        if not is_marked:
            running.cloud.execute(
                "csbs", "UPDATE backup SET image_ready = FALSE WHERE name = :name", name=running.backup(name)
            )
        with refused(
            "BACKUP_NOT_RESTORABLE", backup=running.backup(name), rule="R05", vendor_code="CSBS.4000"
        ):
            running.start_restore(name)
        assert state_of(running.get_server("live")) == "RUNNING"
    running.wait(answer.operation, "csbs")


@pytest.mark.rule("R06")
def test_the_strict_reading_makes_images_of_available_backups_alone(strict: Tenant) -> None:
    """With RECAST_CSBS_REQUIRE_AVAILABLE a marked CREATING backup makes no image and is not locked; an
    AVAILABLE one does.
    """
    strict.import_image("sys", "sys.qcow2")
    strict.create_server("strict")
    lock = lock_pb.LockBackupRequest(
        backup=strict.backup("strict"), image=strict.image("x"), request_id="strict"
    )
    with strict.unfinished_backup("strict", "strict") as answer:
        with refused("BACKUP_NOT_AVAILABLE", rule="R06", vendor_code="CSBS.8001"):
            strict.start_image("strict", "strict")
        with refused("BACKUP_NOT_AVAILABLE", state="CREATING"):
            strict.as_service("ims").locks.LockBackup(lock)
    strict.wait(answer.operation, "csbs")
    assert state_of(strict.create_image("strict", "strict")) == "NORMAL"


@pytest.mark.fault("FAULT-W07")
@pytest.mark.rule("R63")
def test_one_backup_of_a_server_at_a_time(running: Tenant) -> None:
    """While a server is being backed up another backup of it is refused, and so is an image straight from it
    (V16).
    """
    straight = {"backup": None, "server": running.server("live")}
    with ExitStack() as unfinished:
        with running.cloud.work_held("ims", "CreateImage"):
            early = running.start_image("straight", "", **straight).operation
            answer = unfinished.enter_context(running.unfinished_backup("single", "live"))
        wanted = {"backup": running.backup("single"), "vendor_code": "CSBS.1001"}
        with refused("SERVER_BEING_BACKED_UP", **wanted):
            running.start_backup("single-2", "live")
        with refused("SERVER_BEING_BACKED_UP", **wanted):
            running.start_image("straight-2", "", **straight)
        with refused("SERVER_BEING_BACKED_UP") as seen:
            running.wait(early, "ims")
        image = running.get_image("straight")
        assert (state_of(image), image.error.message) == ("ERROR", seen[0].text)
    running.wait(answer.operation, "csbs")


def test_the_disks_of_a_frozen_server_stay(running: Tenant) -> None:
    """A server that is being backed up is not deleted, gets no disk and loses none; it may be stopped and
    started.
    """
    running.create_server("frozen", data_disks=[ecs_pb.DataDiskSpec(size_bytes=1 << 20)])
    running.create_disk("late", 1 << 20)
    with running.unfinished_backup("frozen", "frozen") as answer:
        wanted = {
            "server": running.server("frozen"),
            "backup": running.backup("frozen"),
            "vendor_code": "Ecs.0073",
        }
        with refused("SERVER_FROZEN", **wanted):
            running.attach("late", "frozen")
        with refused("SERVER_FROZEN", **wanted):
            running.detach("frozen-data-1", "frozen")
        with refused("SERVER_FROZEN", **wanted):
            running.delete_server("frozen")
        assert running.get_server("frozen").frozen_for == running.backup("frozen")
        running.stop_server("frozen")
    running.wait(answer.operation, "csbs")
    assert running.get_server("frozen").frozen_for == ""
    running.attach("late", "frozen")


def test_two_servers_that_share_a_disk_are_backed_up_one_after_the_other(
    running: Tenant, sources: Path
) -> None:
    """A backup whose shared disk is frozen for another server's backup waits for that, and both end
    AVAILABLE.
    """
    running.create_disk("common", 1 << 20, shared=True)
    for name in ("share-a", "share-b"):
        running.create_server(name)
        running.attach("common", name)
    with running.unfinished_backup("share-a", "share-a") as first:
        second = running.start_backup("share-b", "share-b")
        waiting = until(lambda: running.metadata(second.operation, "csbs").retries, "a retry")
        assert waiting
        assert not running.get_backup("share-b").image_ready
    for answer in (first, second):
        running.wait(answer.operation, "csbs")
    assert file_digest(Path("/dev/null"), 1 << 20) == running.digest(running.disk("common"))
