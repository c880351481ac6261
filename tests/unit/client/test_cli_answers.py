"""The output of answers: tables, JSON, names, pages."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from recast.client.cli.progress import amount, work_bars
from recast.csbs.v1.backup_pb2 import Backup, BackupDisk, BackupState
from recast.csbs.v1.backup_service_pb2 import CreateBackupResponse, GetBackupResponse, ListBackupsResponse
from recast.ecs.v1.disk_pb2 import Disk
from recast.ecs.v1.disk_service_pb2 import GetDiskResponse
from recast.ecs.v1.server_pb2 import Server, ServerState
from recast.ecs.v1.server_service_pb2 import (
    CreateServersResponse,
    CreateServersResult,
    GetServerResponse,
    ServerOutcome,
)
from recast.faults import Conflict, Kind, RemoteRefusal
from recast.imagelock.v1.image_eligibility_service_pb2 import (
    CheckImageEligibilityResponse,
    ImageEligibility,
)
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata, OperationPart, OperationState
from recast.rpc.status import status_from_refusal


def _backup(name: str = "nightly", state: Any = BackupState.BACKUP_STATE_AVAILABLE) -> Backup:
    return Backup(
        name=f"projects/demo/backups/{name}",
        server="projects/demo/servers/web",
        state=state,
        image_ready=True,
        size_bytes=10 << 30,
        create_time=Timestamp(seconds=1_800_000_000),
        disks=[BackupDisk(id="system", size_bytes=10 << 30)],
    )


def _pages(total: int, size: int) -> Any:
    """A list of `total` backups, at most `size` a page; the page token is the place to go on."""

    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> ListBackupsResponse:
        [request] = requests
        begin = int(request.page_token or 0)
        end = min(total, begin + min(size, request.page_size or size))
        return ListBackupsResponse(
            backups=[_backup(f"b{number}") for number in range(begin, end)],
            next_page_token=str(end) if end < total else "",
        )

    return answer


def test_table_of_one_resource(run: Any, services: Any) -> None:
    """A resource is printed field by field, with sizes, times and states for people, its disks as a table."""
    services.answers["BackupService.GetBackup"] = GetBackupResponse(backup=_backup())
    found = run("backup", "get", "nightly")
    assert "state        AVAILABLE\n" in found.out
    assert "size_bytes   10.0 GiB (10737418240)\n" in found.out
    assert "create_time  2027-01-15 08:00:00Z\n" in found.out
    assert found.out.endswith("\ndisks\nID      SIZE\nsystem  10.0 GiB\n")


def test_table_of_a_list(run: Any, services: Any) -> None:
    """A list is aligned columns, without colour codes or blanks at the ends of lines when piped."""
    services.answers["BackupService.ListBackups"] = ListBackupsResponse(backups=[_backup(), _backup("b")])
    found = run("backup", "list")
    assert found.out == (
        "ID       STATE      READY  SERVER  SIZE      STORED  IMAGE  CREATED\n"
        "nightly  AVAILABLE  yes    web     10.0 GiB  0 B            2027-01-15 08:00:00Z\n"
        "b        AVAILABLE  yes    web     10.0 GiB  0 B            2027-01-15 08:00:00Z\n"
    )


def test_empty_list(run: Any) -> None:
    """An empty list prints a sentence, and no names."""
    assert run("backup", "list").out == "none\n"
    assert run("backup", "list", "--output", "name").out == ""


def test_json_has_the_names_of_the_contracts(run: Any, services: Any) -> None:
    """JSON output is the whole answer with the field names of the contracts."""
    services.answers["BackupService.GetBackup"] = GetBackupResponse(backup=_backup())
    printed = json.loads(run("backup", "get", "nightly", "--output", "json").out)
    assert printed["backup"]["image_ready"] is True
    assert printed["backup"]["size_bytes"] == str(10 << 30)


def test_names_alone(run: Any, services: Any) -> None:
    """Name output is one resource name a line."""
    services.answers["BackupService.ListBackups"] = ListBackupsResponse(backups=[_backup(), _backup("b")])
    found = run("backup", "list", "-o", "name")
    assert found.out == "projects/demo/backups/nightly\nprojects/demo/backups/b\n"


@pytest.mark.parametrize(
    ("arguments", "count", "sizes"),
    [
        ("", 3, [0]),
        ("--all", 8, [0, 0, 0]),
        ("--limit 5", 5, [5, 5]),
        ("--limit 2", 2, [2]),
        ("--all --page-size 2", 8, [2, 2, 2, 2]),
        ("--page-token 6", 2, [0]),
    ],
)
def test_paging(arguments: str, count: int, sizes: list[int], run: Any, services: Any) -> None:
    """One page is printed unless --limit or --all follow the page tokens, as far as needed."""
    services.answers["BackupService.ListBackups"] = _pages(total=8, size=3)
    found = run("backup", "list", "-o", "name", *arguments.split())
    assert len(found.out.splitlines()) == count
    assert [call.requests[0].page_size for call in services.calls] == sizes


def test_further_pages_are_announced_on_stderr(run: Any, services: Any) -> None:
    """When there are more pages stderr names the options that get them, and stdout is the list alone."""
    services.answers["BackupService.ListBackups"] = _pages(total=8, size=3)
    found = run("backup", "list", "-o", "name")
    assert found.err == "there are more: --all, or --page-token 3\n"


def test_json_list_is_one_answer(run: Any, services: Any) -> None:
    """With --all the pages are joined into one JSON answer without a page token."""
    services.answers["BackupService.ListBackups"] = _pages(total=8, size=3)
    printed = json.loads(run("backup", "list", "--all", "-o", "json").out)
    assert len(printed["backups"]) == 8
    assert "next_page_token" not in printed


def test_begun_work_prints_how_to_wait(run: Any, services: Any, operation: Any) -> None:
    """Without --wait the operation's name is printed, and how to wait for it."""
    creating = _backup(state=BackupState.BACKUP_STATE_CREATING)
    services.answers["BackupService.CreateBackup"] = CreateBackupResponse(
        backup=creating, operation=operation()
    )
    found = run("backup", "create", "nightly", "--server", "web")
    assert "operation projects/demo/operations/op-1\n" in found.out
    assert found.err == "wait for it:  recast operation wait op-1 --service csbs\n"


@pytest.mark.parametrize("output", ["table", "json", "name"])
def test_waited_for_work_prints_the_result(output: str, run: Any, services: Any, operation: Any) -> None:
    """With --wait the method's answer is printed with the resource's final state."""
    creating = _backup(state=BackupState.BACKUP_STATE_CREATING)
    services.answers["BackupService.CreateBackup"] = CreateBackupResponse(
        backup=creating, operation=operation()
    )
    services.answers["Operations.WaitOperation"] = operation(response=_backup())
    found = run("backup", "create", "nightly", "--server", "web", "--wait", "-o", output)
    if output == "json":
        printed = json.loads(found.out)
        assert (printed["backup"]["state"], printed["operation"]["done"]) == ("BACKUP_STATE_AVAILABLE", True)
        assert printed["operation"]["metadata"]["verb"] == "CreateBackup"
    else:
        assert ("AVAILABLE" if output == "table" else "projects/demo/backups/nightly\n") in found.out
    assert found.err == ""


def test_failed_work_fails_the_command(run: Any, services: Any, operation: Any) -> None:
    """With --wait an operation that failed is the refusal that it failed with."""
    services.answers["BackupService.CreateBackup"] = CreateBackupResponse(operation=operation())
    services.answers["Operations.WaitOperation"] = operation(
        error=Conflict(resource="projects/demo/backups/b")
    )
    found = run("backup", "create", "--server", "web", "--wait")
    assert found.code == 4
    assert found.err.startswith("refused CONFLICT\n")


def test_batch_with_a_failure(run: Any, services: Any, operation: Any) -> None:
    """A batch prints the servers that were made, names those that were not, and fails (R14)."""
    services.answers["ServerService.CreateServers"] = CreateServersResponse(operation=operation())
    refusal = status_from_refusal(Conflict(resource="projects/demo/images/i"), "ecs.recast")
    result = CreateServersResult(
        outcomes=[
            ServerOutcome(server="projects/demo/servers/shop-0000"),
            ServerOutcome(server="projects/demo/servers/shop-0001", error=refusal),
        ]
    )
    services.answers["Operations.WaitOperation"] = operation(response=result)
    made = Server(name="projects/demo/servers/shop-0000", state=ServerState.SERVER_STATE_RUNNING)
    services.answers["ServerService.GetServer"] = GetServerResponse(server=made)
    found = run("server", "create", "shop", "--image", "i", "--count", "2", "--wait")
    assert found.code == 1
    assert "shop-0000  RUNNING" in found.out
    assert found.err.startswith("not made: projects/demo/servers/shop-0001: CONFLICT: ")


def _listed(services: Any, works: Mapping[str, list[OperationMetadata]], tokens: Mapping[str, str]) -> None:
    """Answers ListOperations of each service by its work, as ended operations where there is an end."""

    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        list(requests)
        service = services.calls[-1].service
        listed = []
        for number, work in enumerate(works[service]):
            one = operations_pb2.Operation(name=f"projects/demo/operations/{service}-{number}")
            one.metadata.Pack(work)
            if work.state == OperationState.OPERATION_STATE_FAILED:
                one.error.CopyFrom(status_from_refusal(Conflict(resource="r"), "ecs.recast"))
            listed.append(one)
        return operations_pb2.ListOperationsResponse(
            operations=listed, next_page_token=tokens.get(service, "")
        )

    services.answers["Operations.ListOperations"] = answer


def _work(verb: str, began: int, lasted: float | None = None, **fields: Any) -> OperationMetadata:
    work = OperationMetadata(verb=verb, target="projects/demo/backups/b", **fields)
    work.create_time.FromSeconds(1_800_000_000 + began)
    if lasted is not None:
        work.end_time.FromNanoseconds(int((1_800_000_000 + began + lasted) * 1e9))
    return work


@pytest.mark.fault("FAULT-N13")
def test_operations_of_all_services_are_one_history(run: Any, services: Any) -> None:
    """Without --service the work of all three is one list, newest first, with service, time and duration;
    failed work has its reason, a batch its count.
    """
    succeeded, failed = OperationState.OPERATION_STATE_SUCCEEDED, OperationState.OPERATION_STATE_FAILED
    batch = [OperationPart(id=str(n), target=f"projects/demo/servers/s-{n}") for n in range(60)]
    works = {
        "csbs": [
            _work("CreateBackup", 30, 200, state=succeeded, progress_percent=100),
            _work("DeleteBackup", 0, 0.25, state=failed),
        ],
        "ims": [_work("ImportImage", 20, 7500, state=succeeded, progress_percent=100)],
        "ecs": [_work("CreateServers", 10, 12, parts=batch, parts_done=23, step="disks", state=succeeded)],
    }
    _listed(services, works, {})
    found = run("operation", "list")
    assert [call.service for call in services.calls] == ["csbs", "ims", "ecs"]
    heading, *rows = [re.split(r"  +", line) for line in found.out.splitlines()]
    assert heading == ["ID", "SERVICE", "STATE", "WORK", "ON", "CREATED", "DURATION", "DONE", "STEP"]
    assert [row[:2] + row[6:] for row in rows] == [
        ["csbs-0", "csbs", "3 min 20 s", "100 %"],
        ["ims-0", "ims", "2 h 05 min", "100 %"],
        ["ecs-0", "ecs", "12 s", "23 of 60", "disks"],
        ["csbs-1", "csbs", "0.2 s", "0 %", "CONFLICT"],
    ]
    assert rows[0][5] == "2027-01-15 08:00:30Z"
    assert found.err == ""


@pytest.mark.fault("FAULT-N13")
@pytest.mark.parametrize("output", ["table", "json", "name"])
def test_pages_of_three_services_are_named(output: str, run: Any, services: Any) -> None:
    """A service that has more is named with its own token; --limit counts over all three, newest first."""
    works = {each: [_work("W", n)] for n, each in enumerate(("csbs", "ims", "ecs"))}
    _listed(services, works, {"ims": "T"})
    found = run("operation", "list", "-o", output)
    assert found.err == "there are more of ims: --all, or --service ims --page-token T\n"
    found = run("operation", "list", "--limit", "2", "-o", output)
    assert re.findall(r"(?:csbs|ims|ecs)-0", found.out) == ["ecs-0", "ims-0"]
    found = run("operation", "list", "--service", "ims", "-o", "json")
    assert json.loads(found.out)["next_page_token"] == "T"


@pytest.mark.fault("FAULT-N13")
@pytest.mark.parametrize("option", ["--page-size 1", "--page-token T", "--order-by create_time"])
def test_a_page_of_three_services_is_refused(option: str, run: Any, services: Any) -> None:
    """What one service alone can do is refused before any is called, and the text names the way out."""
    found = run("operation", "list", *option.split())
    assert (found.code, services.calls) == (2, [])
    assert (
        "--service too; --limit counts over all three" in found.err or "newest are listed first" in found.err
    )


@pytest.mark.fault("FAULT-N16")
@pytest.mark.parametrize(
    ("work", "shown"),
    [
        ({"parts": 60, "parts_done": 0, "done_bytes": 256, "total_bytes": 256}, (0, 60, False)),
        ({"parts": 60, "parts_done": 23, "done_bytes": 256, "total_bytes": 256}, (23, 60, False)),
        ({"parts": 60, "parts_done": 0, "done_bytes": 100, "total_bytes": 256}, (100, 256, True)),
        ({"parts": 60, "parts_done": 0}, (0, 60, False)),
        ({"parts": 1, "done_bytes": 100, "total_bytes": 256}, (100, 256, True)),
        ({"parts": 0, "progress_percent": 40}, (40, 100, False)),
    ],
)
def test_a_batch_is_measured_in_its_parts(work: dict[str, int], shown: tuple[int, int, bool]) -> None:
    """The bar of a batch is full when its servers are made, not when the bytes of its image are there."""
    parts = [OperationPart(id=str(n)) for n in range(work.pop("parts"))]
    metadata = OperationMetadata(parts=parts, **work)  # type: ignore[arg-type]
    assert amount(metadata) == shown
    printed = io.StringIO()
    with work_bars(Console(file=printed, force_terminal=True, width=120)) as show:
        assert show is not None
        show(metadata)
    assert (f"{shown[0]} of {shown[1]}" in printed.getvalue()) == (len(parts) > 1 and not shown[2])


@pytest.mark.parametrize(("verb", "method"), [("get", "GetOperation"), ("wait", "WaitOperation")])
def test_an_operation_shows_its_parts(
    verb: str, method: str, run: Any, services: Any, operation: Any
) -> None:
    """Each part of a batch is a line, with its id, and why it failed."""
    refusal = status_from_refusal(Conflict(resource="projects/demo/images/i"), "ecs.recast")
    made, failed = OperationState.OPERATION_STATE_SUCCEEDED, OperationState.OPERATION_STATE_FAILED
    work = OperationMetadata(
        verb="CreateServers",
        parts=[
            OperationPart(id="op-1-0000", target="projects/demo/servers/shop-0000", state=made),
            OperationPart(
                id="op-1-0001", target="projects/demo/servers/shop-0001", state=failed, error=refusal
            ),
        ],
    )
    services.answers[f"Operations.{method}"] = operation(metadata=work, response=CreateServersResult())
    found = run("operation", verb, "op-1", "--service", "ecs")
    assert "op-1-0000  shop-0000  SUCCEEDED\n" in found.out
    assert "op-1-0001  shop-0001  FAILED     CONFLICT: " in found.out


def test_help_does_not_import_grpc() -> None:
    """The help of the whole command is built without importing gRPC or protobuf, so that it is fast."""
    program = (
        "import sys; from recast.client.cli import build; build(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('grpc', 'google.protobuf', 'structlog')))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        "backup create --help",
        "image import --help",
        "server create --help",
        "disk connection --help",
        "operation wait --help",
        "lock take --help",
        "provisioning pin --help",
        "source export --help",
        "hold take --help",
        "call --help",
        "token --help",
        "status --help",
        "--help",
    ],
)
def test_every_group_has_help(arguments: str, run: Any) -> None:
    """Every group has help, without the control characters that its docstrings are written with."""
    found = run(*arguments.split())
    assert found.code == 0
    assert "Usage: recast" in found.out
    assert "\b" not in found.out


def test_the_version_is_printed(run: Any) -> None:
    """`recast --version` is the package's."""
    assert run("--version").out == f"recast {version('recast')}\n"


def test_status_in_json(run: Any, services: Any) -> None:
    """`recast status --output json` names each service's endpoint and health; the servers
    here have no health.
    """
    found = run("status", "--output", "json")
    printed = json.loads(found.out)
    assert [each["service"] for each in printed] == ["csbs", "ims", "ecs"]
    assert all(each["health"].startswith("UNREACHABLE") for each in printed)
    assert found.code == 5


def test_no_is_an_answer(run: Any, services: Any) -> None:
    """A false boolean is printed too, and a card does not begin with an empty line."""
    services.answers["DiskService.GetDisk"] = GetDiskResponse(disk=Disk())
    assert run("disk", "get", "d").out == "shared  no\n"
    assert run("provisioning", "resolve", "i").out == ""


def test_the_check_lists_every_refusal(run: Any, services: Any) -> None:
    """A backup that is not eligible is listed with the refusal of each rule in the way."""
    refusals = [
        RemoteRefusal(Kind.FAILED_PRECONDITION, "BACKUP_NOT_IMAGE_READY", "it is CREATING"),
        RemoteRefusal(Kind.FAILED_PRECONDITION, "BACKUP_HAS_SHARED_DISK", "disk d was shared"),
    ]
    services.answers["ImageEligibilityService.CheckImageEligibility"] = CheckImageEligibilityResponse(
        results=[
            ImageEligibility(
                backup="projects/demo/backups/nightly",
                server="projects/demo/servers/web",
                violations=[status_from_refusal(each, "csbs.recast") for each in refusals],
            ),
            ImageEligibility(
                backup="projects/demo/backups/b",
                server="projects/demo/servers/web",
                eligible=True,
                sealed=True,
            ),
        ]
    )
    assert run("backup", "check", "nightly", "b").out.splitlines() == [
        "BACKUP   ELIGIBLE  SEALED  SERVER  VIOLATIONS",
        (
            "nightly  no        no      web     "
            "BACKUP_NOT_IMAGE_READY: it is CREATING; BACKUP_HAS_SHARED_DISK: disk d was shared"
        ),
        "b        yes       yes     web",
    ]


def test_call_answers_in_json(run: Any, services: Any) -> None:
    """`recast call` answers in JSON without an option."""
    services.answers["BackupService.GetBackup"] = GetBackupResponse(backup=_backup())
    found = run("call", "recast.csbs.v1.BackupService/GetBackup", '{"name": "projects/demo/backups/nightly"}')
    assert json.loads(found.out)["backup"]["name"] == "projects/demo/backups/nightly"


def test_call_prints_the_example_of_a_method(run: Any, services: Any) -> None:
    """`recast call --example` prints the request in a method's comment; without a method all are listed."""
    assert json.loads(run("call", "GetBackup", "--example").out) == {"name": "projects/demo/backups/nightly"}
    assert "ImageLockService.ReleaseLock\n" in run("call").out
    assert services.calls == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["call", "GetNothing"], "'GetNothing' is not known"),
        (["call", "BackupService.GetBackup", "{"], "message cannot be read"),
        (["call", "BackupService.GetBackup", '{"nme": ""}'], 'no field named "nme"'),
        (["call", "BackupService.GetBackup", "{} {}"], "must be one request, not 2"),
        (["call", "Operations.GetOperation"], "--service is needed"),
    ],
    ids=["method", "JSON", "field", "two", "service"],
)
def test_call_refuses_unknown_methods_and_messages(
    arguments: list[str], problem: str, run: Any, services: Any
) -> None:
    """A method that is not known or a message that cannot be read is refused with exit code 2."""
    found = run(*arguments)
    assert (found.code, services.calls) == (2, [])
    assert problem in found.err
