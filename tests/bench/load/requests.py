"""The requests of the writing clients."""

from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.ecs.v1 import server_pb2, server_service_pb2
from recast.imagelock.v1 import image_lock_service_pb2
from tests.bench.load import rows

PROJECT = f"projects/{rows.PROJECT}"


def lock(run: str, number: int) -> image_lock_service_pb2.LockBackupRequest:
    """Locks another backup each time."""
    return image_lock_service_pb2.LockBackupRequest(
        backup=rows.available(number), image=f"{PROJECT}/images/i-{number:07}", request_id=f"{run}-{number}"
    )


def create_backup(run: str, number: int) -> backups.CreateBackupRequest:
    """Records a backup of another server each time."""
    backup = backup_pb2.Backup(server=f"{PROJECT}/servers/{run}-{number}")
    return backups.CreateBackupRequest(parent=PROJECT, backup=backup, request_id=f"{run}-{number}")


def create_servers(run: str, number: int) -> server_service_pb2.CreateServersRequest:
    """Records one more server from an image."""
    return server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server=server_pb2.Server(display_name=f"{run}-{number}"),
        image=f"{PROJECT}/images/any",
        request_id=f"{run}-{number}",
    )
