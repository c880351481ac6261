"""Every fault of a container, in the middle of every kind of long work."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from google.longrunning import operations_pb2

from recast.client import Service
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.ecs.v1 import server_pb2
from recast.ecs.v1 import server_service_pb2 as ecs
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims
from recast.testing import ServiceContainer
from recast.testing.containers import OwnedContainer
from tests.e2e.breaking import FAULTS, caught, endure, wake
from tests.e2e.container_project import PATIENCE_SECONDS, Guest, again, digest_of, lists_of
from tests.e2e.examining import problems_of
from tests.harness.expectations import state_of, until

# Longer than a lease (2 s), so that work can be taken over.
LASTS_SECONDS = 4.0


@dataclass(frozen=True)
class World:
    """A project with a server, its backup, and images, that goes from fault to fault."""

    guest: Guest
    originals: list[str]

    @classmethod
    def made(cls, guest: Guest) -> "World":
        """Makes the resources that the works begin with."""
        guest.import_image("sys", "sys.raw")
        guest.import_image("old", "old.raw")
        guest.import_image("media", "media.raw", kind="DATA_DISK")
        guest.create_server("web", data_disks=[ecs.DataDiskSpec(image=guest.image("media"))])
        guest.create_backup("base", "web")
        guest.create_image("base", "base")
        return cls(guest, [digest_of(guest.sources / name) for name in ("sys.raw", "media.raw")])

    # The request of each work, and the check after its success. `id` is the work's own.

    def backup(self, id: str) -> Callable[[], Any]:  # noqa: A002  # as the contracts call it
        """A whole backup of the server."""
        request = csbs.CreateBackupRequest(
            parent=self.guest.parent,
            backup_id=id,
            backup=backup_pb2.Backup(server=self.guest.server("web")),
            full=True,
            request_id=id,
        )
        return lambda: self.guest.recast.backups.CreateBackup(request)

    def check_backup(self, id: str) -> None:  # noqa: A002
        """A server made of the backup has the source's bytes."""
        assert state_of(self.guest.get_backup(id)) == "AVAILABLE"
        self.guest.create_image(id, id)
        self.check_image(id)

    def image(self, id: str) -> Callable[[], Any]:  # noqa: A002
        """An image of a backup of its own: a backup has one image at most."""
        self.guest.create_backup(id, "web")
        request = ims.CreateImageRequest(
            parent=self.guest.parent,
            image_id=id,
            image=image_pb2.Image(display_name=id),
            backup=self.guest.backup(id),
            disclaimer_accepted=True,
            request_id=id,
        )
        return lambda: self.guest.recast.images.CreateImage(request)

    def check_image(self, id: str) -> None:  # noqa: A002
        """A server made of the image has the source's bytes."""
        assert state_of(self.guest.get_image(id)) == "NORMAL"
        self.guest.create_server(id, id)
        self.check_servers(id)

    def servers(self, id: str) -> Callable[[], Any]:  # noqa: A002
        """Four servers."""
        request = ecs.CreateServersRequest(
            parent=self.guest.parent,
            server_id=id,
            server=server_pb2.Server(display_name=id),
            image=self.guest.image("base"),
            count=4,
            request_id=id,
        )
        return lambda: self.guest.recast.servers.CreateServers(request)

    def check_servers(self, id: str) -> None:  # noqa: A002
        """Each has the source's bytes; and goes."""
        names = [each.name.rpartition("/")[2] for each in lists_of(self.guest)["servers"]]
        made = [name for name in names if name.startswith(id)]
        assert made
        for name in made:
            assert self.guest.digests(name) == self.originals
            self.guest.delete_server(name)

    def os_change(self, id: str) -> Callable[[], Any]:  # noqa: A002
        """Another system disk for a server that is stopped, on the host that is broken."""
        host = "a" if self.guest.stack.is_scaled else "local"
        self.guest.create_server(id, "base", leave_stopped=True, host=host)
        request = ecs.ChangeServerOsRequest(
            name=self.guest.server(id), image=self.guest.image("old"), request_id=id
        )
        return lambda: self.guest.recast.servers.ChangeServerOs(request)

    def check_os_change(self, id: str) -> None:  # noqa: A002
        """The system disk is the new image's, the data disk as it was."""
        wanted = [digest_of(self.guest.sources / "old.raw"), self.originals[1]]
        assert self.guest.digests(id) == wanted
        self.guest.delete_server(id)


@dataclass(frozen=True)
class Kind:
    """A kind of work: its service, the step at which it is caught, its request and its check."""

    service: Service
    point: str
    begin: Callable[[World, str], Callable[[], Any]]
    check: Callable[[World, str], None]


WORKS = {
    "backup": Kind(
        "csbs", "CreateBackup/export:begin:answered ExportDisks", World.backup, World.check_backup
    ),
    "image": Kind("ims", "CreateImage:answered LockBackup", World.image, World.check_image),
    "provisioning": Kind("ecs", "CreateServers/disks:create.built", World.servers, World.check_servers),
    "os-change": Kind("ecs", "ChangeServerOs:create.durable", World.os_change, World.check_os_change),
}


def suffer(
    world: World,
    kind: Kind,
    name: str,
    fault: str,
    broken_by: Callable[[ServiceContainer], OwnedContainer],
    endured: Callable[[World, ServiceContainer, Callable[[], Any]], None],
) -> None:
    """Work of a kind, caught in the middle of a step by its container; then the container of `broken_by` is
    broken.

    `endured` returns when the fault has lasted long enough. The result of the work is checked in the end.
    """
    request_work = kind.begin(world, name)
    with ThreadPoolExecutor(1) as pool:
        begun: list[Any] = []
        caught_one = caught(
            world.guest.stack,
            kind.service,
            kind.point,
            lambda: begun.append(pool.submit(again, request_work)),
        )
        with FAULTS[fault](broken_by(caught_one)):
            wake(caught_one)
            endured(world, caught_one, request_work)
        healed = time.monotonic()
        operation = begun[0].result(PATIENCE_SECONDS).operation
        world.guest.wait(operation, kind.service)
        assert time.monotonic() - healed < PATIENCE_SECONDS
    kind.check(world, name)


class FaultSuite:
    """Subclass it with a `world`."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> World:
        """The project that suffers them."""
        raise NotImplementedError

    @pytest.mark.timeout(240)
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("work", WORKS)
    def test_work_ends_well_after_a_fault(self, world: World, work: str, fault: str) -> None:
        """Work whose container is broken in the middle of a step ends within a minute of its healing, and is
        whole.

        Where there is another replica, it ends before.
        """
        suffer(world, WORKS[work], f"{work}-{fault}", fault, lambda victim: victim, self._endure)

    def _endure(self, world: World, victim: ServiceContainer, request_work: Callable[[], Any]) -> None:
        """Lets the fault last; where there is another replica, until that has done the work."""
        others = [each for each in world.guest.stack.of(victim.service) if each is not victim]
        if not others or victim.service == "ecs":
            endure(LASTS_SECONDS)
            return
        # Requested again under its request id, of the others alone, it is the same work.
        with others[0].client(world.guest.project) as other:
            operations = other.operations(victim.service)
            name = again(request_work).operation.name
            request = operations_pb2.GetOperationRequest(name=name)
            until(lambda: operations.GetOperation(request).done, f"the end of {name}", pause=0.1)

    @pytest.mark.always
    def test_the_world_is_whole_after_all(self, world: World) -> None:
        """After all faults no work is left, and databases, stores and disks are without a problem."""
        for service in ("csbs", "ims", "ecs"):
            world.guest.wait_until_idle(service)
        assert problems_of(world.guest.stack) == []
