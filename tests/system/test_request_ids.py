"""Request ids: a repeat gets the first answer, another body under the same id is refused.

The RPCs with a `request_id` come from the descriptors: a new one without a case here fails.
"""

from collections.abc import Callable
from typing import Any

import pytest

from recast.ecs.v1 import disk_pb2, server_pb2
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import server_service_pb2 as servers
from tests.harness.expectations import refused
from tests.harness.fresh_requests import CASES
from tests.harness.project import Tenant
from tests.harness.rpcs import RPCS, header_of


def test_every_rpc_with_a_request_id_has_a_case() -> None:
    """For each request that has a request id there is a case."""
    assert CASES.keys() == {name for name, rpc in RPCS.items() if rpc.has("request_id")}


@pytest.mark.parametrize("name", CASES)
def test_a_repeat_gets_the_first_answer_and_another_body_is_refused(replayed: Tenant, name: str) -> None:
    """The same request again is answered as before, also after its work has ended; another one under its id
    is refused.
    """
    rpc, case = RPCS[name], CASES[name]
    client = rpc.client(replayed)
    made = case.make(replayed, f"replay-{name.lower()}")
    request: Any = header_of(made)
    request.request_id = f"replay-{name.lower()}"
    if name == "ImportImage":  # the first of all is not a repeat: it brings the bytes
        replayed.recast.import_image(replayed.sources / "odd.raw", request)
    first = rpc.call(client, made)
    assert rpc.call(client, made) == first
    if "operation" in first.DESCRIPTOR.fields_by_name:
        replayed.end(first.operation, rpc.service)
        assert replayed.metadata(first.operation, rpc.service).end_time.seconds
        assert rpc.call(client, made) == first
    for changed, value in case.other.items():
        setattr(request, changed, value)
    if case.reason:
        with refused(case.reason, case.kind):
            rpc.call(client, made)
    else:
        assert rpc.call(client, made) == first


def test_a_request_id_is_a_projects_and_an_rpcs_own(
    replayed: Tenant, tenant_of: Callable[[str], Tenant]
) -> None:
    """The same id serves another project, and another RPC of the same project, anew."""
    other = tenant_of("other-ids")
    for tenant in (replayed, other):
        for number in (1, 2):
            request = disks.CreateDiskRequest(
                parent=tenant.parent, disk=disk_pb2.Disk(size_bytes=512), request_id=f"shared-{number}"
            )
            tenant.wait(tenant.recast.disks.CreateDisk(request).operation, "ecs")
    listed = disks.ListDisksRequest(parent=other.parent)
    assert len(other.recast.disks.ListDisks(listed).disks) == 2
    request = servers.UpdateServerRequest(
        server=server_pb2.Server(name=replayed.server("replayed"), description="x"), request_id="shared-1"
    )
    assert replayed.recast.servers.UpdateServer(request).server.description == "x"
