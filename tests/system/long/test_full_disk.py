"""A whole installation on a file system that is full to the last byte."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from recast.client import Recast
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.doctor import Installation, examine
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_service_pb2
from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2, image_service_pb2
from recast.stack import LocalStack
from recast.stack.problems import StackProblem
from tests.demo import seed
from tests.harness.expectations import refused, until
from tests.harness.small_storage import MIB, fill, mounted_ext4

DEMO = "projects/demo"
pytestmark = pytest.mark.fault("FAULT-N03")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ext4 file system of 700 MiB."""
    base = tmp_path_factory.mktemp("full")
    folder = base / "mounted"
    folder.mkdir()
    with mounted_ext4(folder, base / "disk.raw", 700 * MIB):
        yield folder


def delete_backup(recast: Recast, backup: str) -> None:
    """Deletes a backup, and waits for the end of the work."""
    request = backup_service_pb2.DeleteBackupRequest(name=f"{DEMO}/backups/{backup}")
    recast.wait(recast.backups.DeleteBackup(request).operation, "csbs")


def names(recast: Recast) -> list[str]:
    """The backups."""
    request = backup_service_pb2.ListBackupsRequest(parent=DEMO)
    return [backup.name for backup in recast.backups.ListBackups(request).backups]


def test_a_full_disk_locks_no_owner_out(folder: Path, tmp_path: Path) -> None:
    """What takes space is refused by its reason; what frees space works, and a restart; then all heals."""
    root = folder / "stack"
    with LocalStack(root) as stack:
        recast = stack.client("demo", "operator")
        seed.seed(recast, tmp_path)
        others = [fill(folder, "other")]
        _what_takes_space_is_refused(recast)
        delete_backup(recast, "spare")
        request = server_service_pb2.DeleteServerRequest(name=f"{DEMO}/servers/idle", delete_data_disks=True)
        recast.wait(recast.servers.DeleteServer(request).operation, "ecs")
        assert names(recast) == [f"{DEMO}/backups/nightly"]
        others.append(fill(folder, "another"))
    others.append(fill(folder, "third"))
    with LocalStack(root) as stack:
        recast = stack.client("demo", "operator")
        image = image_service_pb2.DeleteImageRequest(name=f"{DEMO}/images/web-image", delete_backup=True)
        recast.wait(recast.images.DeleteImage(image).operation, "ims")
        assert names(recast) == []
        for other in others:
            other.unlink()
        backup = backup_pb2.Backup(server=f"{DEMO}/servers/web", display_name="after")
        made = backup_service_pb2.CreateBackupRequest(parent=DEMO, backup_id="after", backup=backup)
        recast.wait(recast.backups.CreateBackup(made).operation, "csbs")
        until(lambda: not examine(Installation.local(root)).in_progress, "the end of all work")
        assert examine(Installation.local(root), deep=True).problems == ()


def _what_takes_space_is_refused(recast: Recast) -> None:
    backup = backup_pb2.Backup(server=f"{DEMO}/servers/web", display_name="x")
    with refused("STORAGE_FULL", Kind.RESOURCE_EXHAUSTED):
        recast.backups.CreateBackup(backup_service_pb2.CreateBackupRequest(parent=DEMO, backup=backup))
    with refused("STORAGE_FULL", Kind.RESOURCE_EXHAUSTED):
        disk = disk_pb2.Disk(size_bytes=MIB)
        recast.disks.CreateDisk(disk_service_pb2.CreateDiskRequest(parent=DEMO, disk=disk))
    header = _header(128 * MIB)
    with pytest.raises(RemoteRefusal) as caught:
        recast.images.ImportImage(iter([image_service_pb2.ImportImageRequest(header=header)]))
    assert caught.value.reason in {"STORAGE_FULL", "NOT_ENOUGH_SPACE"}


def _header(size_bytes: int) -> image_service_pb2.ImportImageHeader:
    return image_service_pb2.ImportImageHeader(
        parent=DEMO,
        image=image_pb2.Image(display_name="x", kind=image_pb2.IMAGE_KIND_DATA_DISK),
        disk_format=image_pb2.DISK_FORMAT_RAW,
        size_bytes=size_bytes,
        disclaimer_accepted=True,
        request_id="x",
    )


def test_an_import_that_does_not_fit_leaves_no_bytes(folder: Path, tmp_path: Path) -> None:
    """An upload that would fill the storage is refused, and the bytes of it that arrived are dropped."""
    source = tmp_path / "random.raw"
    source.write_bytes(random.Random(1).randbytes(128 * MIB))
    with LocalStack(folder / "imports") as stack:
        recast = stack.client("demo", "operator")
        other = fill(folder, "other")
        os.truncate(other, other.stat().st_size - 61 * MIB)
        header = _header(source.stat().st_size)
        with refused("NOT_ENOUGH_SPACE", Kind.RESOURCE_EXHAUSTED):
            recast.import_image(source, header)
        assert [path.stat().st_size for path in (folder / "imports/data/ims-staging").iterdir()] == [0]
        other.unlink()
        recast.wait(recast.import_image(source, header).operation, "ims")


def test_a_service_that_cannot_start_says_that_the_disk_is_full(folder: Path) -> None:
    """Without a reserve, and without a byte, the error names the full storage."""
    other = fill(folder, "other")
    root = folder / "new"
    try:
        with pytest.raises((StackProblem, OSError)) as caught, LocalStack(root):
            pass
        assert "full" in str(caught.value) or "No space left" in str(caught.value)
    finally:
        other.unlink()
