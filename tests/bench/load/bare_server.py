"""The limit of reads: a server like the services' own, whose handlers only hand out what they were given.

It is grpcio's synchronous server, with as many threads and the same message classes as the services, without
tokens and without a database. It is the peers of the measured service as well, so that what a peer costs is
the least that it can. Prints its port; ends when its input does.

python bare_server.py FOLDER; in the folder, serialized answers: get, list, lock, server, image.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from recast.csbs.v1 import backup_service_pb2 as backups
from recast.csbs.v1 import backup_service_pb2_grpc as backups_grpc
from recast.csbs.v1 import image_lock_service_pb2 as locks
from recast.csbs.v1 import image_lock_service_pb2_grpc as locks_grpc
from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.ecs.v1 import backup_source_service_pb2_grpc as sources_grpc
from recast.ims.v1 import provisioning_service_pb2 as provisioning
from recast.ims.v1 import provisioning_service_pb2_grpc as provisioning_grpc
from recast.rpc.limits import Limits


class Backups(backups_grpc.BackupServiceServicer):
    """The empty handlers of the two reads."""

    def __init__(self, folder: Path) -> None:
        self._get = backups.GetBackupResponse.FromString((folder / "get").read_bytes())
        self._list = backups.ListBackupsResponse.FromString((folder / "list").read_bytes())

    def GetBackup(self, request: Any, context: grpc.ServicerContext) -> backups.GetBackupResponse:
        """Always the same backup."""
        return self._get

    def ListBackups(self, request: Any, context: grpc.ServicerContext) -> backups.ListBackupsResponse:
        """Always the same page."""
        return self._list


class ImageLocks(locks_grpc.ImageLockServiceServicer):
    """The empty handler of the lock."""

    def __init__(self, folder: Path) -> None:
        self._lock = locks.LockBackupResponse.FromString((folder / "lock").read_bytes())

    def LockBackup(self, request: Any, context: grpc.ServicerContext) -> locks.LockBackupResponse:
        """Always the same lock."""
        return self._lock


class Sources(sources_grpc.BackupSourceServiceServicer):
    """ECS, for a backup that is being recorded: every server is there."""

    def __init__(self, folder: Path) -> None:
        self._described = (folder / "server").read_bytes()

    def DescribeServer(self, request: Any, context: grpc.ServicerContext) -> sources.DescribeServerResponse:
        """The same disks, under the name that was asked for."""
        answer = sources.DescribeServerResponse.FromString(self._described)
        answer.server.name = request.server
        return answer


class Images(provisioning_grpc.ProvisioningServiceServicer):
    """IMS, for servers that are being recorded: every image is there."""

    def __init__(self, folder: Path) -> None:
        self._resolved = provisioning.ResolveImageResponse.FromString((folder / "image").read_bytes())

    def ResolveImage(self, request: Any, context: grpc.ServicerContext) -> provisioning.ResolveImageResponse:
        """Always the same image."""
        return self._resolved


def main() -> None:
    """Serves until the standard input ends."""
    folder = Path(sys.argv[1])
    server = grpc.server(ThreadPoolExecutor(Limits().threads), options=[("grpc.so_reuseport", 0)])
    backups_grpc.add_BackupServiceServicer_to_server(Backups(folder), server)
    locks_grpc.add_ImageLockServiceServicer_to_server(ImageLocks(folder), server)
    sources_grpc.add_BackupSourceServiceServicer_to_server(Sources(folder), server)
    provisioning_grpc.add_ProvisioningServiceServicer_to_server(Images(folder), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
