"""One call: its caller, its context variables, its count, and the status of its refusal.

A refusal becomes a google.rpc.Status. Any other exception is a bug: logged with its traceback, and answered
as INTERNAL with the request id and no inner text.
"""

import asyncio
import contextvars
import random
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import grpc
import structlog
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram

from recast.faults import Internal, ProjectNotFound, Refusal, RoleNotAllowed, TokenInvalid
from recast.rpc.access import Access
from recast.rpc.bounded_log import BoundedLog
from recast.rpc.identity import Caller, Verifier, act_for
from recast.rpc.status import status_from_refusal
from recast.rpc.threads import HandlerThreads

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")

_CALLS = Counter("recast_rpc_calls_total", "Calls by method and status code.", ["method", "code"])
_SECONDS = Histogram("recast_rpc_seconds", "How long calls took, by method.", ["method"])

_NOBODY = Caller("", "", "")
_MAX_REQUEST_ID = 64  # it is logged, and returned


def current_caller() -> Caller:
    """The caller of the current call."""
    return _caller.get()


def enter_project(project: str) -> str:
    """Answers NOT_FOUND when the caller is not of this project (R61); returns the project otherwise."""
    if current_caller().project != project:
        raise ProjectNotFound(project=f"projects/{project}")
    return project


class Method:
    """A method: its allowed callers, and the counters of its calls."""

    def __init__(self, name: str, access: Access | None) -> None:
        self.name = name
        self.verb = name.rpartition("/")[2]
        self._access = access
        self._seconds = _SECONDS.labels(name)
        self._calls: dict[str, Counter] = {}

    def admit(self, caller: Caller) -> None:
        """RoleNotAllowed, unless the caller is allowed."""
        if self._access is None or not self._access.admits(caller):
            allowed, identity = self._access or "nobody", f"{caller.role} {caller.subject}"
            raise RoleNotAllowed(method=self.name.lstrip("/"), allowed=allowed, caller=identity)

    def count(self, code: str, seconds: float) -> None:
        """Counts a call that ended with this status code."""
        if code not in self._calls:
            self._calls[code] = _CALLS.labels(self.name, code)
        self._calls[code].inc()
        self._seconds.observe(seconds)


class Call:
    """A call, from its metadata to its status: the context that handlers get.

    It belongs to the event loop. The context variables that `admit` binds, for the log and for calls to
    peers, are those of the call's own task, and `in_thread` copies them.
    """

    __slots__ = (
        "_begun",
        "_domain",
        "_is_verified",
        "_metadata",
        "_method",
        "_project",
        "_request_id",
        "_unverified",
        "stream",
        "threads",
    )

    def __init__(
        self,
        method: Method,
        stream: grpc.aio.ServicerContext[Any, Any],
        domain: str,
        threads: HandlerThreads,
        unverified: BoundedLog,
    ) -> None:
        """`unverified` logs the calls whose caller is not verified."""
        self._begun = time.monotonic()
        self._is_verified = False
        self._unverified = unverified
        self._method = method
        self._domain = domain
        self.threads = threads
        """The server's threads."""
        self._project = ""
        self.stream = stream
        """gRPC's own context."""
        self._metadata = dict(stream.invocation_metadata() or ())
        self._request_id = str(self._metadata.get("x-request-id", ""))[:_MAX_REQUEST_ID] or _new_request_id()

    def admit(self, verifier: Verifier) -> None:
        """Verifies the caller's token, and that the caller may use the method."""
        caller = _NOBODY  # until the token is verified: the log must not name an unverified caller
        try:
            caller = verifier.verify(self._token())
            self._is_verified = True
        finally:
            _caller.set(caller)
            act_for(caller.project)
            structlog.contextvars.bind_contextvars(
                request_id=self._request_id,
                method=self._method.name,
                project=caller.project,
                subject=caller.subject,
            )
        # A service has its own share: people who exhaust their project's do not stop its workflows.
        self._project = f"{caller.project} ({caller.subject})" if caller.role == "service" else caller.project
        self._method.admit(caller)

    def _token(self) -> str:
        given = [value for key, value in self.stream.invocation_metadata() or () if key == "authorization"]
        if len(given) > 1:
            raise TokenInvalid(problem="the call has more than one `authorization`")
        scheme, _, token = str(given[0] if given else "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenInvalid(problem="the call has no token")
        return token.strip()

    async def in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the function in a thread of the server, in the project's share, and returns its result."""
        return await self.threads.run(self._project, function, *args, **kwargs)

    async def clean_up(self, function: Callable[[], object]) -> None:
        """Runs the function in a thread even when the project is at its limit: for `finally`."""
        await self.threads.clean_up(function)

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        return self.stream.time_remaining()

    def peer(self) -> str:
        """The peer's address, without its port."""
        return self.stream.peer().rpartition(":")[0]

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        """Ends the call with a status without details: for standard protocols such as health. Raises."""
        self.count(code.name)
        await self.stream.abort(code, text)

    async def fail(self, problem: BaseException) -> None:
        """Ends the call with the status of the exception. Raises gRPC's own exception for an ended call."""
        if isinstance(problem, grpc.aio.AbortError):  # its status is sent and counted
            raise problem
        # By the client, or by the server's shutdown.
        if isinstance(problem, asyncio.CancelledError | grpc.aio.BaseError):
            self.count("CANCELLED")
            self._log("call cancelled", "CANCELLED")
            raise problem
        if isinstance(problem, Refusal):
            answer = problem
            self._log("refused", problem.reason, text=problem.text)
        elif isinstance(problem, Exception):  # a bug: the caller gets no inner text
            answer = Internal(request_id=self._request_id)
            if self._is_verified:
                log.error("bug", exc_info=problem)
            else:
                self._unverified.add("bug", answer.reason, exc_info=problem)
        else:
            raise problem
        self.count(answer.kind.name)
        status = status_from_refusal(answer, self._domain)
        bare = rpc_status.to_status(status)
        await self.stream.abort(bare.code, bare.details, bare.trailing_metadata)

    def _log(self, event: str, reason: str, **facts: str) -> None:
        if self._is_verified:
            log.info(event, reason=reason, **facts)
        else:
            self._unverified.add(event, reason, peer=self.peer(), **facts)

    def count(self, code: str) -> None:
        """Counts the call as ended with this status code."""
        self._method.count(code, time.monotonic() - self._begun)


def _new_request_id() -> str:
    """It need not be secret, only unique."""
    return f"{random.getrandbits(128):032x}"
