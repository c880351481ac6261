"""Three gRPC servers on loopback that speak the contracts, and the command line pointed at them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from grpc_status import rpc_status
from typer.testing import CliRunner

from recast.client import SERVICES, Recast, Settings
from recast.client.cli import build
from recast.client.cli.call import methods
from recast.client.tokens import mint
from recast.faults import Refusal
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata
from recast.rpc.identity import Caller, Verifier, create_keys
from recast.rpc.status import status_from_refusal

Answer = Callable[[Iterator[Any], grpc.ServicerContext], Message]


@dataclass
class Call:
    """One call as it arrived: its service, method, caller and requests."""

    service: str
    method: str
    caller: Caller
    metadata: Mapping[str, str]
    requests: list[Message] = field(default_factory=list)

    @property
    def sent(self) -> dict[str, Any]:
        """The first request as JSON."""
        return json_format.MessageToDict(self.requests[0], preserving_proto_field_name=True)


@dataclass
class Contracts(grpc.GenericRpcHandler):
    """Answers every method from `answers`, else with an empty message; records the calls.

    An answer is a message, a refusal, or a function of the requests and the context.
    """

    owner: str
    verifier: Verifier
    calls: list[Call]
    answers: dict[str, Message | Refusal | Answer]

    def service(self, details: Any) -> Any:
        """The handler of a method."""
        _, service, method = details.method.split("/")
        key = f"{service.rpartition('.')[2]}.{method}"
        found = methods()[key]
        request = message_factory.GetMessageClass(found.input_type)
        reply = message_factory.GetMessageClass(found.output_type)

        def answer(given: Iterator[Message], context: grpc.ServicerContext) -> Message:
            metadata = {pair.key: str(pair.value) for pair in context.invocation_metadata()}
            caller = self.verifier.verify(metadata["authorization"].removeprefix("Bearer "))
            call = Call(self.owner, key, caller, metadata)
            self.calls.append(call)
            chosen = self.answers.get(key, reply())
            if callable(chosen):
                return chosen(_noted(given, call), context)
            list(_noted(given, call))
            if isinstance(chosen, Refusal):
                status = status_from_refusal(chosen, f"{self.owner}.recast")
                context.abort_with_status(rpc_status.to_status(status))
            return chosen

        if method == "ImportImage":
            return grpc.stream_unary_rpc_method_handler(answer, request.FromString, reply.SerializeToString)
        return grpc.unary_unary_rpc_method_handler(
            lambda one, context: answer(iter([one]), context), request.FromString, reply.SerializeToString
        )


def _noted(given: Iterator[Message], call: Call) -> Iterator[Message]:
    for each in given:
        call.requests.append(each)
        yield each


@dataclass
class Services:
    """The three servers. `calls` are those that arrived, in order."""

    settings: Settings
    calls: list[Call] = field(default_factory=list)
    answers: dict[str, Message | Refusal | Answer] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the command needs to reach them."""
        ends = {f"RECAST_{service.upper()}_ENDPOINT": end for service, end in self.settings.endpoints.items()}
        return ends | {"RECAST_KEYS": str(self.settings.keys), "USER": "ada"}

    def called(self, method: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]


@dataclass
class Result:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys folder."""
    folder = tmp_path_factory.mktemp("keys")
    create_keys(folder)
    return folder


@pytest.fixture
def services(keys: Path) -> Iterator[Services]:
    """The servers, on free ports."""
    verifier = Verifier.load(keys / "trusted.json")
    found = Services(Settings(endpoints={}, keys=keys, user="ada"))
    servers, endpoints = [], {}
    for owner in SERVICES:
        server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((Contracts(owner, verifier, found.calls, found.answers),))
        endpoints[owner] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        servers.append(server)
    found.settings = Settings(endpoints=endpoints, keys=keys, user="ada")
    yield found
    for server in servers:
        server.stop(0)


@pytest.fixture
def recast(services: Services) -> Iterator[Recast]:
    """A client of the servers that does not wait between attempts."""
    ends = services.settings.endpoints
    token = mint(services.settings, "demo")
    with Recast(
        csbs=ends["csbs"], ims=ends["ims"], ecs=ends["ecs"], token=token, sleep=lambda _: None
    ) as client:
        yield client


@pytest.fixture
def run(services: Services, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line against the servers; stdout and stderr are no terminals."""
    for name in ("RECAST_TOKEN", "RECAST_TOKEN_FILE", "RECAST_PROJECT"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        given = services.environment | dict(environment or {})
        result = CliRunner().invoke(
            build(arguments), arguments, env=given, prog_name="recast", catch_exceptions=False
        )
        return Result(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def operation() -> Callable[..., operations_pb2.Operation]:
    """Makes operations; `error` (a refusal), `response` and `metadata` (messages) fill its fields."""

    def make(name: str = "projects/demo/operations/op-1", **given: Any) -> operations_pb2.Operation:
        made = operations_pb2.Operation(name=name, done=given.keys() & {"error", "response"} != set())
        work = OperationMetadata(verb="CreateBackup", target="projects/demo/backups/nightly")
        made.metadata.Pack(given.get("metadata", work))
        if "error" in given:
            made.error.CopyFrom(status_from_refusal(given["error"], "csbs.recast"))
        if "response" in given:
            made.response.Pack(given["response"])
        return made

    return make


@pytest.fixture
def in_turn() -> Callable[[Sequence[Message | Refusal]], Answer]:
    """Makes an answer out of several: one a call, the last for ever."""

    def make(answers: Sequence[Message | Refusal]) -> Answer:
        left = list(answers)

        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Message:
            list(requests)
            chosen = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(chosen, Refusal):
                context.abort_with_status(rpc_status.to_status(status_from_refusal(chosen, "csbs.recast")))
            return chosen

        return answer

    return make
