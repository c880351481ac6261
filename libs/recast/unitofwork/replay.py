"""Request ids: the same id and body get the same answer, the same id with another body is refused."""

import hashlib
from datetime import datetime
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import Column, LargeBinary, text
from sqlmodel import Field, Session, SQLModel, select

from recast.faults import RequestIdReused
from recast.unitofwork.columns import UtcDateTime
from recast.unitofwork.transaction import Transaction

Answer = TypeVar("Answer", bound=Message)


class RequestReplay(SQLModel, table=True):
    """The answer that a request id got first."""

    __tablename__ = "request_replay"

    project: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    body_digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    answer: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    create_time: datetime = Field(sa_type=UtcDateTime, index=True)


def find_replay(session: Session, project: str, request: Message, answer: type[Answer]) -> Answer | None:
    """The first answer to this request, if its id was seen before; RequestIdReused when the body is another
    one.

    Within a write on PostgreSQL it also takes an advisory lock on the id, so that of two equal requests at
    once the second waits for the first; on SQLite there is one writer anyway.
    """
    request_id: str = getattr(request, "request_id")  # noqa: B009  # every mutating request has one
    if not request_id:
        return None
    method = request.DESCRIPTOR.full_name
    bind = session.get_bind()
    if bind.dialect.name == "postgresql" and bind.get_execution_options().get("recast_write"):
        key = int.from_bytes(
            hashlib.sha256(f"{project}/{method}/{request_id}".encode()).digest()[:8], "big", signed=True
        )
        session.connection().execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    found = session.exec(
        select(RequestReplay).where(
            RequestReplay.project == project,
            RequestReplay.method == method,
            RequestReplay.request_id == request_id,
        )
    ).first()
    if found is None:
        return None
    if found.body_digest != _digest(request):
        raise RequestIdReused(request_id=request_id)
    return answer.FromString(found.answer)


def remember_replay(tx: Transaction, project: str, request: Message, answer: Message, now: datetime) -> None:
    """Keeps the answer, in the same transaction as what it tells of."""
    request_id: str = getattr(request, "request_id")  # noqa: B009  # every mutating request has one
    if request_id:
        tx.session.add(
            RequestReplay(
                project=project,
                method=request.DESCRIPTOR.full_name,
                request_id=request_id,
                body_digest=_digest(request),
                answer=answer.SerializeToString(),
                create_time=now,
            )
        )


def _digest(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
