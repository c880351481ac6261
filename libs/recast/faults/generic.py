"""The refusals that are common to all services; the reasons stand in recast.fault.v1.ErrorReason."""

from recast.faults.refusal import Kind, Refusal


class RequestInvalid(Refusal):
    """A field of the request breaks its rule; `fields` names it."""

    kind = Kind.INVALID_ARGUMENT
    reason = "REQUEST_INVALID"
    message = "the request is invalid: {problem}"


class TokenInvalid(Refusal):
    """The call has no valid token."""

    kind = Kind.UNAUTHENTICATED
    reason = "TOKEN_INVALID"
    message = (
        "{problem}; send `authorization: Bearer <token>` with a token that this service trusts "
        "(`recast token` makes one)"
    )


class RoleNotAllowed(Refusal):
    """The caller's role or subject may not make this call."""

    kind = Kind.PERMISSION_DENIED
    reason = "ROLE_NOT_ALLOWED"
    message = "{method} is for {allowed}; this token is for {caller}"


class ProjectNotFound(Refusal):
    """Every resource is within the caller's project; others do not exist for the caller."""

    kind = Kind.NOT_FOUND
    reason = "PROJECT_NOT_FOUND"
    rule = "R61"
    message = "there is no project {project} for this token"
    in_the_way = "project"


class EtagMismatch(Refusal):
    """The etag is not the current one."""

    kind = Kind.ABORTED
    reason = "ETAG_MISMATCH"
    message = "{resource} has changed since etag {etag} was read; read it again and decide anew"
    in_the_way = "resource"


class RequestIdReused(Refusal):
    """The request id was used before, with another body."""

    kind = Kind.INVALID_ARGUMENT
    reason = "REQUEST_ID_REUSED"
    message = "request id {request_id} was used for another request; a new request needs a new id"


class PageTokenInvalid(Refusal):
    """The page token is not one of this query."""

    kind = Kind.INVALID_ARGUMENT
    reason = "PAGE_TOKEN_INVALID"
    message = "the page token is not one of this query: {problem}; begin again without it"


class UpdateMaskInvalid(Refusal):
    """The update mask names a path that cannot be updated."""

    kind = Kind.INVALID_ARGUMENT
    reason = "UPDATE_MASK_INVALID"
    message = "update_mask path {path} cannot be updated; these can: {allowed}"


class FilterInvalid(Refusal):
    """The list does not support this filter or order."""

    kind = Kind.INVALID_ARGUMENT
    reason = "FILTER_INVALID"
    message = "{problem}; known fields: {allowed}"


class OperationNotFound(Refusal):
    """There is no such operation in this project."""

    kind = Kind.NOT_FOUND
    reason = "OPERATION_NOT_FOUND"
    message = "there is no operation {operation}"
    in_the_way = "operation"


class OperationRunning(Refusal):
    """The operation has not ended, so its record cannot be deleted."""

    reason = "OPERATION_RUNNING"
    message = "{operation} has not ended; cancel it or wait for its end first"
    in_the_way = "operation"


class RequestTimeout(Refusal):
    """A part of the call's request did not arrive in time."""

    kind = Kind.DEADLINE_EXCEEDED
    reason = "REQUEST_TIMEOUT"
    message = "{part} did not arrive within {seconds} seconds"


class TooManyCalls(Refusal):
    """The caller's project or address has reached this server's limit of calls."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_CALLS"
    message = "{caller} may have {limit} calls {state}; come back when others have ended"
    retry_seconds = 1.0


class TooManyWaits(Refusal):
    """The project has reached this server's limit of waiting callers."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_WAITS"
    message = "{limit} callers of the project are waiting already; come back later, or poll with GetOperation"
    retry_seconds = 1.0


class StorageFull(Refusal):
    """The storage has no room for what would take space. What frees space works, from a reserve."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "STORAGE_FULL"
    message = (
        "the storage of the service is full: {free_bytes} bytes are free; delete backups, images, servers or "
        "disks that are not needed, which works, or let the operator add storage, then repeat the request"
    )


class Unavailable(Refusal):
    """A dependency of the call is unavailable for now."""

    kind = Kind.UNAVAILABLE
    reason = "UNAVAILABLE"
    message = "{problem}"
    retry_seconds = 1.0


class Cancelled(Refusal):
    """The work was cancelled."""

    kind = Kind.CANCELLED
    reason = "CANCELLED"
    message = "{operation} was cancelled"


class Internal(Refusal):
    """A bug. The log has the traceback, under the same request id."""

    kind = Kind.INTERNAL
    reason = "INTERNAL"
    message = "internal error; the service's log has it under request id {request_id}"


class StoreIoFailed(Refusal):
    """The storage beneath the chunk store, or beneath uploads, failed; a retry does not help."""

    kind = Kind.ABORTED
    reason = "STORE_IO_FAILED"
    message = "the storage failed: {problem}; free space or repair it, then repeat the request"


class StoreNotAllowed(Refusal):
    """A peer named a chunk store that is not among those that this service opens for peers."""

    kind = Kind.PERMISSION_DENIED
    reason = "STORE_NOT_ALLOWED"
    message = (
        "the chunk store {store} is none of those that this service opens for its peers; add it to the"
        " service's setting PEER_STORE_URLS"
    )


class Conflict(Refusal):
    """Another call changed a row between this call's read and its write."""

    kind = Kind.ABORTED
    reason = "CONFLICT"
    message = "{resource} was changed by another call at the same time; try again"
    in_the_way = "resource"
    retry_seconds = 0.1
