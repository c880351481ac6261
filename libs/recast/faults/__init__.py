"""Refusals: what a service says no with, apart from any transport.

A refusal is a class with a kind, a stable reason and a message; the facts that it is raised with fill the
message and travel beside it. Its `rule` is the number of the rule that it keeps, if there is one.
`recast.rpc` maps refusals to google.rpc.Status and back; everything that is not a refusal is a bug.
"""

from recast.faults.generic import (
    Cancelled,
    Conflict,
    EtagMismatch,
    FilterInvalid,
    Internal,
    OperationNotFound,
    OperationRunning,
    PageTokenInvalid,
    ProjectNotFound,
    RequestIdReused,
    RequestInvalid,
    RequestTimeout,
    RoleNotAllowed,
    StoreIoFailed,
    TokenInvalid,
    TooManyCalls,
    TooManyWaits,
    Unavailable,
    UpdateMaskInvalid,
)
from recast.faults.refusal import FieldViolation, Kind, Refusal, RemoteRefusal, Violation, all_of

__all__ = [
    "Cancelled",
    "Conflict",
    "EtagMismatch",
    "FieldViolation",
    "FilterInvalid",
    "Internal",
    "Kind",
    "OperationNotFound",
    "OperationRunning",
    "PageTokenInvalid",
    "ProjectNotFound",
    "Refusal",
    "RemoteRefusal",
    "RequestIdReused",
    "RequestInvalid",
    "RequestTimeout",
    "RoleNotAllowed",
    "StoreIoFailed",
    "TokenInvalid",
    "TooManyCalls",
    "TooManyWaits",
    "Unavailable",
    "UpdateMaskInvalid",
    "Violation",
    "all_of",
]
