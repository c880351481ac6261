"""Cancelled work ends CANCELLED or with its result, and leaves nothing half done."""

from collections.abc import Callable
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf import message_factory

from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind, RemoteRefusal
from recast.longrunning.v1 import operation_metadata_pb2
from tests.harness.expectations import refused, state_of
from tests.harness.fresh_requests import CASES
from tests.harness.project import Tenant
from tests.harness.rpcs import RPCS, header_of

CANCELLED = operation_metadata_pb2.OPERATION_STATE_CANCELLED
SUCCEEDED = operation_metadata_pb2.OPERATION_STATE_SUCCEEDED
ReadState = Callable[[Tenant, str], str]


def _backup(tenant: Tenant, name: str) -> str:
    backup = tenant.get_backup(name)
    return f"{state_of(backup)} image={backup.image}"


def _new_backup(tenant: Tenant, name: str) -> str:
    listed = tenant.recast.backups.ListBackups(
        _listing(tenant, "Backups", f'server = "{tenant.server(name)}"')
    )
    frozen = tenant.get_server(name).frozen_for
    return f"{state_of(listed.backups[0])} {listed.backups[0].error.code} frozen={frozen}"


def _image(tenant: Tenant, name: str) -> str:
    return f"{state_of(tenant.get_image(name))} {tenant.get_image(name).uploaded_bytes}"


def _full_image(tenant: Tenant, name: str) -> str:
    listed = tenant.recast.images.ListImages(_listing(tenant, "Images", f'display_name = "{name}"'))
    return f"{state_of(listed.images[0])} image={tenant.get_backup(name).image}"


def _server(tenant: Tenant, name: str) -> str:
    return state_of(tenant.get_server(name))


def _disks(tenant: Tenant, name: str) -> str:
    folder = tenant.path(tenant.get_server(name).disks[0].disk).parent
    return f"{_server(tenant, name)} {folder.name in tenant.cloud.disk_folders()}"


def _loose(tenant: Tenant, name: str) -> str:
    listed = tenant.recast.disks.ListDisks(_listing(tenant, "Disks", f'display_name = "{name}"'))
    return f"{state_of(listed.disks[0])}"


def _places(tenant: Tenant, name: str) -> str:
    disk = tenant.get_disk(name)
    return f"{state_of(disk)} {len(disk.attachments)}"


def _gone(tenant: Tenant, name: str) -> str:
    readers: list[ReadState] = [_backup, _image, _server, lambda t, n: state_of(t.get_disk(n))]
    reasons = set()
    for read in readers:
        try:
            reasons.add(read(tenant, name))
        except RemoteRefusal as refusal:
            reasons.add(refusal.kind.name)
    # A backup's own case stands on a server of another name, so nothing of this name is left.
    return ",".join(sorted(reasons))


def _no_servers(tenant: Tenant, name: str) -> str:
    listed = tenant.recast.servers.ListServers(_listing(tenant, "Servers", f'display_name = "{name}"'))
    return str(len(listed.servers))


def _listing(tenant: Tenant, noun: str, text: str) -> Any:
    request = message_factory.GetMessageClass(RPCS[f"List{noun}"].method.input_type)
    return request(parent=tenant.parent, filter=text)


# The end of work that was cancelled before its first step, and the state of its resource then. A deletion and
# a thaw are decided when they are requested; an export of no disks has nothing to stop.
ENDS: dict[str, tuple[int, ReadState, str]] = {
    "CreateBackup": (CANCELLED, _new_backup, "ERROR 1 frozen="),
    "RestoreBackup": (CANCELLED, _backup, "AVAILABLE image="),
    "DeleteBackup": (SUCCEEDED, _gone, "NOT_FOUND"),
    "ImportImage": (CANCELLED, _image, "ERROR 0"),
    "CreateImage": (CANCELLED, _full_image, "ERROR image="),
    "DeleteImage": (SUCCEEDED, _gone, "NOT_FOUND"),
    "CreateServers": (CANCELLED, _no_servers, "0"),
    "DeleteServer": (SUCCEEDED, _gone, "NOT_FOUND"),
    "StartServer": (CANCELLED, _server, "STOPPED"),
    "StopServer": (CANCELLED, _server, "RUNNING"),
    "RebootServer": (CANCELLED, _server, "RUNNING"),
    "ChangeServerOs": (CANCELLED, _disks, "STOPPED True"),
    "ReinstallServerOs": (CANCELLED, _disks, "STOPPED True"),
    "CreateDisk": (CANCELLED, _loose, "ERROR"),
    "DeleteDisk": (SUCCEEDED, _gone, "NOT_FOUND"),
    "AttachDisk": (CANCELLED, _places, "AVAILABLE 0"),
    "DetachDisk": (CANCELLED, lambda t, n: _places(t, f"{n}-data-1"), "IN_USE 1"),
    "ExportDisks": (SUCCEEDED, _server, "STOPPED"),
    "ThawServer": (SUCCEEDED, _server, "STOPPED"),
    "RestoreDisks": (CANCELLED, _disks, "STOPPED True"),
}


def test_every_kind_of_work_has_an_end_here() -> None:
    """Every RPC that begins work has an entry in ENDS."""
    assert ENDS.keys() == {
        name for name, rpc in RPCS.items() if "operation" in rpc.method.output_type.fields_by_name
    }


@pytest.mark.parametrize("name", ENDS)
def test_work_that_is_cancelled_at_once_leaves_nothing(replayed: Tenant, name: str) -> None:
    """Work that is cancelled before its first step is undone, unless it was decided when it was requested."""
    rpc, own_id = RPCS[name], f"cancel-{name.lower()}"
    request: Any = CASES[name].make(replayed, own_id)
    if name == "CreateDisk":
        request.disk.display_name = own_id
    folders = replayed.cloud.disk_folders()
    # Recorded with the cancel: at any pace of the worker, its first check finds it.
    when = f"AFTER INSERT ON operation WHEN NEW.verb = '{name}' AND NEW.project = 'main'"
    with replayed.cloud.trigger(
        rpc.service, when, "UPDATE operation SET cancel_requested = TRUE WHERE id = NEW.id"
    ):
        if name == "ImportImage":
            response = replayed.recast.import_image(replayed.sources / "odd.raw", header_of(request))
        else:
            response = rpc.call(rpc.client(replayed), request)
        metadata = replayed.end(response.operation, rpc.service)
    end, read, wanted = ENDS[name]
    assert metadata.state == end
    assert metadata.cancel_requested
    assert read(replayed, own_id) == wanted
    assert replayed.cloud.disk_folders() <= folders
    if end == CANCELLED:
        with refused("CANCELLED", Kind.CANCELLED):
            replayed.wait(response.operation, rpc.service)


def test_a_restore_that_was_withdrawn_never_begins(replayed: Tenant) -> None:
    """A withdrawal that overtakes its restore leaves the server as it is when that arrives."""
    request: Any = CASES["RestoreDisks"].make(replayed, "withdrawn")
    request.request_id = "withdrawn"
    sources = replayed.as_service("csbs").sources
    before = replayed.get_server("withdrawn")
    request.withdraw = True
    assert not sources.RestoreDisks(request).HasField("operation")
    request.withdraw = False
    assert not sources.RestoreDisks(request).HasField("operation")
    assert replayed.get_server("withdrawn") == before


def test_a_restore_that_was_done_before_it_was_withdrawn_is_given(replayed: Tenant) -> None:
    """A withdrawal after the restore gives the restore with its result."""
    request: Any = CASES["RestoreDisks"].make(replayed, "too-late")
    request.request_id = "too-late"
    sources = replayed.as_service("csbs").sources
    begun = sources.RestoreDisks(request).operation
    replayed.as_service("csbs").wait(begun, "ecs")
    request.withdraw = True
    assert sources.RestoreDisks(request).operation.name == begun.name
    assert not replayed.metadata(begun, "ecs").cancel_requested


def test_a_batch_that_is_cancelled_is_whole_or_gone(main: Tenant) -> None:
    """A batch that is cancelled while it is made ends with all of its servers, or with none and no folder."""
    folders = main.cloud.disk_folders()
    answer = main.start_servers("hasty", count=5, data_disks=[ecs_pb.DataDiskSpec(size_bytes=512)])
    main.cancel(answer.operation, "ecs")
    metadata = main.end(answer.operation, "ecs")
    made = len(main.cloud.disk_folders() - folders)
    assert (metadata.state, made) in {(SUCCEEDED, 10), (CANCELLED, 0)}


def test_work_that_has_ended_is_not_cancelled_and_may_be_forgotten(main: Tenant) -> None:
    """Cancelling ended work changes nothing; its record can be deleted, that of running work cannot."""
    answer = main.start_servers("ended")
    before = main.wait(answer.operation, "ecs")
    main.cancel(answer.operation, "ecs")
    assert main.get_operation(answer.operation, "ecs") == before
    stub = main.recast.operations("ecs")
    stub.DeleteOperation(_named("DeleteOperationRequest", answer.operation.name))
    with refused("OPERATION_NOT_FOUND", Kind.NOT_FOUND, operation=answer.operation.name):
        main.get_operation(answer.operation, "ecs")
    with main.unfinished_backup("ended", "ended") as backup, refused("OPERATION_RUNNING"):
        main.recast.operations("csbs").DeleteOperation(
            _named("DeleteOperationRequest", backup.operation.name)
        )
    main.wait(backup.operation, "csbs")


@pytest.mark.rule("R61")
def test_another_projects_work_is_not_there(main: Tenant, tenant_of: Callable[[str], Tenant]) -> None:
    """The work of another project is neither read, waited for, cancelled nor forgotten, under its name or a
    like one.
    """
    stranger = tenant_of("stranger")
    answer = main.start_servers("private")
    main.wait(answer.operation, "ecs")
    stub = stranger.recast.operations("ecs")
    alike = answer.operation.name.replace("main", "stranger")
    for verb in ("Get", "Wait", "Cancel", "Delete"):
        call = getattr(stub, f"{verb}Operation")
        with refused("PROJECT_NOT_FOUND", Kind.NOT_FOUND):
            call(_named(f"{verb}OperationRequest", answer.operation.name))
        with refused("OPERATION_NOT_FOUND", Kind.NOT_FOUND):
            call(_named(f"{verb}OperationRequest", alike))
    listed = stub.ListOperations(_named("ListOperationsRequest", stranger.parent)).operations
    assert answer.operation.name not in {operation.name for operation in listed}


def _named(message: str, name: str) -> Any:
    return getattr(operations_pb2, message)(name=name)
