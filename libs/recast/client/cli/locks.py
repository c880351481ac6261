"""`recast lock`: ImageLockService, which IMS alone may call."""

from typing import Annotated

import typer

from recast.client.cli.command import command, group
from recast.client.cli.options import BackupId, OfImage
from recast.client.cli.session import Session
from recast.imagelock.v1.image_lock_service_pb2 import (
    ConfirmLockRequest,
    GetBackupContentRequest,
    LockBackupRequest,
    ReleaseLockRequest,
)

app = typer.Typer()

LockToken = Annotated[int, typer.Option("--token", help="The lock's fencing token.")]


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "take", service="ims")
def take(session: Session, backup: BackupId, image: OfImage) -> None:
    """Lock a backup for one image. The same --request-id gets the same lock, until it is released."""
    request = LockBackupRequest(
        backup=session.name(backup, "backups"),
        image=session.name(image, "images"),
        request_id=session.request_id,
    )
    answer = session.recast.locks.LockBackup(request)
    session.show(answer, answer.lock)


@command(app, "confirm", service="ims")
def confirm(session: Session, backup: BackupId, image: OfImage, token: LockToken) -> None:
    """Confirm a lock: the image is NORMAL."""
    request = ConfirmLockRequest(
        backup=session.name(backup, "backups"), image=session.name(image, "images"), token=token
    )
    answer = session.recast.locks.ConfirmLock(request)
    session.show(answer, answer.lock)


@command(app, "release", service="ims")
def release(session: Session, backup: BackupId, image: OfImage, token: LockToken = 0) -> None:
    """Release a lock. Without --token it is identified by the --request-id of its `take`."""
    request = ReleaseLockRequest(
        backup=session.name(backup, "backups"),
        image=session.name(image, "images"),
        token=token,
        request_id=session.request_id,
    )
    answer = session.recast.locks.ReleaseLock(request)
    session.show(answer, answer.lock)


@command(app, "content", service="ims")
def content(session: Session, backup: BackupId, image: OfImage, token: LockToken) -> None:
    """Read the content of a locked backup. With --output json this includes the store's key."""
    request = GetBackupContentRequest(
        backup=session.name(backup, "backups"), image=session.name(image, "images"), token=token
    )
    answer = session.recast.locks.GetBackupContent(request)
    session.show(answer, answer.content)
