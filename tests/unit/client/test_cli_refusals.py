"""The output of refusals, and the exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import status_pb2

from recast.client.cli.failure import HINTS, hint
from recast.client.local_stack import write_endpoints
from recast.contracts import descriptor_set
from recast.faults import (
    EtagMismatch,
    FieldViolation,
    Internal,
    Kind,
    ProjectNotFound,
    RemoteRefusal,
    RequestInvalid,
    TokenInvalid,
    Unavailable,
    Violation,
)
from recast.rpc.status import refusal_from_status

HAS_IMAGE = RemoteRefusal(
    Kind.FAILED_PRECONDITION,
    "BACKUP_HAS_IMAGE",
    "image web-image stands on the backup",
    metadata={"rule": "R15", "vendor_code": "CSBS.8007"},
    violations=[
        Violation(
            "BACKUP_HAS_IMAGE", "projects/demo/images/web-image", "image web-image stands on the backup"
        ),
        Violation("BACKUP_BUSY", "projects/demo/backups/nightly", "it is being restored"),
    ],
)


def test_error_block(run: Any, services: Any) -> None:
    """A refusal is one block on stderr: reason, rule, sentence, obstacles, next step, request id."""
    services.answers["BackupService.DeleteBackup"] = HAS_IMAGE
    found = run("backup", "delete", "nightly", "--request-id", "r-1")
    assert found.out == ""
    assert found.err == (
        "refused BACKUP_HAS_IMAGE (rule R15)\n"
        "  image web-image stands on the backup\n"
        "  - projects/demo/images/web-image\n"
        "  - BACKUP_BUSY projects/demo/backups/nightly: it is being restored\n"
        "  next: recast image delete web-image (--delete-backup takes the backup with it)\n"
        "  request id r-1\n"
    )


def test_fields_are_named(run: Any, services: Any) -> None:
    """Every field that is wrong is named."""
    fields = [FieldViolation("backup.server", "must match"), FieldViolation("backup_id", "too long")]
    services.answers["BackupService.CreateBackup"] = RequestInvalid(problem="two fields", fields=fields)
    found = run("backup", "create", "--server", "web")
    assert found.code == 2
    assert "  - backup.server: must match\n  - backup_id: too long\n" in found.err


def test_json_error(run: Any, services: Any) -> None:
    """With --output json the refusal is JSON on stderr, whole."""
    services.answers["BackupService.DeleteBackup"] = HAS_IMAGE
    found = run("backup", "delete", "nightly", "--output", "json", "--request-id", "r-1")
    error = json.loads(found.err)["error"]
    assert found.out == ""
    assert (error["code"], error["reason"], error["rule"]) == (
        "FAILED_PRECONDITION",
        "BACKUP_HAS_IMAGE",
        "R15",
    )
    assert error["metadata"]["vendor_code"] == "CSBS.8007"
    assert error["violations"][1]["resource"] == "projects/demo/backups/nightly"
    assert (error["hint"][:29], error["request_id"], error["exit_code"]) == (
        "recast image delete web-image",
        "r-1",
        4,
    )


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (RequestInvalid(problem="x"), 2),
        (ProjectNotFound(project="p"), 3),
        (HAS_IMAGE, 4),
        (RemoteRefusal(Kind.ALREADY_EXISTS, "BACKUP_ID_TAKEN", "taken"), 4),
        (EtagMismatch(resource="r", etag="e"), 4),
        (Unavailable(problem="restarting"), 5),
        (RemoteRefusal(Kind.DEADLINE_EXCEEDED, "X", "late"), 5),
        (TokenInvalid(problem="x"), 1),
        (Internal(request_id="r"), 1),
    ],
    ids=lambda each: each.reason if hasattr(each, "reason") else str(each),
)
def test_exit_codes(refusal: Any, code: int, run: Any, services: Any) -> None:
    """The exit code depends on the kind of the refusal."""
    services.answers["BackupService.GetBackup"] = refusal
    assert run("backup", "get", "nightly").code == code


@pytest.mark.parametrize("arguments", ["backup get", "backup nonsense", "backup list --limit x", "nonsense"])
def test_wrong_usage(arguments: str, run: Any) -> None:
    """Wrong usage is exit code 2."""
    assert run(*arguments.split()).code == 2


def test_wrong_argument_makes_no_call(run: Any, services: Any) -> None:
    """A size that cannot be read is refused with exit code 2, and nothing is called."""
    found = run("disk", "create", "--size", "big")
    assert (found.code, services.calls) == (2, [])
    assert "--size must be a size like 10GiB" in found.err


@pytest.mark.parametrize("arguments", ["backup update b", "image update i", "server update s"])
def test_update_needs_a_change(arguments: str, run: Any, services: Any) -> None:
    """An update that changes nothing is refused before it is sent."""
    assert (run(*arguments.split()).code, services.calls) == (2, [])


def test_one_source_alone(run: Any, services: Any) -> None:
    """An image is made of a backup or of a server, not of both (R53)."""
    assert run("image", "create", "--backup", "b", "--server", "s").code == 2
    assert services.calls == []


def test_an_unreachable_service(run: Any) -> None:
    """An unreachable service is exit code 5, and the hint names the next command."""
    found = run("backup", "list", environment={"RECAST_CSBS_ENDPOINT": "127.0.0.1:1"})
    assert found.code == 5
    assert "next: `recast status` shows which is down" in found.err


def test_status_without_services(run: Any) -> None:
    """`recast status` prints for each service whether it answers, and fails when one does not."""
    ends = {f"RECAST_{service}_ENDPOINT": "127.0.0.1:1" for service in ("CSBS", "IMS", "ECS")}
    found = run("status", environment=ends)
    assert found.code == 5
    assert found.out.count("UNREACHABLE (UNAVAILABLE)") == 3


def test_no_token(run: Any, tmp_path: Path, services: Any) -> None:
    """Without a token and without keys nothing is called, and the message names both ways to a token."""
    found = run("backup", "list", environment={"RECAST_KEYS": str(tmp_path)})
    assert (found.code, services.calls) == (1, [])
    assert found.err.startswith(
        "error NO_TOKEN\n  no token for user ada: none was given, and there is no key "
    )
    assert "next: `make up` makes the keys; or set RECAST_KEYS or RECAST_TOKEN\n" in found.err


def test_token_command_without_keys(run: Any, tmp_path: Path) -> None:
    """`recast token` without keys prints the same message."""
    found = run("token", environment={"RECAST_KEYS": str(tmp_path)})
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith("error NO_TOKEN\n")


def test_hints_are_for_reasons_that_exist() -> None:
    """Every hint is for a reason of the contracts, or of the client itself."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file
    reasons = {
        value.name.removeprefix("ERROR_REASON_")
        for file in files
        for enum in file.enum_type
        if enum.name == "ErrorReason"
        for value in enum.value
    }
    assert set(HINTS) - reasons == {
        "ARGUMENT_INVALID",
        "ENDPOINTS_INVALID",
        "FILE_UNREADABLE",
        "KEY_UNREADABLE",
        "NOT_RESTARTED",
        "NO_STACK",
        "NO_TOKEN",
        "OTHER_INSTALLATION",
        "USAGE_INVALID",
        "WAIT_TIMED_OUT",
    }


def test_hint_without_facts(run: Any, services: Any) -> None:
    """Where a refusal does not name the resource, the hint has its noun in capitals."""
    services.answers["BackupService.DeleteBackup"] = RemoteRefusal(
        Kind.FAILED_PRECONDITION, "BACKUP_HAS_IMAGE", "no"
    )
    assert "next: recast image delete IMAGE (" in run("backup", "delete", "b").err


def test_ctrl_c_while_waiting(services: Any, operation: Any) -> None:
    """Ctrl-C while waiting ends the command alone, and prints how to wait again and how to cancel."""
    waiting, ended = threading.Event(), threading.Event()

    def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        list(requests)
        waiting.set()
        ended.wait(60)
        return operation()

    services.answers["Operations.WaitOperation"] = answer
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from recast.client.cli import main; main()"
    )
    arguments = ["operation", "wait", "op-1", "--service", "ims", "--project", "shop"]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | services.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert waiting.wait(60)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        ended.set()
        child.kill()
    assert (child.returncode, out) == (130, "")
    assert "the work goes on" in err
    assert "recast operation wait op-1 --service ims --project shop\n" in err
    assert "recast operation cancel op-1 --service ims --project shop\n" in err


@pytest.mark.fault("FAULT-N18")
@pytest.mark.parametrize(
    "arguments", ["disk create --size big", "backup get a/b/c", "image update i", "call Nonsense"]
)
@pytest.mark.parametrize("output", [[], ["-o", "json"]], ids=["table", "json"])
def test_a_mistake_that_left_nothing_has_no_request_id(arguments: str, output: list[str], run: Any) -> None:
    """A refusal of the command itself has no request id: no service's log has it."""
    found = run(*arguments.split(), *output)
    assert found.code == 2
    assert not re.search("request.id", found.err)


@pytest.mark.fault("FAULT-N08")
def test_the_endpoints_are_found_beside_the_keys(run: Any, services: Any, tmp_path: Path) -> None:
    """The command finds the services of the stack whose keys it has; a variable takes precedence."""
    shutil.copytree(services.settings.keys, tmp_path / "keys")
    write_endpoints(tmp_path / "keys", services.settings.endpoints)
    unset = dict.fromkeys(("RECAST_CSBS_ENDPOINT", "RECAST_IMS_ENDPOINT", "RECAST_ECS_ENDPOINT"), "")
    beside = unset | {"RECAST_KEYS": str(tmp_path / "keys")}
    assert run("backup", "list", environment=beside).code == 0
    assert services.calls[-1].service == "csbs"
    given = beside | {"RECAST_CSBS_ENDPOINT": "127.0.0.1:1"}
    assert run("backup", "list", environment=given).code == 5
    assert run("image", "list", environment=given).code == 0


@pytest.mark.fault("FAULT-N08")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"csbs": "h:1"}', '{"csbs": 1, "ims": 2, "ecs": 3}'])
@pytest.mark.parametrize("arguments", ["backup list", "status", "token", "doctor", "stack restart csbs"])
def test_damaged_endpoints_are_named(arguments: str, content: str, run: Any, tmp_path: Path) -> None:
    """A file of endpoints that is not whole is named, with the way out; no command prints a traceback."""
    (tmp_path / "endpoints.json").write_text(content)
    unset = dict.fromkeys(("RECAST_CSBS_ENDPOINT", "RECAST_IMS_ENDPOINT", "RECAST_ECS_ENDPOINT"), "")
    found = run(*arguments.split(), environment=unset | {"RECAST_KEYS": str(tmp_path)})
    assert found.code == (2 if arguments == "doctor" else 4)
    assert f"{tmp_path}/endpoints.json cannot be read" in found.err


@pytest.mark.fault("FAULT-N20")
@pytest.mark.parametrize("variable", ["RECAST_TOKEN_FILE", "RECAST_CA_FILE"])
@pytest.mark.parametrize("path", ["missing", "."], ids=["missing", "a folder"])
def test_a_variable_with_an_unreadable_file_is_named(
    variable: str, path: str, run: Any, tmp_path: Path
) -> None:
    """A file that a variable names and nobody can read is a refusal with both names."""
    found = run("backup", "list", environment={variable: str(tmp_path / path)})
    assert found.code == 4
    assert f"{variable} names {tmp_path / path}, which cannot be read: " in found.err


@pytest.mark.fault("FAULT-N05")
@pytest.mark.parametrize("output", [[], ["-o", "json"]], ids=["table", "json"])
def test_the_doctor_refuses_another_installation(
    output: list[str], run: Any, services: Any, tmp_path: Path
) -> None:
    """Without --root the doctor examines the root of the commands' keys, and refuses when the commands reach
    other services than those of that root.
    """
    write_endpoints(tmp_path, services.settings.endpoints)
    found = run("doctor", *output, environment={"RECAST_KEYS": str(tmp_path)})
    assert (found.code, "is not the root of a stack" in found.err) == (2, True)
    other = {"RECAST_KEYS": str(tmp_path), "RECAST_ECS_ENDPOINT": "127.0.0.1:7133"}
    found = run("doctor", *output, environment=other)
    assert (found.code, "OTHER_INSTALLATION" in found.err, found.out) == (2, True, "")
    found = run("doctor", "--root", str(tmp_path / "given"), *output, environment=other)
    assert (found.code, "given is not the root of a stack" in found.err) == (2, True)


@pytest.mark.fault("FAULT-N07")
def test_a_restart_needs_a_stack(run: Any, tmp_path: Path) -> None:
    """`recast stack restart` without a running stack names the folder, and leaves no request in it."""
    found = run("stack", "restart", "csbs", "--root", str(tmp_path))
    assert (found.code, list(tmp_path.iterdir())) == (5, [])
    assert f"no stack runs on {tmp_path}" in found.err


@pytest.mark.fault("FAULT-N18")
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("RUNNING", "recast server stop web --wait"),
        ("STOPPED", "recast server start web --wait"),
        ("ERROR", "recast server get web has the reason; recast server delete web removes it"),
        ("CHANGING_OS", "wait for the work on it: recast operation list --service ecs"),
    ],
)
def test_the_hint_is_the_command_that_changes_the_state(
    state: str, expected: str, run: Any, services: Any
) -> None:
    """What a server's state forbids has the command that ends that state."""
    facts = {"server": "projects/demo/servers/web", "state": state}
    services.answers["ServerService.ChangeServerOs"] = RemoteRefusal(
        Kind.FAILED_PRECONDITION, "SERVER_STATE_FORBIDS", "server web is so", metadata=facts
    )
    found = run("server", "change-os", "web", "--image", "i")
    assert f"\n  next: {expected}\n" in found.err


@pytest.mark.fault("FAULT-N18")
def test_a_wrong_endpoint_is_named(services: Any) -> None:
    """A method that another service's endpoint does not have points to the endpoints."""
    refused = refusal_from_status(status_pb2.Status(code=12, message="Method not found!"))
    assert hint(refused).startswith("another service answers there: compare RECAST_*_ENDPOINT")


@pytest.mark.fault("FAULT-N20")
@pytest.mark.parametrize("content", ["garbage", "", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
@pytest.mark.parametrize("arguments", ["backup list", "token"])
def test_a_damaged_key_is_named(arguments: str, content: str, run: Any, tmp_path: Path) -> None:
    """A key that is none is a refusal with its path."""
    (tmp_path / "people.pem").write_text(content)
    found = run(*arguments.split(), environment={"RECAST_KEYS": str(tmp_path)})
    assert (found.code, f"{tmp_path}/people.pem cannot be read: it is no key" in found.err) == (4, True)


@pytest.mark.fault("FAULT-N20")
@pytest.mark.parametrize("text", ["Ü", "a\nb", "a\x7f"])
def test_what_is_no_metadata_is_named(text: str, run: Any, services: Any) -> None:
    """A token or a request id that no call can carry is refused by its name, and nothing is called."""
    found = run("backup", "list", environment={"RECAST_TOKEN": text})
    assert (found.code, "RECAST_TOKEN must be printable ASCII" in found.err) == (2, True)
    found = run("backup", "list", "--request-id", text)
    assert (found.code, "--request-id must be printable ASCII" in found.err) == (2, True)
    assert services.calls == []


@pytest.mark.fault("FAULT-N20")
def test_a_file_that_cannot_be_read_to_its_end_is_named(run: Any, services: Any) -> None:
    """An error of reading a file is the file's, not that of the answer."""
    found = run("image", "import", "/proc/self/mem", "x", "--kind", "iso", "--format", "raw")
    assert (found.code, services.calls) == (2, [])
    assert "/proc/self/mem cannot be read: Input/output error" in found.err
