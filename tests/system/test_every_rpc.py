"""What holds for every RPC of its shape. The RPCs come from the descriptors: a new one without a case fails
here.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format

from recast.client import Recast
from recast.faults import Kind, RemoteRefusal
from tests.harness.expectations import refused
from tests.harness.project import Tenant
from tests.harness.rpcs import ACCESS, PRINCIPALS, RPCS, Rpc, client_of, header_of, requests

# Of these nothing has to be there: they list, end what may have ended, or begin with nothing but a project.
NEEDS_NOTHING = {
    "CheckImageEligibility",
    "GetDisclaimer",
    "ListBackups",
    "ListImages",
    "ListServers",
    "ListDisks",
    "ReleaseLock",
    "UnpinImage",
    "ThawServer",
    "FreeServer",
    "ImportImage",
}


def test_every_rpc_has_a_request_here(stage: Tenant) -> None:
    """For each RPC of the contracts there is a request, and for each service it is said who may call it."""
    assert requests(stage).keys() == RPCS.keys()
    services = {rpc.method.containing_service.full_name for rpc in RPCS.values()}
    assert services == {name for name in ACCESS if "/" not in name}


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if rpc.has("validate_only")])
def test_validate_only_answers_and_changes_nothing(stage: Tenant, name: str) -> None:
    """With validate_only a request that is in order is answered, and no row of any service is written."""
    request = requests(stage)[name]
    header_of(request).validate_only = True
    before = rows_of(stage)
    RPCS[name].call(RPCS[name].client(stage), request)
    assert rows_of(stage) == before


@pytest.mark.parametrize("name", RPCS)
@pytest.mark.rule("R48", "R61")
def test_another_projects_resources_are_not_there(
    stage: Tenant, tenant_of: Callable[[str], Tenant], name: str
) -> None:
    """A caller of another project gets NOT_FOUND from every RPC, and nothing happens."""
    before = rows_of(stage)
    with refused("PROJECT_NOT_FOUND", Kind.NOT_FOUND, project=stage.parent):
        RPCS[name].call(RPCS[name].client(tenant_of("stranger")), requests(stage)[name])
    assert rows_of(stage) == before


@pytest.mark.parametrize("name", [name for name in RPCS if name not in NEEDS_NOTHING])
@pytest.mark.rule("R61")
def test_what_is_not_in_the_project_is_not_found(tenant_of: Callable[[str], Tenant], name: str) -> None:
    """The same names in one's own project, where nothing is, are NOT_FOUND as well."""
    empty = tenant_of("empty")
    with pytest.raises(RemoteRefusal) as caught:
        RPCS[name].call(RPCS[name].client(empty), requests(empty)[name])
    assert caught.value.kind is Kind.NOT_FOUND, caught.value


@pytest.mark.parametrize("name", sorted(NEEDS_NOTHING - {"ImportImage"}))
def test_what_needs_nothing_is_answered_in_an_empty_project(
    tenant_of: Callable[[str], Tenant], name: str
) -> None:
    """Listing nothing, and ending what is not there, are no errors."""
    empty = tenant_of("empty")
    answer = RPCS[name].call(RPCS[name].client(empty), requests(empty)[name])
    if name.startswith("List"):
        assert answer == type(answer)()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("CreateBackup", {"backup": {"server": "servers/run"}}),
        ("RestoreBackup", {"name": "backups/own", "server": "servers/run"}),
        ("CreateImage", {"backup": "backups/free"}),
        ("CreateImage", {"backup": "", "server": "servers/run"}),
        ("CreateServers", {"image": "images/whole"}),
        ("CreateServers", {"image": "images/own", "data_disks": [{"image": "images/logs"}]}),
        ("ChangeServerOs", {"name": "servers/own", "image": "images/whole"}),
        ("CreateDisk", {"image": "images/logs"}),
        ("AttachDisk", {"name": "disks/own", "server": "servers/run"}),
        ("DetachDisk", {"name": "disks/own", "server": "servers/run"}),
    ],
)
@pytest.mark.rule("R48", "R61")
def test_another_projects_resource_is_not_used(
    stage: Tenant, tenant_of: Callable[[str], Tenant], name: str, changes: dict[str, Any]
) -> None:
    """A request within one's own project that refers to a resource of another's does not find it."""
    thief = tenant_of("thief")
    if name in {"CreateServers", "ChangeServerOs", "AttachDisk", "DetachDisk", "RestoreBackup"}:
        own_everything(thief)
    text = json.dumps(changes).replace('"servers/run', f'"{stage.parent}/servers/run')
    for foreign in ("backups/free", "images/whole", "images/logs"):
        text = text.replace(f'"{foreign}', f'"{stage.parent}/{foreign}')
    for noun in ("backups", "images", "servers", "disks"):
        text = text.replace(f'"{noun}/own', f'"{thief.parent}/{noun}/own')
    request = requests(thief)[name]
    if name == "CreateServers":
        request.ClearField("image")
    json_format.Parse(text, request)
    with refused("PROJECT_NOT_FOUND", Kind.NOT_FOUND, project=stage.parent):
        RPCS[name].call(RPCS[name].client(thief), request)


def own_everything(tenant: Tenant) -> None:
    """Makes, once, the project's own image, stopped server, disk and backup, each with the id `own`."""
    try:
        tenant.get_backup("own")
    except RemoteRefusal:
        tenant.import_image("own", "old.raw")
        tenant.create_server("own", "own", leave_stopped=True)
        tenant.create_disk("own", 512)
        tenant.create_backup("own", "own")


@pytest.mark.parametrize("name", RPCS)
def test_only_those_who_may_call(stage: Tenant, name: str) -> None:
    """A caller whose role or subject may not call an RPC is refused, whatever it asks."""
    for principal in set(PRINCIPALS) - RPCS[name].allowed:
        with refused("ROLE_NOT_ALLOWED", Kind.PERMISSION_DENIED):
            RPCS[name].call(client_of(stage, principal), requests(stage)[name])


@pytest.mark.parametrize("name", ["ListBackups", "ListImages", "ListServers", "GetBackupContent", "PinImage"])
@pytest.mark.parametrize("token", ["", "no.real.token"])
def test_without_a_token_that_is_trusted_nobody_calls(stage: Tenant, name: str, token: str) -> None:
    """A call without a token, or with one that nobody signed, is UNAUTHENTICATED."""
    with (
        Recast(**stage.cloud.endpoints, token=token) as stranger,
        refused("TOKEN_INVALID", Kind.UNAUTHENTICATED),
    ):
        RPCS[name].call(stranger, requests(stage)[name])


def names_in(rpc: Rpc) -> list[str]:
    """The fields of a request that are resource names."""
    fields = [field.name for field in rpc.method.input_type.fields if field.type == field.TYPE_STRING]
    return [field for field in fields if field in {"name", "parent", "backup", "server", "image"}]


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if names_in(rpc)])
def test_a_malformed_name_is_refused(stage: Tenant, name: str) -> None:
    """A resource name that is not well formed is INVALID_ARGUMENT, and its field is named."""
    request: Any = requests(stage)[name]
    field = names_in(RPCS[name])[0]
    for wrong in ("", "x", "projects/Stage/backups/x", getattr(request, field) + "/x", "projects/../disks/x"):
        setattr(request, field, wrong)
        with refused("REQUEST_INVALID", Kind.INVALID_ARGUMENT) as seen:
            RPCS[name].call(RPCS[name].client(stage), request)
        assert [each.field for each in seen[0].fields] == [field]


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if rpc.has("etag")])
def test_a_stale_etag_is_refused(stage: Tenant, name: str) -> None:
    """A request that carries an etag other than the resource's is ABORTED, and nothing happens."""
    request: Any = requests(stage)[name]
    request.etag = "stale"
    before = rows_of(stage)
    with refused("ETAG_MISMATCH", Kind.ABORTED, etag="stale"):
        RPCS[name].call(RPCS[name].client(stage), request)
    assert rows_of(stage) == before


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if rpc.has("update_mask")])
def test_an_update_changes_what_its_mask_says(stage: Tenant, name: str) -> None:
    """An update with an unknown path is refused; one with a mask changes that field alone; a stale etag is
    refused.
    """
    request: Any = requests(stage)[name]
    rpc, noun = RPCS[name], name.removeprefix("Update").lower()
    client = rpc.client(stage)
    resource = getattr(request, noun)
    for path in ("state", "name", "nonsense", "display_name.x"):
        request.update_mask.paths[:] = ["description", path]
        with refused("UPDATE_MASK_INVALID", Kind.INVALID_ARGUMENT, path=path) as seen:
            rpc.call(client, request)
        assert [each.field for each in seen[0].fields] == ["update_mask.paths[1]"]
    request.update_mask.paths[:] = ["description"]
    resource.display_name, resource.description = "not-this", "once"
    first = getattr(rpc.call(client, request), noun)
    assert (first.description, first.display_name == "not-this") == ("once", False)
    resource.etag, resource.description = first.etag, "twice"
    assert getattr(rpc.call(client, request), noun).description == "twice"
    with refused("ETAG_MISMATCH", Kind.ABORTED):
        rpc.call(client, request)
    request.update_mask.paths[:] = ["*"]
    resource.etag = ""
    changed = getattr(rpc.call(client, request), noun)
    assert (changed.display_name, changed.description) == ("not-this", "twice")


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if rpc.has("request_id")])
def test_a_request_id_has_at_most_64_characters(stage: Tenant, name: str) -> None:
    """A longer request id is refused."""
    request = requests(stage)[name]
    header_of(request).request_id = "r" * 65
    with refused("REQUEST_INVALID", Kind.INVALID_ARGUMENT):
        RPCS[name].call(RPCS[name].client(stage), request)


def rows_of(tenant: Tenant) -> list[object]:
    """Every row of every service that is about the project."""
    return sorted(
        (
            [service, table, *row]
            for service in ("csbs", "ims", "ecs")
            for table, rows in tenant.cloud.rows(service).items()
            for row in rows
            if any(cell == tenant.project or str(cell).startswith(f"{tenant.parent}/") for cell in row)
        ),
        key=str,
    )


@pytest.mark.parametrize("name", ["ExportDisks", "RestoreDisks"])
@pytest.mark.parametrize("url", ["file:///proc/self", "s3://elsewhere/csbs", "file:///tmp"])
@pytest.mark.fault("FAULT-STORES")
def test_a_store_that_is_not_in_the_list_is_not_opened(stage: Tenant, name: str, url: str) -> None:
    """A store that is not in ECS's list is refused before any work is recorded."""
    request: Any = requests(stage)[name]
    store = request.store if name == "ExportDisks" else request.content.store
    before, store.url = rows_of(stage), url
    with refused("STORE_NOT_ALLOWED", Kind.PERMISSION_DENIED, store=url):
        RPCS[name].call(RPCS[name].client(stage), request)
    assert rows_of(stage) == before


@pytest.mark.parametrize("name", ["ExportDisks", "RestoreDisks"])
@pytest.mark.fault("FAULT-STORES")
def test_a_partition_of_another_project_is_not_opened(stage: Tenant, name: str) -> None:
    """The partition of a store is that of the token's project."""
    request: Any = requests(stage)[name]
    store = request.store if name == "ExportDisks" else request.content.store
    store.project = "elsewhere"
    with refused("PROJECT_NOT_FOUND", Kind.NOT_FOUND, project="projects/elsewhere"):
        RPCS[name].call(RPCS[name].client(stage), request)
