"""Requests made at random from the descriptors: every answer is a decided one, on every database.

The seed turns with the commit. `--fuzz-seed SEED` repeats a run; its failures name the seed and the number.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from recast.client import SERVICES
from recast.faults import RemoteRefusal
from recast.rpc.status import refusal_from_rpc_error
from tests.harness.cloud import Cloud
from tests.harness.fuzzing import Fuzzer
from tests.harness.project import Tenant
from tests.harness.rpcs import PRINCIPALS, RPCS, Rpc, header_of, own_everything, requests, set_stage

MOST_SECONDS = 4.0
"""For the requests of one test; a machine makes a few hundred a second."""
MOST_REQUESTS = 2_500
OPERATION_REQUESTS = 300
GARBLED_REQUESTS = 300
UNDECIDED = {"INTERNAL", "UNKNOWN"}


@pytest.fixture(scope="module")
def fuzzed(cloud: Cloud, sources: Path) -> Tenant:
    """A project of its own with resources for every RPC: some requests have effects."""
    tenant = Tenant(cloud, "fuzzed", sources)
    set_stage(tenant)
    return tenant


@pytest.fixture(scope="module")
def fuzzer(fuzzed: Tenant, tenant_of: Callable[[str], Tenant], fuzz_seed: str) -> Fuzzer:
    """Uses names of the project, of another one, and of nothing."""
    other = tenant_of("neighbour")
    own_everything(other)
    own = [fuzzed.backup("free"), fuzzed.image("whole"), fuzzed.server("idle"), fuzzed.disk("loose")]
    foreign = [other.backup("own"), other.image("own"), other.server("own"), other.disk("own")]
    absent = [fuzzed.backup("gone"), fuzzed.image("gone"), fuzzed.server("gone"), "projects/nowhere"]
    return Fuzzer(fuzz_seed, [*own, fuzzed.parent, *foreign, other.parent, *absent])


def test_every_answer_is_decided(fuzzed: Tenant, fuzzer: Fuzzer) -> None:
    """No request gets INTERNAL or a status without a reason, and a third of them are in order."""
    answers: Counter[str] = Counter()
    clients = {name: rpc.client(fuzzed) for name, rpc in RPCS.items()}
    names = sorted(RPCS)
    for number in _numbers():
        rpc = RPCS[names[number % len(names)]]
        request: Any = fuzzer.changed(number, requests(fuzzed)[rpc.name])
        if rpc.has("validate_only"):
            header_of(request).validate_only = True
        try:
            rpc.call(clients[rpc.name], request)
        except RemoteRefusal as refusal:
            answers[refusal.kind.name] += 1
            _check(refusal, f"{rpc.name}, number {number} of seed {fuzzer.seed}: {request!r:.2000}")
        else:
            answers["OK"] += 1
    assert answers["OK"] >= answers.total() / 3, answers


def test_every_answer_about_operations_is_decided(fuzzed: Tenant, fuzzer: Fuzzer) -> None:
    """The same for the operations of each service."""
    wanted: Sequence[Message] = [
        operations_pb2.ListOperationsRequest(name=fuzzed.parent),
        operations_pb2.GetOperationRequest(name=f"{fuzzed.parent}/operations/gone"),
        operations_pb2.CancelOperationRequest(name=f"{fuzzed.parent}/operations/gone"),
        operations_pb2.DeleteOperationRequest(name=f"{fuzzed.parent}/operations/gone"),
    ]
    stubs = [fuzzed.recast.operations(service) for service in SERVICES]
    for number in range(OPERATION_REQUESTS):
        request = fuzzer.changed(number, wanted[number % len(wanted)])
        method = request.DESCRIPTOR.name.removesuffix("Request")
        try:
            getattr(stubs[number % len(stubs)], method)(request)
        except RemoteRefusal as refusal:
            _check(refusal, f"{method}, number {number} of seed {fuzzer.seed}: {request!r:.2000}")


def test_bytes_that_are_no_request_are_refused(fuzzed: Tenant, fuzzer: Fuzzer) -> None:
    """Bytes that cannot be parsed, or are parsed as another request, get a decided answer, too."""
    tokens = {name: _token(fuzzed, rpc) for name, rpc in RPCS.items()}
    # Those with `validate_only` would have any effect.
    names = sorted(name for name, rpc in RPCS.items() if not rpc.has("validate_only"))
    with ExitStack() as stack:
        channels = {
            service: stack.enter_context(grpc.insecure_channel(address))
            for service, address in fuzzed.cloud.endpoints.items()
        }
        for number in range(GARBLED_REQUESTS):
            rpc = RPCS[names[number % len(names)]]
            raw = fuzzer.garbled(number, requests(fuzzed)[rpc.name])
            try:
                rpc.call_raw(channels[rpc.service], tokens[rpc.name], raw)
            except grpc.RpcError as error:
                refusal = refusal_from_rpc_error(error)
                _check(refusal, f"{rpc.name}, number {number} of seed {fuzzer.seed}: {raw[:2000]!r}")


def _token(tenant: Tenant, rpc: Rpc) -> str:
    principal = min(rpc.allowed, key=PRINCIPALS.index)
    if principal in SERVICES:
        return tenant.cloud.token(tenant.project, service=principal)  # type: ignore[arg-type]
    return tenant.cloud.token(tenant.project, role=principal)


def _numbers() -> Iterator[int]:
    """Numbers of requests, until the time is over."""
    end = time.monotonic() + MOST_SECONDS
    yield from takewhile(lambda _: time.monotonic() < end, range(MOST_REQUESTS))


def _check(refusal: RemoteRefusal, request: str) -> None:
    assert refusal.kind.name not in UNDECIDED, f"{refusal} to {request}"
    assert refusal.reason, f"{refusal} to {request}"
