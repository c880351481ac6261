"""Converts a refusal to google.rpc.Status and back."""

from typing import cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from recast.faults import FieldViolation, Kind, Refusal, RemoteRefusal, Violation
from recast.rpc.vendor_codes import vendor_code

# A status travels in the call's trailers, and clients by default refuse trailers of more than
# 8 KiB; without a limit a long refusal would be lost. 4,000 bytes are 5,400 on the wire, and the text is sent
# there once more.
_MAX_BYTES, _MAX_TEXT = 4_000, 500


def status_from_refusal(refusal: Refusal, domain: str) -> status_pb2.Status:
    """The status of a refusal: ErrorInfo always, and each other detail that is not empty.

    A remote refusal keeps the peer's domain, because the reason is the peer's. Of very many violations or
    fields only the first are sent, and texts end after 500 characters.
    """
    for most in (64, 16, 4):
        status = _status(refusal, getattr(refusal, "domain", "") or domain, most)
        if status.ByteSize() <= _MAX_BYTES:
            break
    return status


def _status(refusal: Refusal, domain: str, most: int) -> status_pb2.Status:
    metadata = {key: _cut(value) for key, value in refusal.metadata().items()}
    if code := vendor_code(domain, refusal.reason):
        metadata["vendor_code"] = code
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=domain, metadata=metadata)
    ]
    if refusal.kind is Kind.RESOURCE_EXHAUSTED:
        quota = error_details_pb2.QuotaFailure.Violation(
            subject=refusal.reason, description=_cut(refusal.text)
        )
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    if refusal.violations:
        broken = error_details_pb2.PreconditionFailure()
        for violation in refusal.violations[:most]:
            broken.violations.add(
                type=violation.reason, subject=violation.resource, description=_cut(violation.description)
            )
        details.append(broken)
    if refusal.fields:
        bad = error_details_pb2.BadRequest()
        for field in refusal.fields[:most]:
            bad.field_violations.add(field=_cut(field.field), description=_cut(field.description))
        details.append(bad)
    if refusal.retry_seconds is not None:
        delay = Duration()
        delay.FromNanoseconds(round(refusal.retry_seconds * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_pb2.Code.Value(refusal.kind.name), message=_cut(refusal.text))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


def refusal_from_status(status: status_pb2.Status) -> RemoteRefusal:
    """The refusal in a status. A status without ErrorInfo gets its code's name as the reason."""
    known = code_pb2.Code.values()
    code = code_pb2.Code.Name(status.code) if status.code in known else "UNKNOWN"
    # Refusals do not use every code: UNKNOWN, UNIMPLEMENTED... are bugs.
    kind = Kind[code] if code in Kind.__members__ else Kind.INTERNAL
    info, bad, broken = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.PreconditionFailure(),
    )
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for message in (info, bad, broken, retry):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    return RemoteRefusal(
        kind,
        info.reason or code,
        status.message,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=[Violation(each.type, each.subject, each.description) for each in broken.violations],
        fields=[FieldViolation(each.field, each.description) for each in bad.field_violations],
        retry_seconds=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )


def refusal_from_rpc_error(error: grpc.RpcError) -> RemoteRefusal:
    """The refusal of a failed call; without a status, gRPC's own code and text."""
    try:
        status = rpc_status.from_call(cast(grpc.Call, error))  # the exception of a call is the call itself
    except ValueError:  # a proxy changed the code or the text: then the details do not belong to them
        status = None
    if status is None:
        code, text = error.code(), error.details() or error.code().name
        if code is grpc.StatusCode.CANCELLED:
            # A server at shutdown cancels calls that it did not accept: they can be retried.
            code, text = grpc.StatusCode.UNAVAILABLE, "the server ended before it answered"
        status = status_pb2.Status(code=code.value[0], message=text)
    return refusal_from_status(status)
