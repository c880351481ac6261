"""A proxy of the environment is not used for the services of this machine."""

from typing import Any

import pytest

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.csbs.v1 import backup_service_pb2_grpc as csbs_grpc
from recast.rpc.channel import connect, proxy_options
from recast.rpc.identity import Caller

NAMES = ("http_proxy", "https_proxy", "grpc_proxy")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("FAULT-N02")
def test_a_proxy_is_not_used_for_loopback(service: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy in the environment that answers nobody, a call of a service on 127.0.0.1 is answered."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    service.handlers.given["GetBackup"] = lambda *_: csbs.GetBackupResponse()
    token = service.token(Caller("me", "demo", "user"))
    with connect(service.target, lambda: token, deadline_seconds=5) as channel:
        request = csbs.GetBackupRequest(name="projects/demo/backups/b")
        assert csbs_grpc.BackupServiceStub(channel).GetBackup(request) == csbs.GetBackupResponse()


@pytest.mark.parametrize(
    ("target", "is_local"),
    [
        ("127.0.0.1:7101", True),
        ("127.1.2.3:7101", True),
        ("localhost:7101", True),
        ("[::1]:7101", True),
        ("csbs:7101", False),
        ("128.0.0.1:7101", False),
        ("localhost.example:7101", False),
    ],
)
@pytest.mark.fault("FAULT-N02")
def test_other_hosts_are_reached_as_the_environment_says(target: str, is_local: bool) -> None:
    """Only loopback ignores the proxy."""
    assert bool(proxy_options(target)) is is_local
