"""The peers of the measured service: each call is answered at once, with the messages in a folder.

`python -m tests.bench.load.peer FOLDER`, with the serialized answers `server` and `image` in the folder.
Prints its port; ends when its input does.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.ecs.v1 import backup_source_service_pb2_grpc as sources_grpc
from recast.ims.v1 import provisioning_service_pb2 as provisioning
from recast.ims.v1 import provisioning_service_pb2_grpc as provisioning_grpc


class Sources(sources_grpc.BackupSourceServiceServicer):
    """ECS, for a backup that is being recorded: every server is there."""

    def __init__(self, folder: Path) -> None:
        self._described = (folder / "server").read_bytes()

    def DescribeServer(self, request: Any, context: grpc.ServicerContext) -> sources.DescribeServerResponse:
        """The same disks, under the name of the request."""
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
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    sources_grpc.add_BackupSourceServiceServicer_to_server(Sources(folder), server)
    provisioning_grpc.add_ProvisioningServiceServicer_to_server(Images(folder), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
