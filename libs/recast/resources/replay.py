"""Request ids: the same id and body get the same answer, the same id with another body is refused.

`commit_change` is the last step of every handler that changes something: it commits the change together with
the answer to its request id.
"""

import hashlib
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, Session, SQLModel

from recast.database import Transaction, UtcDateTime, lock_name
from recast.faults import RequestIdReused

Answer = TypeVar("Answer", bound=Message)


class RequestReplay(SQLModel, table=True):
    """The first answer to a request id."""

    __tablename__ = "request_replay"

    project: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    body_digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    answer: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    create_time: datetime = Field(sa_type=UtcDateTime, index=True)


def find_replay(session: Session, project: str, request: Any, answer: type[Answer]) -> Answer | None:
    """The first answer to this request, if its id is known; RequestIdReused for another body.

    Of two concurrent equal requests the second write waits for the first.
    """
    if not request.request_id:
        return None
    key = (project, request.DESCRIPTOR.full_name, request.request_id)
    lock_name(session, "/".join(key))
    found = session.get(RequestReplay, key)
    if found is None:
        return None
    if found.body_digest != _digest(request):
        raise RequestIdReused(request_id=request.request_id)
    return answer.FromString(found.answer)


def forget_replay(session: Session, project: str, request: Any) -> None:
    """Removes the answer to a request that is refused after all: its id may be used again."""
    key = (project, request.DESCRIPTOR.full_name, request.request_id)
    if request.request_id and (found := session.get(RequestReplay, key)) is not None:
        session.delete(found)


def commit_change(tx: Transaction, project: str, request: Any, answer: Answer, now: datetime) -> Answer:
    """Commits the handler's write, with its answer for the request's id; returns the answer.

    With `validate_only` nothing is committed: the answer is the would-be result.
    """
    if not getattr(request, "validate_only", False):
        if request.request_id:
            tx.session.add(
                RequestReplay(
                    project=project,
                    method=request.DESCRIPTOR.full_name,
                    request_id=request.request_id,
                    body_digest=_digest(request),
                    answer=answer.SerializeToString(),
                    create_time=now,
                )
            )
        tx.commit()
    return answer


def _digest(request: Message) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
