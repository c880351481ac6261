"""Authorization of calls: tokens, roles and subjects."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.csbs.v1 import backup_service_pb2_grpc as csbs_grpc
from recast.faults import ProjectNotFound, RemoteRefusal
from recast.imagelock.v1 import image_lock_service_pb2 as locks
from recast.imagelock.v1 import image_lock_service_pb2_grpc as locks_grpc
from recast.rpc.call import current_caller, enter_project
from recast.rpc.identity import Caller, Signer
from tests.unit.rpc.conftest import Handlers, Service, make_server

NAME = "projects/demo/backups/nightly"
IMAGE = "projects/demo/images/web"
ME = Caller("me", "demo", "user")
GET = csbs.GetBackupRequest(name=NAME)


def stranger_s(key_id: str) -> Callable[[Any], str]:
    """A token signed with an untrusted key, under a trusted key's name."""
    key = ec.generate_private_key(ec.SECP256R1())
    return lambda _: Signer(key, key_id).token(ME, now=time.time(), lifetime_seconds=60)


def claiming(**claims: object) -> Callable[[Any], str]:
    """A token made with the people's key, with other claims, or without some."""

    def make(service: Any) -> str:
        whole = {
            "iss": "recast",
            "aud": "recast",
            "sub": "me",
            "project": "demo",
            "role": "user",
            "exp": int(time.time() + 60),
        }
        key = serialization.load_pem_private_key((service.keys / "people.pem").read_bytes(), password=None)
        present = {key: value for key, value in (whole | claims).items() if value is not None}
        return jwt.encode(present, key, algorithm="ES256", headers={"kid": "people"})

    return make


def unsigned(service: Any) -> str:
    """A token with the algorithm `none`."""
    return jwt.encode({"sub": "me"}, None, algorithm="none", headers={"kid": "people"})


def symmetric(service: Any) -> str:
    """A token signed with a public secret: the public key's file."""
    secret = (service.keys / "trusted.json").read_text().replace("kty", "")
    return jwt.encode({"sub": "me"}, secret, algorithm="HS256", headers={"kid": "people"})


def tampered(service: Any) -> str:
    """A good token with another one's claims."""
    head, _, signature = service.token(ME).split(".")
    _, claims, _ = service.token(Caller("me", "other", "operator")).split(".")
    return f"{head}.{claims}.{signature}"


def refused(service: Any, header: str | None) -> tuple[grpc.StatusCode, str, str]:
    """The code, reason and domain that a call with this header gets."""
    stub = csbs_grpc.BackupServiceStub(service.plain())
    metadata = [] if header is None else [("authorization", header)]
    with pytest.raises(grpc.RpcError) as error:
        stub.GetBackup(GET, metadata=metadata, timeout=10)
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(error.value).details[0].Unpack(info)
    return error.value.code(), info.reason, info.domain


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer ..",
        "Basic bWU6bWU=",
        "eyJ.eyJ.x",
        ".",
    ],
)
def test_a_call_without_a_token_is_refused(service: Any, header: str | None) -> None:
    """A call whose header holds no token is UNAUTHENTICATED, and its handler is not reached."""
    assert refused(service, header) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", "test.recast")
    assert service.handlers.calls == []


@pytest.mark.parametrize(
    "make",
    [
        lambda service: service.token(ME, now=time.time() - 100),
        stranger_s("people"),
        stranger_s("unknown"),
        stranger_s(""),
        claiming(aud="another"),
        claiming(iss="another"),
        claiming(exp=None),
        claiming(sub=None),
        claiming(project=None),
        claiming(role=None),
        claiming(role="service"),
        claiming(role="god"),
        unsigned,
        symmetric,
        tampered,
        lambda service: service.token(Caller("me", "demo", "operator"), "ims"),
        lambda service: service.token(Caller("ims", "demo", "operator"), "ims"),
        lambda service: service.token(Caller("csbs", "demo", "service"), "ims"),
    ],
    ids=[
        "expired",
        "forged",
        "unknown key",
        "no key",
        "other audience",
        "other issuer",
        "no end",
        "no subject",
        "no project",
        "no role",
        "people's key for a service",
        "unknown role",
        "unsigned",
        "symmetric",
        "tampered",
        "service's key for an operator",
        "service's key for itself as operator",
        "service's key for another service",
    ],
)
def test_a_token_that_cannot_be_trusted_is_refused(service: Any, make: Callable[[Any], str]) -> None:
    """A token that is expired, forged, or claims more than its key may is UNAUTHENTICATED."""
    assert refused(service, f"Bearer {make(service)}") == (
        grpc.StatusCode.UNAUTHENTICATED,
        "TOKEN_INVALID",
        "test.recast",
    )
    assert service.handlers.calls == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_token_is_let_in(service: Any, scheme: str) -> None:
    """A call with a good token reaches its handler, which gets the caller; the scheme has any case."""
    callers: list[Caller] = []

    def handle(_request: object, _context: object) -> csbs.GetBackupResponse:
        callers.append(current_caller())
        return csbs.GetBackupResponse()

    service.handlers.given["GetBackup"] = handle
    stub = csbs_grpc.BackupServiceStub(service.plain())
    stub.GetBackup(GET, metadata=[("authorization", f"{scheme} {service.token(ME)}")])
    assert callers == [ME]


def test_a_clock_that_is_ahead_does_no_harm(service: Any) -> None:
    """A token whose maker's clock is some seconds ahead is trusted."""
    service.backups(service.token(ME, now=time.time() + 3)).GetBackup(GET)
    assert service.handlers.calls == ["GetBackup"]


@pytest.mark.parametrize(
    ("caller", "key", "may"),
    [
        (Caller("me", "demo", "user"), "people", False),
        (Caller("me", "demo", "operator"), "people", False),
        (Caller("csbs", "demo", "service"), "csbs", False),
        (Caller("ims", "demo", "service"), "ims", True),
    ],
    ids=["user", "operator", "wrong service", "right service"],
)
def test_a_service_s_method_is_for_that_service(service: Any, caller: Caller, key: str, may: bool) -> None:
    """A method for one service is refused to every other caller, of any role."""
    stub = locks_grpc.ImageLockServiceStub(service.channel(service.token(caller, key)))
    request = locks.ConfirmLockRequest(backup=NAME, image=IMAGE, token=1)
    service.handlers.given["ConfirmLock"] = lambda *_: locks.ConfirmLockResponse()
    if may:
        stub.ConfirmLock(request)
        return
    with pytest.raises(RemoteRefusal) as refusal:
        stub.ConfirmLock(request)
    assert refusal.value.reason == "ROLE_NOT_ALLOWED"
    assert refusal.value.facts["allowed"] == "service (ims)"


def test_a_method_s_own_rule_wins(service: Any) -> None:
    """A method with a rule of its own is not opened by its service's rule."""
    request = csbs.ListBackupsRequest(parent="projects/demo")
    with pytest.raises(RemoteRefusal, match="is for operator"):
        service.backups().ListBackups(request)
    service.backups(service.token(Caller("me", "demo", "operator"))).ListBackups(request)
    assert service.handlers.calls == ["ListBackups"]


@pytest.mark.rule("R61")
def test_another_project_is_not_there(service: Any) -> None:
    """A project that is not the caller's is NOT_FOUND for it."""

    def handle(_request: object, _context: object) -> csbs.GetBackupResponse:
        enter_project("demo")
        enter_project("other")
        return csbs.GetBackupResponse()

    service.handlers.given["GetBackup"] = handle
    with pytest.raises(RemoteRefusal) as refusal:
        service.backups().GetBackup(GET)
    assert refusal.value.reason == ProjectNotFound.reason
    assert refusal.value.facts["project"] == "projects/other"


def test_health_needs_no_token(service: Any) -> None:
    """The health of the server and of each of its services is public."""
    stub = health_pb2_grpc.HealthStub(service.plain())
    for name in ("", "recast.csbs.v1.BackupService", "recast.ecs.v1.ServerService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_log_of_a_refused_call_names_no_earlier_caller(service: Any, logs: list[Any]) -> None:
    """A call without a token is logged without the subject and project that its thread served before."""
    for _ in range(60):
        service.backups().GetBackup(GET)
    logs.clear()
    for _ in range(20):
        refused(service, None)
    assert {(entry.get("subject"), entry.get("project")) for entry in logs} <= {("", "")}


@pytest.mark.fault("FAULT-LOG-RATE")
def test_calls_without_a_token_are_one_line(keys: Path, logs: list[Any]) -> None:
    """Of many calls without a valid token, whatever is wrong with it, the first of each reason is logged."""
    running = make_server(Handlers(), keys)
    running.start()
    service = Service(f"127.0.0.1:{running.port}", Handlers(), keys)
    before = counted_refusals()
    for header in [None, "Bearer no.real.token", f"Bearer {service.token(ME, now=0.0)}"] * 10:
        refused(service, header)
    running.stop(0)
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("refused", "TOKEN_INVALID")]
    assert counted_refusals() - before == 30


def counted_refusals() -> float:
    """The calls of GetBackup that were UNAUTHENTICATED, by the metrics."""
    labels = {"method": "/recast.csbs.v1.BackupService/GetBackup", "code": "UNAUTHENTICATED"}
    return REGISTRY.get_sample_value("recast_rpc_calls_total", labels) or 0.0


@pytest.mark.fault("FAULT-LOG-RATE")
def test_a_verified_caller_s_refusals_are_all_logged(service: Any, logs: list[Any]) -> None:
    """A call with a valid token has a line of its own, with its caller."""
    token = service.token(Caller("ecs", "demo", "service"), key="ecs")
    for _ in range(3):
        refused(service, f"Bearer {token}")
    assert [entry["subject"] for entry in logs if entry["event"] == "refused"] == ["ecs"] * 3


@pytest.mark.fault("FAULT-TOKENS")
def test_a_repeated_authorization_is_refused(service: Any) -> None:
    """A call with two `authorization` headers is refused, whatever they hold: proxies choose differently."""
    good = f"Bearer {service.token(ME)}"
    with grpc.insecure_channel(service.target) as channel:
        stub = csbs_grpc.BackupServiceStub(channel)
        for headers in ([good, good], [good, "Bearer x"], ["Basic x", good]):
            with pytest.raises(grpc.RpcError) as refused:
                stub.GetBackup(GET, metadata=[("authorization", each) for each in headers])
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "more than one `authorization`" in refused.value.details()
