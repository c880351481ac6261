"""The cost of making an image and a batch of servers, at any size.

Prints JSON: milliseconds inside the service (from the operation's own times) for images of a 1 GiB and of a
100 GiB sparse backup, interleaved; and the cost of each further server of a batch, in milliseconds and in
bytes of the image's data.
"""

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from google.longrunning import operations_pb2

from recast.client import Recast, metadata_of
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import disk_service_pb2, server_pb2, server_service_pb2
from recast.ims.v1 import image_pb2, image_service_pb2
from recast.stack import LocalStack
from tests.harness import disks  # the demo is a folder of programs, not a package

PROJECT = "projects/bench"
GIB, MIB = 1 << 30, 1 << 20


def measure(rounds: int = 12, batches: int = 8) -> dict[str, object]:
    """Runs everything in one stack of local processes under a temporary folder."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder) / "stack") as stack,
        stack.client("bench", "operator") as recast,
    ):
        source = Path(folder) / "system.raw"
        disks.make_system_disk(source, 512 * MIB, 64 * MIB)
        _import(recast, source)
        for name, size in (("small", GIB), ("large", 100 * GIB)):
            _make_server(recast, name, size)
            _wait(recast, "csbs", lambda name=name: _backup(recast, name))  # type: ignore[misc]
        return {"create_image": _images(recast, rounds), "batch": _batches(recast, batches)}


def _images(recast: Recast, rounds: int) -> dict[str, object]:
    taken: dict[str, list[float]] = {"small": [], "large": []}
    for number in range(rounds):
        for name in ("small", "large"):
            image = f"{PROJECT}/images/{name}-{number}"
            request = image_service_pb2.CreateImageRequest(
                parent=PROJECT,
                image_id=f"{name}-{number}",
                image=image_pb2.Image(display_name=name),
                backup=f"{PROJECT}/backups/{name}",
                disclaimer_accepted=True,
            )
            done = _wait(recast, "ims", lambda request=request: recast.images.CreateImage(request).operation)  # type: ignore[misc]
            taken[name].append(_milliseconds(done))
            delete = image_service_pb2.DeleteImageRequest(name=image)
            _wait(recast, "ims", lambda delete=delete: recast.images.DeleteImage(delete).operation)  # type: ignore[misc]
    small, large = (statistics.median(taken[name]) for name in ("small", "large"))
    return {
        "rounds": rounds,
        "backup_1_gib_ms": round(small, 1),
        "backup_100_gib_ms": round(large, 1),
        "ratio": round(large / small, 3),
    }


def _batches(recast: Recast, batches: int) -> dict[str, object]:
    request = image_service_pb2.CreateImageRequest(
        parent=PROJECT,
        image_id="batch",
        image=image_pb2.Image(display_name="batch"),
        backup=f"{PROJECT}/backups/small",
        disclaimer_accepted=True,
    )
    _wait(recast, "ims", lambda: recast.images.CreateImage(request).operation)
    first = _milliseconds(_servers(recast, "first", 1))
    ones, tens = [], []
    for number in range(batches):
        ones.append(_milliseconds(_servers(recast, f"one-{number}", 1)))
        tens.append(_milliseconds(_servers(recast, f"ten-{number}", 10)))
    disk_name = f"{PROJECT}/disks/ten-0-0005-system"
    added = recast.disks.GetDisk(disk_service_pb2.GetDiskRequest(name=disk_name)).disk.allocated_bytes
    backup = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/small")
    image_bytes = sum(disk.data_bytes for disk in recast.backups.GetBackup(backup).backup.disks)
    return {
        "batches": batches,
        "first_server_on_the_host_ms": round(first, 1),
        "batch_of_1_ms": round(statistics.median(ones), 1),
        "batch_of_10_ms": round(statistics.median(tens), 1),
        "each_further_server_ms": round((statistics.median(tens) - statistics.median(ones)) / 9, 2),
        "each_further_server_bytes": added,
        "image_data_bytes": image_bytes,
        "each_further_server_share": round(added / image_bytes, 5),
    }


def _servers(recast: Recast, server_id: str, count: int) -> operations_pb2.Operation:
    request = server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server_id=server_id,
        server=server_pb2.Server(display_name=server_id),
        count=count,
        image=f"{PROJECT}/images/batch",
    )
    return _wait(recast, "ecs", lambda: recast.servers.CreateServers(request).operation)


def _make_server(recast: Recast, server_id: str, size_bytes: int) -> None:
    request = server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server_id=server_id,
        server=server_pb2.Server(display_name=server_id),
        image=f"{PROJECT}/images/system",
        system_disk=server_service_pb2.SystemDiskSpec(size_bytes=size_bytes),
    )
    _wait(recast, "ecs", lambda: recast.servers.CreateServers(request).operation)


def _backup(recast: Recast, name: str) -> operations_pb2.Operation:
    request = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT, backup_id=name, backup=backup_pb2.Backup(server=f"{PROJECT}/servers/{name}")
    )
    operation: operations_pb2.Operation = recast.backups.CreateBackup(request).operation
    return operation


def _import(recast: Recast, path: Path) -> None:
    header = image_service_pb2.ImportImageHeader(
        parent=PROJECT,
        image_id="system",
        image=image_pb2.Image(display_name="system", kind=image_pb2.IMAGE_KIND_SYSTEM_DISK),
        disk_format=image_pb2.DISK_FORMAT_RAW,
        size_bytes=path.stat().st_size,
        disclaimer_accepted=True,
        request_id="system",
    )
    _wait(recast, "ims", lambda: recast.import_image(path, header).operation)


def _wait(
    recast: Recast, service: str, begin: Callable[[], operations_pb2.Operation]
) -> operations_pb2.Operation:
    return recast.wait(begin(), service)  # type: ignore[arg-type]


def _milliseconds(operation: operations_pb2.Operation) -> float:
    """From the moment the work was recorded to its end, by the service's own clock."""
    metadata = metadata_of(operation)
    return (metadata.end_time.ToNanoseconds() - metadata.create_time.ToNanoseconds()) / 1e6


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
