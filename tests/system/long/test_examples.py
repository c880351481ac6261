"""Every example in the contracts is sent to the services, against the demo's data."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from recast.chunkstore import project_key
from recast.client import Recast
from recast.contracts import descriptor_set
from recast.contracts.services import SERVICES, services_serving
from recast.stack import LocalStack
from tests.demo.seed import seed  # the demo is a folder of programs, not a package
from tests.harness.expectations import until

ROLES = {
    "recast.imagelock.v1.ImageLockService": "ims",
    "recast.ims.v1.ProvisioningService": "ecs",
    "recast.ecs.v1.BackupSourceService": "csbs",
    "recast.ecs.v1.ImageSourceService": "ims",
}


@pytest.fixture(scope="module")
def stack_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stack."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def stack(stack_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The three services as processes, with the demo's data."""
    with LocalStack(stack_root) as running:
        with running.client("demo", "user") as recast:
            seed(recast, tmp_path_factory.mktemp("seed"))
        yield running


def _methods() -> Iterator[tuple[str, str, str]]:
    """Every RPC of ours: its service, its name, its comment."""
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
        if file.package.startswith("recast."):
            for i, service in enumerate(file.service):
                for j, method in enumerate(service.method):
                    yield f"{file.package}.{service.name}", method.name, comments.get((6, i, 2, j), "")


def _example(comment: str, store_url: str) -> dict[str, object]:
    found = re.search(r"^ Example: (\{.*\})$", comment, re.MULTILINE)
    assert found, "the comment holds no line `Example: {...}`"
    # An example names no store of an installation: ECS opens only those that it is configured to.
    example: dict[str, object] = json.loads(found.group(1).replace("file:///nowhere", store_url))
    return example


def _client(stack: LocalStack, service: str, method: str) -> Recast:
    if service in ROLES:
        return stack.client("demo", service=ROLES[service])
    return stack.client("demo", "operator" if method == "GetDiskConnection" else "user")


def test_every_rpc_has_an_example_that_works(stack: LocalStack, stack_root: Path) -> None:
    """The example in each RPC's comment is answered without an error, in the order of the contracts."""
    sent = 0
    for service, method, comment in _methods():
        descriptor = Default().FindServiceByName(service).FindMethodByName(method)
        request = json_format.ParseDict(
            _example(comment, (stack_root / "store" / "csbs").as_uri()),
            message_factory.GetMessageClass(descriptor.input_type)(),
        )
        with _client(stack, service, method) as recast:
            owner, *_ = services_serving(service)
            channel = recast.channel(owner)
            answer = _call(channel, f"/{service}/{method}", descriptor, request)
            operation = getattr(answer, "operation", operations_pb2.Operation())
            validates_only = getattr(getattr(request, "header", request), "validate_only", False)
            if operation.name and not validates_only:
                recast.wait(operation, owner)
        sent += 1
    assert sent >= 45


@pytest.mark.fault("FAULT-PRIVATE-FILES")
def test_everything_is_the_owners(stack_root: Path) -> None:
    """No file of a stack can be read by others, and no folder entered: databases, logs, disks, stores."""
    found = [stack_root, *stack_root.rglob("*")]
    assert {"csbs.db", "csbs.db-wal", "ims-staging", "ecs.log", "bases", "chunks"} <= {
        path.name for path in found
    }
    # Public keys; and bases, which no one may write. Their folders are the owner's.
    public = {"trusted.json", *(path.name for path in (stack_root / "data/ecs/bases").iterdir())}
    assert [path for path in found if path.stat().st_mode & 0o077 and path.name not in public] == []


@pytest.mark.fault("FAULT-KEY-IN-LOG")
def test_no_store_key_is_left_in_a_database(stack: LocalStack, stack_root: Path) -> None:
    """Seconds after the work no file of a database has the project's key of a store; ECS got both."""
    keys = [
        project_key((stack_root / "keys" / f"{service}-store.key").read_bytes(), "demo")
        for service in ("csbs", "ims")
    ]

    def holders() -> list[str]:
        files = (stack_root / "data").glob("*.db*")
        return [path.name for path in files if any(key in path.read_bytes() for key in keys)]

    until(lambda: holders() == [], "databases without a key")


def test_a_service_closes_its_database_at_the_end(stack: LocalStack, stack_root: Path) -> None:
    """After a service has ended, SQLite has merged its write-ahead log: no connection was left open."""
    stack.stop()
    databases = {path.name for path in (stack_root / "data").iterdir() if ".db" in path.name}
    assert databases == {f"{service}.db" for service in SERVICES}


def _call(channel: object, path: str, descriptor: object, request: Message) -> Message:
    answer_type = message_factory.GetMessageClass(descriptor.output_type)  # type: ignore[attr-defined]
    make = channel.stream_unary if descriptor.client_streaming else channel.unary_unary  # type: ignore[attr-defined]
    call = make(
        path, request_serializer=type(request).SerializeToString, response_deserializer=answer_type.FromString
    )
    answer: Message = call(iter([request]) if descriptor.client_streaming else request)  # type: ignore[attr-defined]
    return answer
