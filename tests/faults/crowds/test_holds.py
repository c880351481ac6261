"""Start against image creation: a stopped source is held while its image is made, and freed however that
ends (R23).
"""

import math
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from google.longrunning import operations_pb2

from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images_pb
from tests.faults.crowds.crowd import insist, outcome_of
from tests.faults.crowds.replicas import Replicas
from tests.faults.crowds.tenants import MIB, make_tenant, start_server
from tests.harness import disks
from tests.harness.expectations import PATIENCE_SECONDS, state_of, until
from tests.harness.project import Tenant

_HELD = "SERVER_IN_IMAGE_CREATION"


@dataclass
class Starter:
    """Requests the start of a server again and again, from a thread, until it is started."""

    tenant: Tenant
    server: str
    seen: Counter[str] = field(default_factory=Counter)
    started: threading.Event = field(default_factory=threading.Event)
    given_up: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Starter":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.given_up.set()
        self._thread.join()

    def _run(self) -> None:
        until(lambda: self.given_up.is_set() or self._starts(), "the start", seconds=math.inf, pause=0.005)

    def _starts(self) -> bool:
        outcome = outcome_of(lambda: start_server(self.tenant, self.server))
        self.seen[outcome.reason] += 1
        if not outcome.refusal:
            self.started.set()
        return not outcome.refusal


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """One process a service."""
    with Replicas(tmp_path_factory.mktemp("holds"), lease_seconds=1.0) as running:
        yield running


@pytest.fixture(scope="module")
def tenant(replicas: Replicas) -> Tenant:
    """The project, with the stopped servers that images are made from; `bare` is not prepared."""
    made = make_tenant(replicas, replicas.root / "sources")
    disks.make_system_disk(made.sources / "bare.raw", 32 * MIB, 1 * MIB, "unprepared")
    made.import_image("bare", "bare.raw")
    made.create_server("bare", "bare", leave_stopped=True)
    return made


def begin(tenant: Tenant, image_id: str, server: str) -> operations_pb2.Operation:
    """Requests an image straight from a server; returns when the server is held."""
    request = images_pb.CreateImageRequest(
        parent=tenant.parent,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id),
        server=tenant.server(server),
        disclaimer_accepted=True,
    )
    operation = tenant.recast.images.CreateImage(request).operation
    until(lambda: tenant.get_server(server).image_holds, "the hold")
    return operation


def restart(replicas: Replicas, how: signal.Signals) -> None:
    """Ends IMS, and starts it again."""
    replicas.process("ims").signal(how)
    assert replicas.process("ims").wait(PATIENCE_SECONDS)
    replicas.run_again("ims")


ENDS = ("success", "failure", "cancel", "kill", "restart", "cancelled after a kill")


@pytest.mark.rule("R23")
@pytest.mark.parametrize("end", ENDS)
def test_a_source_starts_when_its_image_is_decided(
    replicas: Replicas, tenant: Tenant, end: str, figure: Callable[[str], None]
) -> None:
    """Every start is refused while the image is being made, and the first one after its end is not."""
    server, image_id = "bare" if end == "failure" else "idle", f"from-{end.replace(' ', '-')}"
    with tenant.cloud.chunks_held("csbs", "main"):  # the backup, and so the image, waits
        operation = begin(tenant, image_id, server)
        with Starter(tenant, server) as starter:
            until(lambda: starter.seen[_HELD] >= 20, "refusals")
            if "kill" in end or end == "restart":
                restart(replicas, signal.SIGTERM if end == "restart" else signal.SIGKILL)
                refused = starter.seen[_HELD]
                until(lambda: starter.seen[_HELD] >= refused + 20, "refusals after the restart")
            assert not starter.started.is_set()
        if "cancel" in end:
            insist(lambda: tenant.cancel(operation, "ims"))
    with Starter(tenant, server) as starter:
        ended = state_of(tenant.end(operation, "ims"))
        assert starter.started.wait(PATIENCE_SECONDS), "the server was not freed"
    wanted = {"failure": "FAILED", "cancel": "CANCELLED", "cancelled after a kill": "CANCELLED"}
    assert ended == wanted.get(end, "SUCCEEDED")
    assert starter.seen.keys() <= {"", _HELD}
    figure(f"{end}: {starter.seen[_HELD]} starts refused on its way")
    until(lambda: state_of(tenant.get_server(server)) == "RUNNING", "the start")
    assert not tenant.get_server(server).image_holds
    replicas.wait_until_idle()
    tenant.stop_server(server)
    assert replicas.problems() == []
