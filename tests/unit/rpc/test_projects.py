"""The resources of one request are of one project, the caller's: by one rule over the descriptors."""

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.faults import Kind, ProjectNotFound, RemoteRefusal
from recast.imagelock.v1 import image_lock_service_pb2 as locks
from recast.imagelock.v1 import image_lock_service_pb2_grpc as locks_grpc
from recast.ims.v1 import image_service_pb2 as ims
from recast.rpc.channel import connect
from recast.rpc.field_rules import check_projects
from recast.rpc.identity import Caller
from tests.unit.rpc.test_field_rules import REQUESTS, TEXTS, with_text

# The texts of requests that are no names of resources. A new field is one or the other: by its name here,
# or by the refusal of another project's name in it.
NO_NAMES = {"description", "detail", "display_name", "filter", "os_name", "remedy", "server_display_name"}
MINE = "projects/mine/servers/web"


def is_a_name(field: FieldDescriptor) -> bool:
    """Whether the field may name a resource."""
    return field.name not in NO_NAMES


def in_form(field: FieldDescriptor, project: str) -> str:
    """A text that names the project in this field."""
    return project if field.name == "project" else f"projects/{project}/servers/web"


@pytest.mark.rule("R61")
@pytest.mark.fault("FAULT-ONE-PROJECT")
def test_another_projects_resource_is_refused_in_every_field_of_every_request() -> None:
    """A name of another project in any field of any request, nested and repeated, is PROJECT_NOT_FOUND."""
    passed = []
    for name, path in TEXTS:
        if is_a_name(path[-1]):
            request, field = with_text(REQUESTS[name], path, in_form(path[-1], "other"))
            if refused_project(request) != "projects/other":
                passed.append(f"{name}: {field}")
    assert passed == []


def refused_project(request: Message) -> str | None:
    """The project for which a request of a caller of `mine` is refused; None if it is not refused."""
    try:
        check_projects(request, "mine")
    except ProjectNotFound as refused:
        return refused.facts["project"]
    return None


def test_the_callers_own_resources_are_taken_in_every_field() -> None:
    """A name of the caller's project in any field of any request is no reason to refuse it."""
    for name, path in TEXTS:
        request, _ = with_text(REQUESTS[name], path, in_form(path[-1], "mine"))
        check_projects(request, "mine")


@pytest.mark.parametrize(
    "text", ["projects/other", "projects/other/", "projects//servers/web", "projects/other/a/b/c/d"]
)
@pytest.mark.fault("FAULT-ONE-PROJECT")
def test_a_name_of_any_collection_is_one(text: str) -> None:
    """The rule goes by the project alone: a collection or a form that nobody knows is refused as well."""
    if text == "projects//servers/web":  # of no project: the field's own rule decides
        check_projects(ims.CreateImageRequest(server=text), "mine")
        return
    with pytest.raises(ProjectNotFound):
        check_projects(ims.CreateImageRequest(server=text), "mine")


def test_what_people_write_is_no_name() -> None:
    """A display name or a filter may look like a resource name of another project."""
    request = csbs.CreateBackupRequest(parent="projects/mine")
    request.backup.server = MINE
    request.backup.display_name = request.backup.description = "projects/other/servers/web"
    check_projects(request, "mine")
    check_projects(csbs.ListBackupsRequest(parent="projects/mine", filter="projects/other/x"), "mine")


def _store(project: str) -> content_pb2.ContentStore:
    return content_pb2.ContentStore(url="file:///store", project=project, key=bytes(32))


@pytest.mark.parametrize(
    "request_",
    [
        locks.LockBackupRequest(
            backup="projects/mine/backups/b", image="projects/other/images/i", request_id="x"
        ),
        sources.FreezeServerRequest(server=MINE, backup="projects/other/backups/b", freeze_id="f"),
        sources.ThawServerRequest(server=MINE, sealed_backup="projects/other/backups/b", freeze_id="f"),
        sources.ExportDisksRequest(server=MINE, store=_store("other"), freeze_id="f"),
        sources.ExportDisksRequest(
            server=MINE,
            store=_store("mine"),
            freeze_id="f",
            disks=[
                sources.ExportDisk(disk="projects/mine/disks/d", index_id="i"),
                sources.ExportDisk(disk="projects/other/disks/d", index_id="i"),
            ],
        ),
        sources.RestoreDisksRequest(server=MINE, content=content_pb2.Content(store=_store("other"))),
    ],
    ids=["lock", "freeze", "thaw", "store", "second disk", "store of a content"],
)
@pytest.mark.fault("FAULT-ONE-PROJECT")
def test_a_services_key_names_no_other_project(request_: Any) -> None:
    """What a service's key could name of another project before is refused."""
    with pytest.raises(ProjectNotFound):
        check_projects(request_, "mine")


@pytest.mark.fault("FAULT-ONE-PROJECT")
def test_the_server_refuses_before_the_handler(service: Any) -> None:
    """The server applies the rule to a call: its handler is not called."""
    token = service.token(Caller("ims", "demo", "service"), key="ims")
    stub = locks_grpc.ImageLockServiceStub(connect(service.target, lambda: token))
    request = locks.ConfirmLockRequest(
        backup="projects/demo/backups/b", image="projects/other/images/i", token=1
    )
    with pytest.raises(RemoteRefusal) as refused:
        stub.ConfirmLock(request)
    assert (refused.value.kind, refused.value.reason) == (Kind.NOT_FOUND, "PROJECT_NOT_FOUND")
    assert service.handlers.calls == []
