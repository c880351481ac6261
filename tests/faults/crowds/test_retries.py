"""Every request that changes something, sent again: at once, across a restart, and after its first answer was
lost. One effect, one answer; another body under the same id is refused.

The RPCs come from the descriptors; requests about resources of their own from tests/system/fresh_requests.py.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from google.longrunning import operations_pb2

from recast.client import Service
from recast.ecs.v1 import backup_source_service_pb2 as sources_pb
from recast.ecs.v1 import image_source_service_pb2 as holds_pb
from recast.imagelock.v1 import image_lock_service_pb2 as locks_pb
from recast.ims.v1 import provisioning_service_pb2 as provisioning_pb
from recast.longrunning.v1.operation_metadata_pb2 import OPERATION_STATE_CANCELLED
from tests.faults.crowds.crowd import all_at_once, insist, outcome_of, reasons
from tests.faults.crowds.replicas import Replicas
from tests.faults.crowds.tenants import make_tenant
from tests.harness.fresh_requests import CASES
from tests.harness.project import Tenant
from tests.harness.rpcs import RPCS, header_of

# The possible effects of a request: rows that have a name, work, locks, freezes and places.
_TABLES: dict[Service, dict[str, str]] = {
    "csbs": {"backup": "name", "operation": "verb", "image_lock": "backup || state"},
    "ims": {"image": "name", "operation": "verb"},
    "ecs": {
        "server": "name",
        "disk": "role",
        "operation": "verb",
        "attachment": "server || disk",
        "freeze": "server || state",
    },
}
_TIMES = 4
# The leftovers of fresh_requests: locks and freezes without an image or a backup.
_LEFT = ("LOCK_WITHOUT_OWNER", "FREEZE_WITHOUT_WORK", "FREEZE_BACKUP_WRONG")


@dataclass(frozen=True)
class Stage:
    """One process a service, and a project as fresh_requests needs it."""

    replicas: Replicas
    tenant: Tenant

    def counts(self, service: Service) -> dict[str, list[str]]:
        """The rows of the service's database, sorted: the effect of a second request would be seen."""
        return {
            table: sorted(row[0] for row in self.replicas.rows(service, f"SELECT {column} FROM {table}"))
            for table, column in _TABLES[service].items()
        }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """On SQLite."""
    with Replicas(tmp_path_factory.mktemp("retries"), lease_seconds=1.0) as replicas:
        tenant = make_tenant(replicas, replicas.root / "sources")
        tenant.create_server("replayed", leave_stopped=True)
        yield Stage(replicas, tenant)


def request_of(stage: Stage, name: str, request_id: str) -> Any:
    """A request about resources of its own, which are there when it is given."""
    made = CASES[name].make(stage.tenant, request_id)
    header_of(made).request_id = request_id
    stage.replicas.wait_until_idle()
    return made


def send(stage: Stage, name: str, made: Any) -> Any:
    """Makes the call, until the service is there to answer it."""
    rpc = RPCS[name]
    if name == "ImportImage":  # with its bytes: the client goes on after a broken stream by itself
        return insist(lambda: stage.tenant.recast.import_image(stage.tenant.sources / "odd.raw", made.header))
    return insist(lambda: rpc.call(rpc.client(stage.tenant), made))


def check_other_body(stage: Stage, name: str, made: Any) -> None:
    """Another request under the same id is refused, where the id is a request's own."""
    case, rpc = CASES[name], RPCS[name]
    for changed, value in case.other.items():
        setattr(header_of(made), changed, value)
    again = outcome_of(lambda: rpc.call(rpc.client(stage.tenant), made))
    assert again.reason == case.reason


def test_every_rpc_that_may_be_retried_is_here() -> None:
    """For each RPC with a request id there is a case, and for each other that changes something a repeat."""
    assert CASES.keys() == {name for name, rpc in RPCS.items() if rpc.has("request_id")}
    reads = {name for name in RPCS if name.startswith(("Get", "List", "Describe", "Resolve", "Check"))}
    assert set(RPCS) - reads - CASES.keys() == REPEATED


@pytest.mark.parametrize("name", CASES)
def test_sent_at_once_it_has_one_effect(stage: Stage, name: str) -> None:
    """A request sent four times at once, and a fifth time later, has one effect and one answer."""
    rpc = RPCS[name]
    made = request_of(stage, name, f"at-once-{name.lower()}")
    work = stage.counts(rpc.service)["operation"].count(name)
    outcomes = all_at_once([partial(send, stage, name, made)] * _TIMES)
    # Bytes come by one stream at a time: the others are refused, and get the answer when they come again.
    assert reasons(outcomes).keys() <= ({"", "IMAGE_BUSY"} if name == "ImportImage" else {""})
    answers = [outcome.answer or send(stage, name, made) for outcome in outcomes]
    first = answers[0]
    assert answers == [first] * _TIMES
    stage.replicas.wait_until_idle()
    effects = stage.counts(rpc.service)
    assert effects["operation"].count(name) - work == ("operation" in first.DESCRIPTOR.fields_by_name)
    assert send(stage, name, made) == first
    stage.replicas.wait_until_idle()
    assert stage.counts(rpc.service) == effects
    check_other_body(stage, name, made)


@pytest.mark.parametrize("name", CASES)
def test_a_lost_answer_is_given_again(stage: Stage, name: str) -> None:
    """A request whose service is killed between its effect and its answer has one effect; the repeat after
    the restart gets its answer.
    """
    replicas, rpc = stage.replicas, RPCS[name]
    made = request_of(stage, name, f"lost-{name.lower()}")
    before = stage.counts(rpc.service)["operation"].count(name)
    # An upload commits at its beginning too; work of the same name only later.
    replicas.order(rpc.service, f"{name}:committed{' #2' if name == 'ImportImage' else ''}")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, stage, name, made)
        assert replicas.process(rpc.service).wait(60), "the point was not reached"
        replicas.disarm()
        replicas.run_again(rpc.service)
        first = answer.result(60)
    replicas.wait_until_idle()
    effects = stage.counts(rpc.service)
    assert effects["operation"].count(name) - before == ("operation" in first.DESCRIPTOR.fields_by_name)
    assert send(stage, name, made) == first
    replicas.wait_until_idle()
    assert stage.counts(rpc.service) == effects
    check_other_body(stage, name, made)


# RPCs with an effect and without a request id: their fields name the effect.

REPEATED = {"ConfirmLock", "PinImage", "UnpinImage", "FreezeServer", "HoldServer", "FreeServer"}


def repeats(stage: Stage) -> dict[str, Any]:
    """A request for each of them; each finds the effect of the one before."""
    tenant = stage.tenant
    server = tenant.create_server("repeated", leave_stopped=True).name
    backup, image = tenant.create_backup("repeated", "repeated").name, tenant.image("repeated")
    lock = locks_pb.LockBackupRequest(backup=backup, image=image, request_id="repeated")
    token = tenant.as_service("ims").locks.LockBackup(lock).lock.token
    pin = {"image": tenant.image("sys"), "pin_id": "repeated"}
    return {
        "ConfirmLock": locks_pb.ConfirmLockRequest(backup=backup, image=image, token=token),
        "PinImage": provisioning_pb.PinImageRequest(**pin, holder=server),
        "UnpinImage": provisioning_pb.UnpinImageRequest(**pin),
        "HoldServer": holds_pb.HoldServerRequest(server=server, image=image),
        "FreeServer": holds_pb.FreeServerRequest(server=server, image=image),
        "FreezeServer": sources_pb.FreezeServerRequest(server=server, freeze_id="repeated", backup=backup),
    }


def test_a_request_that_names_its_effect_may_be_repeated(stage: Stage) -> None:
    """A request without an id, sent four times at once and again after a restart, has one effect."""
    for name, made in repeats(stage).items():
        rpc = RPCS[name]
        call = partial(rpc.call, rpc.client(stage.tenant), made)
        outcomes = all_at_once([call] * _TIMES)
        assert reasons(outcomes) == {"": _TIMES}, name
        effects = stage.counts(rpc.service)
        answer = call()
        if name not in {"HoldServer"}:  # which answers with the server as it is
            assert [outcome.answer for outcome in outcomes] == [answer] * _TIMES, name
        assert stage.counts(rpc.service) == effects
    assert stage.replicas.value("ecs", "SELECT state FROM freeze WHERE freeze_id = 'repeated'") == "FROZEN"


def test_a_server_is_frozen_at_one_instant(stage: Stage) -> None:
    """Of freezes under one id at once each is answered with the same instant."""
    tenant = stage.tenant
    stub = tenant.as_service("csbs").sources
    server = tenant.create_server("instant", leave_stopped=True).name
    for number in range(10):
        freeze = {"server": server, "freeze_id": f"instant-{number}"}
        made = sources_pb.FreezeServerRequest(**freeze, backup=tenant.backup("instant"))
        outcomes = all_at_once([partial(stub.FreezeServer, made)] * _TIMES)
        assert reasons(outcomes) == {"": _TIMES}
        assert len({outcome.answer.freeze_time.ToNanoseconds() for outcome in outcomes}) == 1
        stub.ThawServer(sources_pb.ThawServerRequest(**freeze))
        stage.replicas.wait_until_idle()


def test_operations_are_cancelled_and_forgotten_once(stage: Stage) -> None:
    """A cancel that is repeated changes nothing more; of deletions at once one is done, and the rest find
    nothing.
    """
    tenant = stage.tenant
    stub = tenant.recast.operations("csbs")
    with tenant.unfinished_backup("forgotten", "replayed") as backup:
        cancel = operations_pb2.CancelOperationRequest(name=backup.operation.name)
        assert reasons(all_at_once([partial(stub.CancelOperation, cancel)] * _TIMES)) == {"": _TIMES}
        assert tenant.end(backup.operation, "csbs").state == OPERATION_STATE_CANCELLED
        stub.CancelOperation(cancel)
    forget = operations_pb2.DeleteOperationRequest(name=backup.operation.name)
    outcomes = all_at_once([partial(stub.DeleteOperation, forget)] * _TIMES)
    assert reasons(outcomes) == {"": 1, "OPERATION_NOT_FOUND": _TIMES - 1}


@pytest.mark.always
def test_nothing_is_left_over(stage: Stage) -> None:
    """After all repeats the doctor finds only the resources that the tests left."""
    named = {problem for problem in stage.replicas.problems() if not any(each in problem for each in _LEFT)}
    assert named == set()
