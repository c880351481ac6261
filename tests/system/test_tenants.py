"""Another project's resources are no different from absent ones: each RPC, and each name in its request."""

from collections.abc import Callable
from typing import Any

import pytest
from google.longrunning import operations_pb2

from recast.client import SERVICES
from recast.faults import RemoteRefusal
from tests.harness.fuzzing import NameField, name_fields
from tests.harness.project import Tenant
from tests.harness.rpcs import RPCS, header_of, own_everything, requests


@pytest.fixture(scope="session")
def neighbour(tenant_of: Callable[[str], Tenant]) -> Tenant:
    """Another project, with an image, a server, a disk and a backup, each with the id `own`."""
    tenant = tenant_of("neighbour")
    own_everything(tenant)
    return tenant


@pytest.mark.parametrize("name", RPCS)
@pytest.mark.rule("R48", "R61")
def test_a_foreign_resource_is_answered_like_an_absent_one(
    stage: Tenant, neighbour: Tenant, name: str
) -> None:
    """A name of another project gets one answer, whether the resource exists, or the project itself does."""
    for field in name_fields(requests(stage)[name]):
        existing = _answer(stage, name, field, neighbour.parent, "own")
        assert _answer(stage, name, field, neighbour.parent, "gone") == existing, field
        assert _answer(stage, name, field, "projects/nowhere", "own") == existing, field


@pytest.mark.parametrize("name", RPCS)
@pytest.mark.rule("R61")
@pytest.mark.fault("FAULT-ONE-PROJECT")
def test_every_name_of_another_project_is_refused(stage: Tenant, neighbour: Tenant, name: str) -> None:
    """No RPC accepts a name of another project, in any field of its request."""
    for field in name_fields(requests(stage)[name]):
        code, *_ = _answer(stage, name, field, neighbour.parent, "own")
        assert code in {"NOT_FOUND", "INVALID_ARGUMENT"}, field


def _answer(stage: Tenant, name: str, field: NameField, project: str, resource_id: str) -> tuple[str, ...]:
    """The code, reason, text and facts of the answer, without the name itself."""
    foreign = f"{project}/{field.collection}/{resource_id}" if field.collection else project
    request: Any = requests(stage)[name]
    field.put(request, foreign)
    if RPCS[name].has("validate_only"):
        header_of(request).validate_only = True
    try:
        RPCS[name].call(RPCS[name].client(stage), request)
    except RemoteRefusal as refusal:
        parts = (refusal.kind.name, refusal.reason, refusal.text, str(sorted(refusal.facts.items())))
        return tuple(part.replace(foreign, "NAME").replace(project, "PROJECT") for part in parts)
    return ("OK",)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("method", ["GetOperation", "CancelOperation", "DeleteOperation", "WaitOperation"])
@pytest.mark.rule("R61")
def test_a_foreign_operation_is_answered_like_an_absent_one(
    stage: Tenant, neighbour: Tenant, service: Any, method: str
) -> None:
    """An operation of another project gets the same answer whether it exists or not."""
    listing = operations_pb2.ListOperationsRequest(name=neighbour.parent, page_size=1)
    [existing] = neighbour.recast.operations(service).ListOperations(listing).operations
    answers = set()
    for operation in (
        existing.name,
        f"{neighbour.parent}/operations/gone",
        "projects/nowhere/operations/gone",
    ):
        request = getattr(operations_pb2, f"{method}Request")(name=operation)
        with pytest.raises(RemoteRefusal) as caught:
            getattr(stage.recast.operations(service), method)(request)
        project = operation.partition("/operations")[0]
        answers.add(
            (caught.value.kind.name, caught.value.reason, caught.value.text.replace(project, "PROJECT"))
        )
    assert len(answers) == 1, answers
