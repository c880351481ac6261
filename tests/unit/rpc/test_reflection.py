"""Reflection: every contract with its comments, without a token."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2 as messages

from recast.contracts import descriptor_set
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.rpc.identity import Caller

VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
FILES = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file
OURS = [file for file in FILES if file.package.startswith("recast.")]


def reflect(service: Any, version: str, **fields: str) -> messages.ServerReflectionResponse:
    """One request, without a token."""
    call = service.plain().stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=messages.ServerReflectionRequest.SerializeToString,
        response_deserializer=messages.ServerReflectionResponse.FromString,
    )
    [answer] = call(iter([messages.ServerReflectionRequest(**fields)]), timeout=10)
    return answer


def files_in(answer: messages.ServerReflectionResponse) -> list[descriptor_pb2.FileDescriptorProto]:
    """The files of an answer."""
    found = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(each) for each in found]


def comments_of(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """The leading comments in a file, by the path of their element."""
    return {tuple(each.path): each.leading_comments for each in file.source_code_info.location}


def described() -> Iterator[tuple[str, str]]:
    """Every service, method, message, field, enum and value of ours, with its comment."""
    for file in OURS:
        comments = comments_of(file)
        for s, service in enumerate(file.service):
            yield service.name, comments.get((6, s), "")
            for m, method in enumerate(service.method):
                yield f"{service.name}.{method.name}", comments.get((6, s, 2, m), "")
        for m, message in enumerate(file.message_type):
            yield message.name, comments.get((4, m), "")
            for f, field in enumerate(message.field):
                yield f"{message.name}.{field.name}", comments.get((4, m, 2, f), "")
        for e, enum in enumerate(file.enum_type):
            yield enum.name, comments.get((5, e), "")
            for v, value in enumerate(enum.value):
                yield f"{enum.name}.{value.name}", comments.get((5, e, 2, v), "")


def grpcurl(service: Any, *arguments: str, options: Sequence[str] = ()) -> str:
    """The output of grpcurl against the server."""
    program = shutil.which("grpcurl") or Path(sys.executable).with_name("grpcurl")
    done = subprocess.run(
        [program, "-plaintext", *options, service.target, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_everything_has_a_comment() -> None:
    """Every service, method, message, field, enum and value of the contracts is described."""
    assert [name for name, comment in described() if not comment.strip()] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_services_are_listed(service: Any, version: str) -> None:
    """Both versions list the server's services, health and reflection among them."""
    listed = {
        each.name for each in reflect(service, version, list_services="").list_services_response.service
    }
    assert {"recast.csbs.v1.BackupService", "grpc.health.v1.Health", *VERSIONS} <= listed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "symbol",
    [
        "recast.csbs.v1.BackupService",
        "recast.csbs.v1.BackupService.CreateBackup",
        "recast.csbs.v1.Backup",
        "recast.csbs.v1.Backup.name",
        "recast.csbs.v1.BackupState",
        "recast.longrunning.v1.OperationMetadata",
    ],
)
def test_a_symbol_comes_with_its_comments(service: Any, version: str, symbol: str) -> None:
    """The file of a symbol comes with its comments and with every file that it imports."""
    files = files_in(reflect(service, version, file_containing_symbol=symbol))
    assert any(comments_of(files[0]).values())
    names = {file.name for file in files}
    assert {dependency for file in files for dependency in file.dependency} <= names


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"file_containing_symbol": "grpc.health.v1.Health"}, "grpc_health/v1/health.proto"),
        ({"file_containing_symbol": "google.longrunning.Operations"}, "google/longrunning/operations.proto"),
        ({"file_by_filename": "buf/validate/validate.proto"}, "buf/validate/validate.proto"),
        ({"file_by_filename": "google/protobuf/any.proto"}, "google/protobuf/any.proto"),
    ],
)
def test_imported_files_are_found_too(service: Any, fields: dict[str, str], name: str) -> None:
    """Files that the contracts import, and those of health, are served."""
    assert files_in(reflect(service, VERSIONS[0], **fields))[0].name == name


@pytest.mark.parametrize(
    "fields",
    [
        {"file_containing_symbol": "recast.csbs.v1.Nothing"},
        {"file_containing_symbol": ""},
        {"file_by_filename": "../etc/passwd"},
        {"file_by_filename": ""},
    ],
)
def test_missing_symbols_are_not_found(service: Any, fields: dict[str, str]) -> None:
    """A request for a missing file or symbol is answered with NOT_FOUND, and the stream goes on."""
    answer = reflect(service, VERSIONS[0], **fields)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_grpcurl_lists_services_and_methods(service: Any) -> None:
    """A stock client lists services and methods without being given a proto file."""
    assert "recast.ims.v1.ImageService" in grpcurl(service, "list").split()
    assert "recast.csbs.v1.BackupService.CreateBackup" in grpcurl(
        service, "list", "recast.csbs.v1.BackupService"
    )


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("recast.csbs.v1.BackupService", "// Backs a server up"),
        ("recast.csbs.v1.BackupService.CreateBackup", "// Example: {"),
        ("recast.csbs.v1.Backup", "message Backup {"),
        ("recast.ecs.v1.CreateServersRequest", "// How many: 0 means 1"),
        ("grpc.health.v1.Health", "rpc Check"),
    ],
)
def test_grpcurl_describes_with_comments(service: Any, symbol: str, expected: str) -> None:
    """A stock client prints the contracts' comments, the examples among them."""
    assert expected in grpcurl(service, "describe", symbol)


def test_grpcurl_calls_with_json(service: Any) -> None:
    """A stock client makes a call from JSON alone."""
    name = "projects/demo/backups/nightly"
    service.handlers.given["GetBackup"] = lambda request, _: csbs.GetBackupResponse(
        backup={"name": request.name}
    )
    token = service.token(Caller("me", "demo", "user"))
    header, body = f"authorization: Bearer {token}", json.dumps({"name": name})
    answer = grpcurl(service, "recast.csbs.v1.BackupService/GetBackup", options=["-H", header, "-d", body])
    assert json.loads(answer) == {"backup": {"name": name}}
