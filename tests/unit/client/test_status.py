"""`recast status`: which service answers where."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


@pytest.fixture
def ecs() -> Iterator[str]:
    """The endpoint of a server that has the health of ECS."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    states = health.HealthServicer()
    for name in ("", "recast.ecs.v1.ServerService"):
        states.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


@pytest.mark.fault("FAULT-N18")
def test_another_service_at_an_endpoint_is_named(ecs: str, run: Any) -> None:
    """Where the endpoint of CSBS is ECS's, the status says so, and fails."""
    ends = {f"RECAST_{each}_ENDPOINT": ecs for each in ("CSBS", "ECS")} | {
        "RECAST_IMS_ENDPOINT": "127.0.0.1:1"
    }
    found = run("status", environment=ends)
    assert found.code == 5
    assert [line.split(maxsplit=2)[2] for line in found.out.splitlines()[1:]] == [
        "ANOTHER SERVICE",
        "UNREACHABLE (UNAVAILABLE)",
        "SERVING",
    ]
