"""Several hosts: a batch is spread, work runs where the disks are, and waits for an unreachable host."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

import ecs.app
from recast.client import Recast, Settings
from recast.client.tokens import mint
from recast.ecs.v1 import disk_service_pb2, server_service_pb2
from recast.faults import Kind, RemoteRefusal
from recast.longrunning.v1.operation_metadata_pb2 import OperationState
from tests.harness.expectations import file_digest, refused, state_of, until
from tests.harness.project import Tenant

# So large that other writes meanwhile do not decide the placement of servers.
_LARGE = server_service_pb2.DataDiskSpec(size_bytes=100 << 30)


class Hosts:
    """A project of a cloud that has the host `local`, and `far`, which comes and goes."""

    def __init__(self, tenant: Tenant, folder: Path) -> None:
        self.tenant = tenant
        self.folder = folder
        self.app: ecs.app.App | None = None

    def come(self) -> None:
        """Starts the host `far`, with the disks that it had."""
        self.app = self.tenant.cloud.start_ecs(host="far", data_dir=self.folder, worker_threads=2)

    def go(self) -> None:
        """Stops it, long enough ago to be unreachable."""
        if self.app:
            self.app.stop()
            self.app = None
        self.tenant.cloud.execute("ecs", "UPDATE host SET seen = 1 WHERE name = 'far'")

    def batch(self, server_id: str, count: int, **options: Any) -> server_service_pb2.CreateServersResult:
        """Makes servers of the image `sys`; their outcomes."""
        operation = self.tenant.start_servers(server_id, count=count, **options).operation
        return self.tenant.result(operation, "ecs", server_service_pb2.CreateServersResult)

    def hosts_of(self, result: server_service_pb2.CreateServersResult) -> list[str]:
        """The host of each server of a batch."""
        return [self.tenant.get_server(each.server.rpartition("/")[2]).host for each in result.outcomes]


@pytest.fixture(scope="module")
def hosts(tenant_of: Callable[[str], Tenant], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Both hosts, and the image `sys`."""
    tenant = tenant_of("hosts")
    tenant.import_image("sys", "sys.qcow2")
    hosts = Hosts(tenant, tmp_path_factory.mktemp("far"))
    hosts.come()
    yield hosts
    hosts.go()


@pytest.fixture
def far_unreachable(hosts: Hosts) -> Iterator[Hosts]:
    """The host `far` is unreachable while the test runs, unless the test brings it back."""
    hosts.go()
    yield hosts
    if hosts.app is None:
        hosts.come()


def far_server(hosts: Hosts, server_id: str) -> str:
    """A server on the host `far`, with a data disk; gives its id."""
    hosts.batch(server_id, 1, host="far", data_disks=[server_service_pb2.DataDiskSpec(size_bytes=1 << 20)])
    return server_id


@pytest.mark.rule("R14", "R38")
def test_a_batch_is_spread_over_the_hosts(hosts: Hosts) -> None:
    """Servers of one request are made on both hosts, each with the image's bytes, and listed in the request's
    order.
    """

    result = hosts.batch("spread", 4, data_disks=[_LARGE])
    names = [outcome.server.rpartition("/")[2] for outcome in result.outcomes]
    assert names == ["spread-0000", "spread-0001", "spread-0002", "spread-0003"]
    placed = hosts.hosts_of(result)
    assert sorted(placed) == ["far", "far", "local", "local"]
    assert [outcome.host for outcome in result.outcomes] == placed
    assert [outcome.id.rpartition("-")[2] for outcome in result.outcomes] == ["0000", "0001", "0002", "0003"]
    tenant = hosts.tenant
    expected = file_digest(tenant.sources / "sys.raw")
    for name, host in zip(names, placed, strict=True):
        system = tenant.get_server(name).disks[0].disk
        assert tenant.digest(system) == expected
        assert tenant.path(system).is_relative_to(hosts.folder) is (host == "far")


def test_a_spread_batch_is_listed_once(hosts: Hosts) -> None:
    """The child operations of a batch on the hosts are not listed; its parts are the servers."""
    operation = hosts.tenant.start_servers("once", count=2, data_disks=[_LARGE]).operation
    hosts.tenant.wait(operation, "ecs")
    parts = hosts.tenant.metadata(operation, "ecs").parts
    assert [part.target for part in parts] == [hosts.tenant.server(f"once-000{number}") for number in (0, 1)]
    assert {OperationState.Name(part.state) for part in parts} == {"OPERATION_STATE_SUCCEEDED"}
    request = operations_pb2.ListOperationsRequest(
        name=hosts.tenant.parent, filter=f'target = "{hosts.tenant.server("once-0000")}"'
    )
    listed = hosts.tenant.recast.operations("ecs").ListOperations(request).operations
    assert [each.name for each in listed] == [operation.name]


@pytest.mark.rule("R13")
def test_a_server_of_another_host_is_backed_up_and_comes_back(hosts: Hosts) -> None:
    """A host that gets a freeze has it done by the host of the disks; backup, image, OS
    change, restore succeed.
    """
    tenant, name = hosts.tenant, far_server(hosts, "far-job")
    before = tenant.digests(name)
    tenant.create_backup("far-1", name)
    tenant.write(tenant.get_server(name).disks[1].disk, 0)
    changed = tenant.digests(name)
    second = tenant.create_backup("far-2", name)
    assert second.incremental
    tenant.create_image("far-image", "far-2")
    tenant.create_server("far-copy", "far-image", host="local")
    assert tenant.digests("far-copy") == changed
    tenant.stop_server(name)
    tenant.restore("far-1")
    assert tenant.digests(name) == before != changed
    request = server_service_pb2.ChangeServerOsRequest(name=tenant.server(name), image=tenant.image("sys"))
    tenant.wait(tenant.recast.servers.ChangeServerOs(request).operation, "ecs")
    assert tenant.digests(name) == before


def test_a_disk_is_attached_on_its_own_host_alone(hosts: Hosts) -> None:
    """A disk of one host is refused to a server of another, and both hosts are named; on its own host it is
    attached.
    """
    tenant, name = hosts.tenant, far_server(hosts, "far-attach")
    for host in ("local", "far"):
        request = disk_service_pb2.CreateDiskRequest(
            parent=tenant.parent, disk_id=f"loose-{host}", host=host, disk={"size_bytes": 1 << 20}
        )
        tenant.wait(tenant.recast.disks.CreateDisk(request).operation, "ecs")
    with refused("DISK_ON_OTHER_HOST", disk=tenant.disk("loose-local"), disk_host="local", host="far"):
        tenant.attach("loose-local", name)
    assert tenant.attach("loose-far", name).attachments[0].server == tenant.server(name)


def test_an_unknown_host_is_refused(hosts: Hosts) -> None:
    """The refusal of an unknown host names the known ones."""
    with refused("HOST_NOT_FOUND", Kind.NOT_FOUND, host="nowhere", known="far, local"):
        hosts.tenant.start_servers("nowhere", host="nowhere")


def test_new_servers_are_made_on_reachable_hosts(far_unreachable: Hosts) -> None:
    """An unreachable host gets none of a batch, and is refused by name."""
    assert far_unreachable.hosts_of(far_unreachable.batch("beside", 3)) == ["local"] * 3
    with refused("HOST_UNREACHABLE", Kind.UNAVAILABLE, host="far"):
        far_unreachable.tenant.start_servers("unreachable", host="far")


def test_work_waits_for_its_host(hosts: Hosts) -> None:
    """Work on a server of an unreachable host, and its backup, wait: they continue when the host is back."""
    tenant, name, idle = hosts.tenant, far_server(hosts, "far-waits"), far_server(hosts, "far-idle")
    hosts.go()
    stop = tenant.recast.servers.StopServer(server_service_pb2.StopServerRequest(name=tenant.server(name)))
    backup = tenant.start_backup("far-waits", idle)
    until(lambda: tenant.metadata(backup.operation, "csbs").retries > 0, "a try to freeze")
    assert tenant.metadata(backup.operation, "csbs").last_retry_reason.startswith("host far does not answer")
    assert state_of(tenant.get_server(name)) == "STOPPING"
    hosts.come()
    tenant.wait(stop.operation, "ecs")
    tenant.wait(backup.operation, "csbs")
    assert state_of(tenant.get_backup("far-waits")) == "AVAILABLE"


def test_a_cancelled_batch_ends_on_every_host(hosts: Hosts) -> None:
    """Cancelling a spread batch leaves nothing of it, on either host, once both are back."""
    tenant = hosts.tenant
    answer = tenant.start_servers("cancelled", count=4, data_disks=[_LARGE])
    hosts.go()  # the rest of its part waits there
    tenant.cancel(answer.operation, "ecs")
    hosts.come()
    ended = tenant.end(answer.operation, "ecs")
    there = {server.name for server in answer.servers} & {
        server.name
        for server in tenant.recast.servers.ListServers(
            server_service_pb2.ListServersRequest(parent=tenant.parent)
        ).servers
    }
    operation = tenant.get_operation(answer.operation, "ecs")
    result = server_service_pb2.CreateServersResult()
    operation.response.Unpack(result)
    made = {outcome.server for outcome in result.outcomes if not outcome.HasField("error")}
    assert there == made
    assert OperationState.Name(ended.state) in {"OPERATION_STATE_SUCCEEDED", "OPERATION_STATE_CANCELLED"}


class TestRoles:
    """A process that only answers, and one that only works."""

    @pytest.fixture
    def started(self, hosts: Hosts) -> Iterator[Callable[..., Recast]]:
        """Starts a process of ECS, and gives a client of it."""
        apps = []

        def start(**settings: Any) -> Recast:
            app = hosts.tenant.cloud.start_ecs(**settings)
            apps.append(app)
            ends = dict(hosts.tenant.cloud.endpoints) | {"ecs": f"127.0.0.1:{app.port}"}
            keys = hosts.tenant.cloud.root / "keys"
            chosen = Settings(endpoints=ends, project=hosts.tenant.project, keys=keys)
            return Recast.from_settings(chosen, mint(chosen, hosts.tenant.project))

        yield start
        for app in apps:
            app.stop()

    def test_a_process_without_disks_answers_for_all(
        self, hosts: Hosts, started: Callable[..., Recast]
    ) -> None:
        """The role `api` takes requests, and the hosts do the work."""
        with started(role="api") as client:
            request = server_service_pb2.CreateServersRequest(
                parent=hosts.tenant.parent,
                server_id="by-api",
                server={"display_name": "by-api"},
                image=hosts.tenant.image("sys"),
                host="far",
            )
            client.wait(client.servers.CreateServers(request).operation, "ecs", timeout_seconds=60)
        assert state_of(hosts.tenant.get_server("by-api")) == "RUNNING"

    def test_a_worker_answers_no_calls(
        self, hosts: Hosts, started: Callable[..., Recast], tmp_path: Path
    ) -> None:
        """The role `worker` runs recorded work, and answers no call but for its health."""
        with started(role="worker", host="third", data_dir=tmp_path) as client:
            assert hosts.hosts_of(hosts.batch("third", 1, host="third")) == ["third"]
            hosts.tenant.delete_server("third")
            with pytest.raises(RemoteRefusal, match="Method not found"):
                client.servers.GetServer(server_service_pb2.GetServerRequest(name=hosts.tenant.server("x")))
        hosts.tenant.cloud.execute("ecs", "DELETE FROM host WHERE name = 'third'")
