"""Callers that do not stop: the outcomes of their calls, with times."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from recast.client import Recast
from recast.csbs.v1 import backup_service_pb2 as backups_pb
from recast.ecs.v1 import disk_pb2
from recast.ecs.v1 import disk_service_pb2 as disks_pb
from recast.ecs.v1 import server_service_pb2 as servers_pb
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images_pb
from tests.faults.crowds.crowd import Outcome, outcome_of
from tests.faults.crowds.replicas import Replicas
from tests.harness.project import Tenant

_PAUSE_SECONDS = 0.03  # under load, but not so that starting a service takes for ever
Call = Callable[[Recast, int], Any]


@dataclass(frozen=True)
class Made:
    """A call that was made; times by `time.monotonic`."""

    begun: float
    ended: float
    outcome: Outcome


@dataclass
class Load:
    """Threads, each with a client of its own, that make calls in turn until the end of the block."""

    replicas: Replicas
    calls: Sequence[Call]
    threads: int = 6
    made: list[Made] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __enter__(self) -> "Load":
        self._running = [threading.Thread(target=self._run, args=(index,)) for index in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._running:
            thread.join()

    def _run(self, index: int) -> None:
        with self.replicas.new_client("main") as client:
            for call in itertools.islice(itertools.cycle(self.calls), index, None):
                number, begun = next(self._numbers), time.monotonic()
                outcome = outcome_of(lambda call=call, number=number: call(client, number))
                self.made.append(Made(begun, time.monotonic(), outcome))
                if self._over.wait(_PAUSE_SECONDS):
                    return

    @property
    def failed(self) -> list[Made]:
        """The calls that were not answered."""
        return [made for made in self.made if made.outcome.refusal]


def calls_on(tenant: Tenant, prefix: str) -> list[Call]:
    """Calls of every service: reads, lists, changes of texts, and a disk that is made."""
    web, sys_image, parent = tenant.server("web"), tenant.image("sys"), tenant.parent

    def create_disk(client: Recast, number: int) -> Any:
        disk = disk_pb2.Disk(size_bytes=512)
        name = f"{prefix}-{number}"
        request = disks_pb.CreateDiskRequest(parent=parent, disk_id=name, disk=disk, request_id=name)
        return client.disks.CreateDisk(request)

    def update_image(client: Recast, number: int) -> Any:
        image = image_pb2.Image(name=sys_image, description=f"{prefix}-{number}")
        request = images_pb.UpdateImageRequest(image=image, request_id=f"{prefix}-{number}")
        return client.images.UpdateImage(request)

    return [
        lambda client, _: client.servers.GetServer(servers_pb.GetServerRequest(name=web)),
        lambda client, _: client.disks.ListDisks(disks_pb.ListDisksRequest(parent=parent)),
        create_disk,
        lambda client, _: client.backups.ListBackups(backups_pb.ListBackupsRequest(parent=parent)),
        lambda client, _: client.images.GetImage(images_pb.GetImageRequest(name=sys_image)),
        update_image,
    ]


def wait_for(name: str) -> Call:
    """A wait for work of CSBS that does not end by itself."""
    request = operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=2))
    return lambda client, _: client.operations("csbs").WaitOperation(request)
