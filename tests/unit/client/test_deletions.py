"""Deleting many resources: by ids, by a filter, and the outcome of each."""

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from grpc_status import rpc_status

from recast.content.v1.content_pb2 import DISK_ROLE_DATA, DISK_ROLE_SYSTEM
from recast.csbs.v1.backup_pb2 import Backup
from recast.csbs.v1.backup_service_pb2 import DeleteBackupResponse, ListBackupsResponse
from recast.ecs.v1.disk_pb2 import Disk
from recast.ecs.v1.disk_service_pb2 import ListDisksResponse
from recast.ecs.v1.server_pb2 import AttachedDisk, Server
from recast.ecs.v1.server_service_pb2 import DeleteServerResponse, ListServersResponse
from recast.faults import Kind, RemoteRefusal
from recast.rpc.status import status_from_refusal

HAS_IMAGE = RemoteRefusal(Kind.FAILED_PRECONDITION, "BACKUP_HAS_IMAGE", "image web-image stands on it")
BUSY = RemoteRefusal(Kind.ABORTED, "STORE_IO_FAILED", "the storage failed")
pytestmark = pytest.mark.fault("FAULT-N12")
KINDS = {
    "backup": "BackupService.DeleteBackup",
    "image": "ImageService.DeleteImage",
    "server": "ServerService.DeleteServer",
    "disk": "DiskService.DeleteDisk",
}


@pytest.fixture
def refuses(services: Any) -> None:
    """The deletion of backup `locked` is refused; that of the others begins the operation of their id."""

    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        [request] = requests
        if request.name.endswith("/locked"):
            context.abort_with_status(rpc_status.to_status(status_from_refusal(HAS_IMAGE, "csbs.recast")))
        name = request.name.replace("backups", "operations")
        return DeleteBackupResponse(operation=operations_pb2.Operation(name=name))

    services.answers["BackupService.DeleteBackup"] = answer


@pytest.mark.usefixtures("refuses")
def test_each_of_many_has_its_outcome(run: Any, services: Any) -> None:
    """A refused deletion does not stop the others; each is a row, and the exit code is not 0."""
    found = run("backup", "delete", "a", "locked", "b", "a")
    assert found.code == 1
    assert [re.split(r"  +", line.strip()) for line in found.out.splitlines()] == [
        ["ID", "OUTCOME", "OPERATION", "REASON"],
        ["a", "DELETING", "a"],
        ["locked", "REFUSED", "BACKUP_HAS_IMAGE: image web-image stands on it"],
        ["b", "DELETING", "b"],
    ]
    found = run("backup", "delete", "a", "locked", "--output", "json")
    first, second = json.loads(found.out)["outcomes"]
    assert first == {
        "name": "projects/demo/backups/a",
        "outcome": "DELETING",
        "operation": "projects/demo/operations/a",
    }
    assert (second["outcome"], second["error"]["reason"], found.code) == ("REFUSED", "BACKUP_HAS_IMAGE", 1)
    assert run("backup", "delete", "a", "locked", "-o", "name").out == "projects/demo/backups/a\n"
    assert run("backup", "delete", "a", "b").code == 0


@pytest.mark.usefixtures("refuses")
def test_the_work_of_each_is_waited_for(run: Any, services: Any, operation: Any) -> None:
    """With --wait the end of each counts: one that fails then is named too."""

    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        [request] = requests
        fails = request.name.endswith("/broken")
        return operation(request.name, **({"error": BUSY} if fails else {"response": operation()}))

    services.answers["Operations.WaitOperation"] = answer
    found = run("backup", "delete", "a", "broken", "locked", "--wait", "-o", "json")
    outcomes = [each["outcome"] for each in json.loads(found.out)["outcomes"]]
    assert (outcomes, found.code) == (["DELETED", "FAILED", "REFUSED"], 1)
    found = run("backup", "delete", "a", "b", "--validate-only")
    # Without an operation: none was begun.
    rows = re.findall(r"^(\w) +WOULD BE DELETED$", found.out, re.MULTILINE)
    assert (rows, found.code) == (["a", "b"], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeat_of_the_command_repeats_each_call(kind: str, run: Any, services: Any) -> None:
    """Each call has a request id of its own, the same when the command is repeated with its id."""
    for _ in range(2):
        assert run(kind, "delete", "a", "b", "--request-id", "r").code == 0
    calls = services.called(KINDS[kind])
    first, second, third, fourth = (call.sent["request_id"] for call in calls)
    assert (first, second) == (third, fourth)
    assert first != second
    assert [call.sent["name"] for call in calls[:2]] == [f"projects/demo/{kind}s/{each}" for each in "ab"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", "needs either ids or --filter"),
        ("a --filter x", "needs either ids or --filter"),
        ("a b --etag e", "is of one resource"),
        ("--filter x --etag e", "is of one resource"),
        ("a b/c/d", "must be an id"),
    ],
)
def test_a_wrong_selection_deletes_nothing(
    kind: str, arguments: str, text: str, run: Any, services: Any
) -> None:
    """What cannot be meant is refused before the first call."""
    found = run(kind, "delete", *arguments.split())
    assert (found.code, services.calls) == (2, [])
    assert text in found.err


def test_a_filter_selects_all_pages(run: Any, services: Any, in_turn: Any) -> None:
    """--filter deletes what the list has on all its pages; of nothing it deletes nothing."""
    pages = [
        ListBackupsResponse(backups=[Backup(name="projects/demo/backups/a")], next_page_token="t"),
        ListBackupsResponse(backups=[Backup(name="projects/demo/backups/b")]),
        ListBackupsResponse(),
    ]
    services.answers["BackupService.ListBackups"] = in_turn(pages)
    run("backup", "delete", "--filter", 'display_name = "n*"')
    assert services.called("BackupService.ListBackups")[0].sent["filter"] == 'display_name = "n*"'
    assert [call.sent["name"][-1] for call in services.called("BackupService.DeleteBackup")] == ["a", "b"]
    found = run("backup", "delete", "--filter", 'display_name = "n*"')
    assert (found.code, found.out) == (0, "none\n")


def test_unattached_disks_are_selected(run: Any, services: Any) -> None:
    """--unattached deletes data disks without a server; a filter selects among them."""
    services.answers["DiskService.ListDisks"] = ListDisksResponse(disks=[Disk(name="projects/demo/disks/d")])
    assert run("disk", "delete", "--unattached", "--filter", 'display_name = "x"').code == 0
    [listed] = services.called("DiskService.ListDisks")
    assert listed.sent["filter"] == 'role = "DATA" AND state = "AVAILABLE" AND display_name = "x"'
    [deleted] = services.called("DiskService.DeleteDisk")
    assert deleted.sent["name"] == "projects/demo/disks/d"


def _server(name: str) -> Server:
    disks = [
        ("system", DISK_ROLE_SYSTEM, False),
        ("data-1", DISK_ROLE_DATA, False),
        ("pool", DISK_ROLE_DATA, True),
    ]
    return Server(
        name=f"projects/demo/servers/{name}",
        disks=[
            AttachedDisk(disk=f"projects/demo/disks/{name}-{each}", role=role, shared=shared)
            for each, role, shared in disks
        ],
    )


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ("web", "web-data-1 web-pool"),
        ("web --delete-data-disks", "web-pool"),
        ("web idle", "web-data-1 web-pool"),
    ],
)
def test_the_disks_that_a_server_leaves_are_named(arguments: str, left: str, run: Any, services: Any) -> None:
    """The deletion of servers names each disk that stays, in the command that deletes them."""
    services.answers["ServerService.DeleteServer"] = DeleteServerResponse(server=_server("web"))
    found = run("server", "delete", *arguments.split())
    assert f"recast disk delete {left}\n" in found.err
    checked = run("server", "delete", *arguments.split(), "--validate-only")
    assert "would stay" in checked.err


@pytest.mark.fault("FAULT-N11")
@pytest.mark.parametrize(
    ("count", "token", "text"),
    [
        (0, "", ""),
        (1, "", "warning: 1 server was made from debian (s-0): "),
        (5, "", "warning: 5 servers were made from debian (s-0, s-1, s-2, ...): "),
        (1000, "t", "warning: 1000 or more servers were made from debian (s-0, s-1, s-2, ...): "),
    ],
)
def test_the_servers_of_a_deleted_image_are_counted(
    count: int, token: str, text: str, run: Any, services: Any
) -> None:
    """The deletion of an image warns how many servers name it, with and without --validate-only."""
    servers = [Server(name=f"projects/demo/servers/s-{n}") for n in range(count)]
    services.answers["ServerService.ListServers"] = ListServersResponse(
        servers=servers, next_page_token=token
    )
    for more in ([], ["--validate-only"]):
        found = run("image", "delete", "debian", *more)
        assert found.code == 0
        assert (text in found.err) if text else ("warning" not in found.err)
    [call, _] = services.called("ServerService.ListServers")
    assert call.sent["filter"] == 'image = "projects/demo/images/debian"'


@pytest.mark.fault("FAULT-N11")
def test_an_image_is_deleted_without_ecs(run: Any, services: Any) -> None:
    """Where ECS does not answer, the deletion goes through and says that the count is not known."""
    found = run("image", "delete", "debian", environment={"RECAST_ECS_ENDPOINT": "127.0.0.1:1"})
    assert found.code == 0
    assert "not known how many servers were made from" in found.err
