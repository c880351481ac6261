"""One call: who makes it, what its log and its peers are told, how it is counted, and what a refusal becomes.

A refusal becomes a google.rpc.Status, and anything else a bug: logged with its traceback, shown as INTERNAL
with the request id and no inner text.
"""

import contextvars
import random
import time

import grpc
import structlog
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram

from recast.faults import Internal, ProjectNotFound, Refusal, RoleNotAllowed, TokenInvalid
from recast.rpc.access import Access
from recast.rpc.identity import Caller, Verifier, act_for
from recast.rpc.status import status_from_refusal

log = structlog.get_logger()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")

_CALLS = Counter("recast_rpc_calls_total", "Calls by method and status code.", ["method", "code"])
_SECONDS = Histogram("recast_rpc_seconds", "How long calls took, by method.", ["method"])

_NOBODY = Caller("", "", "")
_MAX_REQUEST_ID = 64  # it is logged, and given back


def current_caller() -> Caller:
    """Who is making the call that this thread handles."""
    return _caller.get()


def enter_project(project: str) -> str:
    """Answers NOT_FOUND when the caller is not of this project (R61); gives the project otherwise."""
    if current_caller().project != project:
        raise ProjectNotFound(project=f"projects/{project}")
    return project


class Method:
    """A method, as it is known before its first call: who may, and where its calls are counted."""

    def __init__(self, name: str, access: Access | None) -> None:
        self.name = name
        self.verb = name.rpartition("/")[2]
        self._access = access
        self._seconds = _SECONDS.labels(name)
        self._calls: dict[str, Counter] = {}

    def admit(self, caller: Caller) -> None:
        """RoleNotAllowed, unless the caller may."""
        if self._access is None or not self._access.admits(caller):
            allowed, who = self._access or "nobody", f"{caller.role} {caller.subject}"
            raise RoleNotAllowed(method=self.name.lstrip("/"), allowed=allowed, caller=who)

    def count(self, code: str, seconds: float) -> None:
        """A call that ended with this status code."""
        if code not in self._calls:
            self._calls[code] = _CALLS.labels(self.name, code)
        self._calls[code].inc()
        self._seconds.observe(seconds)


class Call:
    """A call, from its metadata to its count: `with` it around what answers it.

    What it binds to its thread (for the log, for the handler, for calls to peers) stays there: each call
    binds all of it anew, and the server's threads do nothing else.
    """

    __slots__ = ("_begun", "_context", "_domain", "_given", "_method", "_request_id")

    def __init__(self, method: Method, context: grpc.ServicerContext, domain: str) -> None:
        self._begun = time.monotonic()
        self._method = method
        self._context = context
        self._domain = domain
        self._given = given = dict(context.invocation_metadata())
        self._request_id = str(given.get("x-request-id", ""))[:_MAX_REQUEST_ID] or _new_request_id()

    def admit(self, verifier: Verifier) -> None:
        """Finds out who calls, and whether they may."""
        caller = _NOBODY  # until more is known: the log must not name the caller before
        try:
            caller = verifier.verify(self._token())
        finally:
            _caller.set(caller)
            act_for(caller.project)
            structlog.contextvars.bind_contextvars(
                request_id=self._request_id,
                method=self._method.name,
                project=caller.project,
                subject=caller.subject,
            )
        self._method.admit(caller)

    def _token(self) -> str:
        scheme, _, token = str(self._given.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenInvalid(problem="the call has no token")
        return token.strip()

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, _kind: object, problem: BaseException | None, _traceback: object) -> None:
        """Answers what was raised, by raising what gRPC takes for it."""
        code, answer = "OK", None
        if isinstance(problem, Refusal):
            code, answer = problem.kind.name, problem
            log.info("refused", reason=problem.reason, text=problem.text)
        elif isinstance(problem, grpc.RpcError | GeneratorExit):  # amid its stream: there is nobody to answer
            code = "CANCELLED"
            log.info("client went away")
        elif isinstance(problem, Exception):  # a bug, whatever it is: the caller sees no inner text
            code, answer = "INTERNAL", Internal(request_id=self._request_id)
            log.error("bug", exc_info=problem)
        self._method.count(code, time.monotonic() - self._begun)
        if answer is not None:
            status = status_from_refusal(answer, self._domain)
            self._context.abort_with_status(rpc_status.to_status(status))


def _new_request_id() -> str:
    """It need not be secret, only another than all others."""
    return f"{random.getrandbits(128):032x}"
