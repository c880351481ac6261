"""The wires between the services: for each calling pair, a proxy that records every call and can hurt a
chosen one, behind a relay that can be cut.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import grpc

from recast.client import Service
from tests.faults.kills.rig import Rig
from tests.faults.network.relay import Relay

# The pairs of caller and called service (proto/README.md), and the setting with the called one's address.
PAIRS: dict[str, tuple[Service, str]] = {
    "csbs->ecs": ("ecs", "RECAST_CSBS_ECS_TARGET"),
    "ims->csbs": ("csbs", "RECAST_IMS_CSBS_TARGET"),
    "ims->ecs": ("ecs", "RECAST_IMS_ECS_TARGET"),
    "ecs->ims": ("ims", "RECAST_ECS_IMS_TARGET"),
}
# Two calls may have different answers: the state that they read changes meanwhile.
READS = {
    "CheckImageEligibility",
    "DescribeServer",
    "GetBackup",
    "GetBackupContent",
    "GetOperation",
    "ListOperations",
    "ResolveImage",
    "WaitOperation",
}
DELAY_SECONDS = 0.5
_NO_DEADLINE = 1e6  # a call without a deadline has thousands of years left


class Fault(StrEnum):
    """The fault of a call, and of every attempt of it that gRPC makes by itself."""

    DELAY = "delayed"
    REFUSE = "refused before it arrived"
    LOSE = "done, its answer lost"
    TWICE = "repeated, the second answer given"
    BOTH = "arrives twice at once"
    LATE = "repeated when the work had ended"
    HANG = "never arrives, until its deadline"
    MUTE = "done, never answered, until its deadline"
    CUT = "done, and the wire cut"
    SILENCE = "done, and the wire silent"


BREAKS = {Fault.CUT, Fault.SILENCE}


@dataclass(frozen=True)
class Call:
    """One call as it came over a wire."""

    pair: str
    method: str
    attempt: int
    """The number of gRPC's attempts before this one."""
    deadline_seconds: float | None
    """The time left at its arrival, in seconds; None when it has no deadline."""
    outcome: str
    """The status that the caller was given, if the wire still held."""
    request: bytes


@dataclass(frozen=True)
class Answer:
    """The called service's answer."""

    code: grpc.StatusCode
    text: str
    body: bytes
    trailing: tuple[Any, ...]

    def equals(self, other: "Answer") -> bool:
        """Whether a caller gets the same from both."""
        return (self.code, self.text, self.body) == (other.code, other.text, other.body)


@dataclass
class _Order:
    """A fault for the nth call of a method. `struck` is its request, by which its further attempts are
    known.
    """

    method: str
    time: int
    fault: Fault
    seconds: float
    struck: bytes | None = None


class Wire(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The proxy of one service's calls of another. All of them are one request and one reply."""

    def __init__(self, pair: str) -> None:
        self.pair = pair
        self.calls: list[Call] = []
        self.unlike: list[str] = []
        """Repeats of a change that were answered in another way than the first."""
        self.heal_time = 0.0
        """By `time.monotonic`, when the wire was healed last."""
        self._lock = threading.Lock()  # guards the above and the three below: each call has a thread
        self._seen: Counter[str] = Counter()
        self._order: _Order | None = None
        self._late: list[tuple[str, bytes, list[Any]]] = []
        self._upstream: grpc.Channel | None = None
        self._server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers([self])
        self.relay = Relay(self._server.add_insecure_port("127.0.0.1:0"))
        self._server.start()

    def join(self, target: str) -> None:
        """Sets the address of the called service."""
        self._upstream = grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)])

    def close(self) -> None:
        """Ends it."""
        self.relay.close()
        self._server.stop(None).wait()
        if self._upstream:
            self._upstream.close()

    # For tests.

    def arm(self, method: str, time: int, fault: Fault, seconds: float = 0.0) -> None:
        """Orders a fault for the nth call of a method from now on; a wire heals `seconds` after it."""
        with self._lock:
            self._seen.clear()
            self._order = _Order(method, time, fault, seconds)

    def disarm(self) -> bool:
        """Takes the order back; gives whether it was carried out."""
        with self._lock:
            was_struck = self._order is not None and self._order.struck is not None
            self._order = None
            return was_struck

    def counted(self) -> Counter[str]:
        """The number of calls of each method since the last call of `counted`, without gRPC's repeats."""
        with self._lock:
            seen = self._seen.copy()
            self._seen.clear()
        return seen

    def deliver_late(self) -> list[str]:
        """Repeats the calls recorded for it; gives their statuses."""
        with self._lock:
            late, self._late = self._late, []
        statuses = []
        for method, request, metadata in late:
            again = self._forward(method, request, metadata, 20.0)
            statuses.append(f"{_short(method)} {again.code.name}")
        return statuses

    # For gRPC.

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """Passes every method on, as bytes."""
        method = handler_call_details.method
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._pass(method, request, context)
        )

    def _pass(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        given = context.invocation_metadata()
        attempt = next((int(v) for k, v in given if k == "grpc-previous-rpc-attempts"), 0)
        left = context.time_remaining()
        deadline = left if left is not None and left < _NO_DEADLINE else None
        # Metadata with grpc- is between two neighbours on the wire.
        metadata = [(k, v) for k, v in given if not k.startswith(("grpc-", "user-agent"))]
        fault = self._fault_for(method, request, attempt)
        answer = self._suffer(fault, method, request, metadata, context)
        with self._lock:
            self.calls.append(Call(self.pair, _short(method), attempt, deadline, answer.code.name, request))
        if answer.code is grpc.StatusCode.OK:
            return answer.body
        context.set_trailing_metadata(answer.trailing)
        context.abort(answer.code, answer.text)
        raise AssertionError("abort raises")

    def _fault_for(self, method: str, request: bytes, attempt: int) -> Fault | None:
        with self._lock:
            order, name = self._order, _short(method)
            if attempt:  # a repeat by gRPC shares the fate of its call, but breaks no wire again
                is_struck = order is not None and order.struck == request
                return order.fault if order and is_struck and order.fault not in BREAKS else None
            self._seen[name] += 1
            if order and order.struck is None and (name, self._seen[name]) == (order.method, order.time):
                order.struck = request
                return order.fault
            return None

    def _suffer(
        self,
        fault: Fault | None,
        method: str,
        request: bytes,
        metadata: list[Any],
        context: grpc.ServicerContext,
    ) -> Answer:
        """The answer to the caller."""

        def forward() -> Answer:
            return self._forward(method, request, metadata, context.time_remaining())

        if fault is Fault.REFUSE:
            return _unavailable("the wire was down")
        if fault is Fault.HANG:
            return _silent(context)
        if fault is Fault.DELAY:
            _delay()
        if fault is Fault.BOTH:
            return self._forward_twice(method, forward)
        answer = forward()
        if fault is Fault.LOSE:
            answer = _unavailable("the wire went down")
        elif fault is Fault.MUTE:
            answer = _silent(context)
        elif fault in BREAKS:
            self._break(fault)
        elif fault is Fault.LATE:
            with self._lock:
                self._late.append((method, request, metadata))
        elif fault is Fault.TWICE:
            answer = self._compared(method, answer, forward())
        return answer

    def _break(self, fault: Fault) -> None:
        with self._lock:
            seconds = self._order.seconds if self._order else 0.0
        (self.relay.cut if fault is Fault.CUT else self.relay.silence)()
        threading.Timer(seconds, self._heal).start()

    def _heal(self) -> None:
        self.heal_time = time.monotonic()
        self.relay.heal()

    def _forward_twice(self, method: str, forward: Callable[[], Answer]) -> Answer:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.submit(forward), pool.submit(forward)
            return self._compared(method, first.result(), second.result())

    def _compared(self, method: str, first: Answer, second: Answer) -> Answer:
        name = _short(method)
        # UNAVAILABLE is retried by the caller itself, and the later answer counts.
        is_undecided = grpc.StatusCode.UNAVAILABLE in {first.code, second.code}
        if name not in READS and not is_undecided and not first.equals(second):
            with self._lock:
                answers = [f"{each.code.name} {each.text}" for each in (first, second)]
                self.unlike.append(f"{self.pair} {name}: {', then '.join(answers)}")
        return second

    def _forward(self, method: str, request: bytes, metadata: list[Any], seconds: float) -> Answer:
        assert self._upstream is not None, "joined before the first call"
        call = self._upstream.unary_unary(method)
        try:
            body, received = call.with_call(request, timeout=seconds, metadata=metadata)
        except grpc.RpcError as error:
            return Answer(error.code(), error.details() or "", b"", tuple(error.trailing_metadata() or ()))
        return Answer(grpc.StatusCode.OK, "", body, tuple(received.trailing_metadata() or ()))


class WiredRig(Rig):
    """A stack whose services reach each other over wires."""

    def __init__(self, root: Path) -> None:
        self.wires = {pair: Wire(pair) for pair in PAIRS}
        super().__init__(root)
        for pair, (called, _setting) in PAIRS.items():
            self.wires[pair].join(self.stack.endpoints[called])

    def _environment(self) -> dict[str, str]:
        targets = {
            setting: f"127.0.0.1:{self.wires[pair].relay.port}" for pair, (_, setting) in PAIRS.items()
        }
        return super()._environment() | targets

    def calls(self) -> list[Call]:
        """Every call between services so far."""
        return [call for wire in self.wires.values() for call in wire.calls]

    def close(self) -> None:
        """Stops everything."""
        super().close()
        for wire in self.wires.values():
            wire.close()


def _delay() -> None:
    """The fault itself: a call that arrives late."""
    time.sleep(DELAY_SECONDS)


def _short(method: str) -> str:
    return method.rpartition("/")[2]


def _unavailable(text: str) -> Answer:
    return Answer(grpc.StatusCode.UNAVAILABLE, text, b"", ())


def _silent(context: grpc.ServicerContext) -> Answer:
    """Gives no answer until the caller has given up."""
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(60.0)
    return Answer(grpc.StatusCode.DEADLINE_EXCEEDED, "the wire was silent", b"", ())
