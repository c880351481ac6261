"""Thousands of calls that are held open take nothing from others: health and reads are answered meanwhile."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recast.client import Service
from recast.csbs.v1 import backup_service_pb2 as backups_pb
from tests.faults.crowds.held_calls import Metadata, Open, half_sent, holding, reflection, upload, wait, watch
from tests.faults.crowds.replicas import Replicas
from tests.faults.crowds.tenants import make_tenant
from tests.harness.expectations import until
from tests.harness.project import Tenant

_CALLS = 2_000
_UPLOADS = 50
_ROUNDS = 100
_BOUND_SECONDS = 5.0  # generous: an answer is required; the figures have its time
_KINDS = ("half-sent", "half-sent without a token", "reflection", "watch", "wait")


@dataclass(frozen=True)
class Scene:
    """The services, the tenant of the calls that are answered, and the tenant that holds calls."""

    replicas: Replicas
    tenant: Tenant
    holder: Tenant
    metadata: Metadata
    operation: str
    """Work of the holder at CSBS that does not end."""

    def kind(self, name: str, service: Service) -> Open:
        """One kind of held call at a service."""
        method = {
            "csbs": "recast.csbs.v1.BackupService/GetBackup",
            "ims": "recast.ims.v1.ImageService/GetImage",
        }[service]
        return {
            "half-sent": half_sent(method, self.metadata),
            "half-sent without a token": half_sent(method),
            "reflection": reflection(),
            "watch": watch(),
            "wait": wait(self.operation, self.metadata),
        }[name]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One process of each service. The holder is a project of its own, at the same address."""
    root = tmp_path_factory.mktemp("held")
    with Replicas(root) as replicas:
        tenant = make_tenant(replicas, root / "sources")
        tenant.create_backup("nightly", "idle")
        holder = Tenant(replicas, "holder", tenant.sources)  # type: ignore[arg-type]
        holder.import_image("sys", "sys.raw")
        holder.create_server("idle", leave_stopped=True)
        metadata = [("authorization", f"Bearer {replicas.token('holder')}")]
        with holder.unfinished_backup("held", "idle") as backup:
            yield Scene(replicas, tenant, holder, metadata, backup.operation.name)


def _answers(scene: Scene, service: Service) -> tuple[list[float], list[float]]:
    """The durations of each health check, and of each read of the other tenant, in milliseconds."""
    health, reads = [], []
    with grpc.insecure_channel(scene.replicas.targets[service]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for _ in range(_ROUNDS):
            begun = time.monotonic()
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_BOUND_SECONDS)
            health.append((time.monotonic() - begun) * 1000)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            begun = time.monotonic()
            if service == "csbs":
                assert scene.tenant.get_backup("nightly").name
            else:
                assert scene.tenant.get_image("sys").name
            reads.append((time.monotonic() - begun) * 1000)
    return health, reads


def _figures(health: Sequence[float], reads: Sequence[float]) -> str:
    return ", ".join(
        f"{name} median {statistics.median(values):.1f} ms, worst {max(values):.1f} ms"
        for name, values in (("health", health), ("reads", reads))
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("service", "kinds"),
    [
        *[("csbs", [kind]) for kind in _KINDS],
        *[("ims", [kind]) for kind in _KINDS if kind != "wait"],
        ("csbs", [*reversed(_KINDS)]),  # half-sent calls last: they are held for 5 s
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value).replace(" ", "-"),
)
def test_held_calls_stop_no_other_call(
    scene: Scene, service: Service, kinds: list[str], figure: Callable[[str], None]
) -> None:
    """While 2,000 calls of a kind are held open, or of every kind, health and another tenant are answered."""
    target = scene.replicas.targets[service]
    with holding(target, [scene.kind(kind, service) for kind in kinds], _CALLS) as held:
        before = held.open
        health, reads = _answers(scene, service)
        figure(f"{before} held, then {held.open}; ended {dict(held.ended)}; {_figures(health, reads)}")
    assert max(health) < _BOUND_SECONDS * 1000
    if kinds in (["reflection"], ["watch"]):
        assert before == _CALLS


@pytest.mark.timeout(240)
def test_idle_uploads_stop_no_other_call(scene: Scene, figure: Callable[[str], None]) -> None:
    """While a tenant has 50 idle uploads, IMS answers health and another tenant; four of them are held."""
    numbers = itertools.count()
    path = scene.holder.sources / "sys.raw"
    kind = upload(lambda: scene.holder.header(f"idle-{next(numbers)}", path), scene.metadata)
    with holding(scene.replicas.targets["ims"], [kind], _UPLOADS) as held:
        until(lambda: held.open == 4, "the refusal of all others")
        health, reads = _answers(scene, "ims")
        figure(f"{held.open} uploads held; ended {dict(held.ended)}; {_figures(health, reads)}")
    assert max(health) < _BOUND_SECONDS * 1000


@pytest.mark.timeout(240)
def test_nothing_is_left_of_held_calls(scene: Scene) -> None:
    """Calls that were held and given up leave a server that works as before."""
    request = backups_pb.ListBackupsRequest(parent=scene.tenant.parent)
    assert scene.tenant.recast.backups.ListBackups(request).backups
