"""Every example in the contracts is sent to the services by grpcurl, against the demo's data."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from recast.chunkstore import project_key
from recast.client import Service, Settings
from recast.client.tokens import mint
from recast.contracts import descriptor_set
from recast.contracts.services import SERVICES, services_serving
from recast.doctor import Installation, examine
from recast.ims.v1.image_pb2 import ImageState
from recast.ims.v1.image_service_pb2 import ListImagesRequest
from recast.stack import LocalStack
from tests.harness.expectations import until

GRPCURL = Path(sys.executable).with_name("grpcurl")
OPERATIONS = "google.longrunning.Operations"
CALLERS: dict[str, Service] = {
    "recast.imagelock.v1.ImageLockService": "ims",
    "recast.ims.v1.ProvisioningService": "ecs",
    "recast.ecs.v1.BackupSourceService": "csbs",
    "recast.ecs.v1.ImageSourceService": "ims",
}
# The cancel of ended work changes nothing, and its record is deleted last.
OPERATION_ORDER = ("ListOperations", "GetOperation", "WaitOperation", "CancelOperation", "DeleteOperation")


@pytest.fixture(scope="module")
def stack_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stack."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def stack(stack_root: Path) -> Iterator[LocalStack]:
    """The three services as processes, with the demo's data."""
    with LocalStack(stack_root) as running:
        # Two at once: the second waits for what the first makes (FAULT-N22).
        command = [sys.executable, "-m", "tests.demo.seed"]
        seeds = [
            subprocess.Popen(
                command,
                env=os.environ | running.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for _ in range(2)
        ]
        printed = [seed.communicate(timeout=300)[0].decode() for seed in seeds]
        assert [seed.returncode for seed in seeds] == [0, 0], printed
        yield running


def _methods() -> Iterator[tuple[str, str, str]]:
    """Every RPC with a comment: its service, its name, its comment."""
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
        for i, service in enumerate(file.service):
            for j, method in enumerate(service.method):
                yield f"{file.package}.{service.name}", method.name, comments.get((6, i, 2, j), "")


def _example(comment: str, store_url: str = "") -> str:
    found = re.search(r"^ Example: (\{.*\})$", comment, re.MULTILINE)
    assert found, "the comment holds no line `Example: {...}`"
    # An example names no store of an installation: ECS opens only those that it is configured to.
    return found.group(1).replace("file:///nowhere", store_url)


def _grpcurl(stack: LocalStack, target: Service, method: str, data: str) -> dict[str, Any]:
    """The answer of a method to a request, both as grpcurl takes and prints them."""
    service, _, name = method.partition("/")
    settings = Settings(endpoints=stack.endpoints, keys=stack.keys)
    role = "operator" if name == "GetDiskConnection" else "user"
    token = mint(settings, "demo", role=role, service=CALLERS.get(service))()
    command = [GRPCURL, "-plaintext", "-max-time", "60", "-H", f"authorization: Bearer {token}", "-d", data]
    ended = subprocess.run(
        [*command, stack.endpoints[target], method], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{method} {data}: {ended.stderr}"
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _wait(stack: LocalStack, target: Service, name: str) -> None:
    with stack.client("demo", "user") as recast:
        recast.wait(name, target)


@pytest.mark.fault("FAULT-N22")
def test_two_seeds_at_once_make_the_data_once(stack: LocalStack) -> None:
    """Both seeds succeed, and the project has each of their resources once."""
    with stack.client("demo", "user") as recast:
        listed = recast.images.ListImages(ListImagesRequest(parent="projects/demo")).images
    assert sorted(image.name.rpartition("/")[2] for image in listed) == ["debian", "shop-data", "web-image"]
    assert {ImageState.Name(image.state) for image in listed} == {"IMAGE_STATE_NORMAL"}


@pytest.mark.fault("FAULT-N04")
def test_grpcurl_sends_every_example(stack: LocalStack, stack_root: Path) -> None:
    """grpcurl sends the example of each RPC's comment without an error, in the order of the contracts;
    afterwards the doctor finds nothing: each example that holds has one that releases.
    """
    sent = 0
    for service, method, comment in _methods():
        if service == OPERATIONS:
            continue
        target, *_ = services_serving(service)
        data = _example(comment, (stack_root / "store" / "csbs").as_uri())
        answer = _grpcurl(stack, target, f"{service}/{method}", data)
        if '"validate_only": true' not in data and "operation" in answer:
            _wait(stack, target, answer["operation"]["name"])
        sent += 1
    assert sent >= 45
    assert examine(Installation.local(stack_root)).problems == ()


@pytest.mark.fault("FAULT-N23")
@pytest.mark.parametrize("target", SERVICES)
def test_grpcurl_sends_the_examples_of_operations(target: Service, stack: LocalStack) -> None:
    """Each service answers the examples of Operations, with an operation's id for OPERATION."""
    examples = {method: _example(comment) for service, method, comment in _methods() if service == OPERATIONS}
    assert set(examples) == set(OPERATION_ORDER)
    name = ""
    for method in OPERATION_ORDER:
        data = examples[method].replace("OPERATION", name)
        answer = _grpcurl(stack, target, f"{OPERATIONS}/{method}", data)
        if method == "ListOperations":
            name = answer["operations"][0]["name"].rpartition("/")[2]


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
    assert databases == {f"{service}.db{suffix}" for service in SERVICES for suffix in ("", ".reserve")}
