"""Refusals: the errors that a caller can act on, independent of any transport.

A refusal is a class with a kind, a stable reason and a message; its facts, given when it is raised, fill the
message and the metadata. Its `rule` is the number of the rule that it keeps, if there is one.
`recast.rpc` maps refusals to google.rpc.Status and back; every other exception is a bug.
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
    StorageFull,
    StoreIoFailed,
    StoreNotAllowed,
    TokenInvalid,
    TooManyCalls,
    TooManyWaits,
    Unavailable,
    UpdateMaskInvalid,
)
from recast.faults.paths import text_without_paths
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
    "StorageFull",
    "StoreIoFailed",
    "StoreNotAllowed",
    "TokenInvalid",
    "TooManyCalls",
    "TooManyWaits",
    "Unavailable",
    "UpdateMaskInvalid",
    "Violation",
    "all_of",
    "text_without_paths",
]
