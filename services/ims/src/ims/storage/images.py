"""Images and their pins in the database: their rows, and the domain value and the message of a row."""

from collections.abc import Callable, Sequence
from datetime import datetime

from google.rpc import status_pb2
from sqlalchemy import bindparam
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from ims.domain.image import Image, ImageEvent, ImageKind, ImageState, advance, decide_replacement
from ims.domain.refusals import BackupAlreadyHasImage, ImageNotFound
from ims.storage.tables import STANDS_ON_BACKUP, EndedPinRow, ImagePinRow, ImageRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.database import Transaction, lock_name
from recast.ims.v1 import image_pb2 as pb
from recast.ims.v1 import image_service_pb2
from recast.reservations import Reservation
from recast.resources import Field, Listing, choice, lock_row

LISTING: Listing[ImageRow] = Listing(
    ImageRow,
    {
        "state": choice(ImageRow.state, ImageState, "IMAGE_STATE_"),
        "kind": choice(ImageRow.kind, ImageKind, "IMAGE_KIND_"),
        "display_name": Field(ImageRow.display_name, sortable=True),
        "source_backup": Field(ImageRow.source_backup),
        "size_bytes": Field(ImageRow.size_bytes, parse=int, sortable=True),
        "create_time": Field(ImageRow.create_time, parse=datetime.fromisoformat, sortable=True),
    },
    tie_breaker="name",
)
# Built once: GetImage, a frequent call, would spend half of its time on building its statement.
_SERIALIZED = sql_select(col(ImageRow.serialized), col(ImageRow.upload_key)).where(
    col(ImageRow.name) == bindparam("image")
)


def new_row(project: str, image_id: str, image: pb.Image, kind: str, now: datetime) -> ImageRow:
    """R63: the row of a new image, which is CREATING from the answer to its request on."""
    return ImageRow(
        name=f"projects/{project}/images/{image_id}",
        project=project,
        display_name=image.display_name,
        description=image.description,
        kind=kind,
        state=ImageState.CREATING,
        create_time=now,
        update_time=now,
    )


def load(session: Session, name: str, *, lock: bool = False) -> ImageRow:
    """The row, or ImageNotFound. `lock` locks the row until the transaction ends."""
    query = select(ImageRow).where(ImageRow.name == name)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise ImageNotFound(image=name)
    return row


def add(tx: Transaction, row: ImageRow) -> None:
    """Writes a new row.

    It replaces an image of the same id whose creation failed; ImageIdTaken for any other image of the id, and
    BackupAlreadyHasImage if its backup has an image.
    """
    found = lock_row(tx.session, ImageRow, row.name)
    if found is not None:
        decide_replacement(value_from_row(tx.session, found))
        tx.session.delete(found)
        tx.session.flush()  # before the insert of the same name
    if row.kind == ImageKind.FULL_SERVER and row.source_backup:
        claim_backup(tx.session, row)
    save(tx, row)


def claim_backup(session: Session, row: ImageRow) -> None:
    """BackupAlreadyHasImage when another image stands on the row's backup.

    Other transactions that claim the backup wait until this one ends, so that the unique index is not hit.
    """
    lock_name(session, row.source_backup)
    query = select(ImageRow.name, ImageRow.state).where(
        ImageRow.source_backup == row.source_backup, STANDS_ON_BACKUP, ImageRow.name != row.name
    )
    with session.no_autoflush:  # the row may have the backup already
        other = session.exec(query).first()
    if other is not None:
        raise BackupAlreadyHasImage(image=other[0], state=other[1], backup=row.source_backup)


def find_upload(session: Session, project: str, request_id: str) -> ImageRow | None:
    """The image that an upload's request id belongs to."""
    query = select(ImageRow).where(ImageRow.project == project, ImageRow.upload_request_id == request_id)
    return session.exec(query).first()


def unfinished_uploads(session: Session, moment: datetime) -> Sequence[ImageRow]:
    """The images with an incomplete upload and no update since `moment`."""
    query = select(ImageRow).where(
        ImageRow.state == ImageState.CREATING,
        ImageRow.upload_key != "",
        ImageRow.upload_is_complete.is_(False),  # type: ignore[attr-defined]
        ImageRow.update_time < moment,
    )
    return session.exec(query).all()


def upload_keys(session: Session) -> set[str]:
    """The staged files that images need."""
    return set(session.exec(select(ImageRow.upload_key).where(ImageRow.upload_key != "")))


def live_contents(session: Session, project: str) -> list[content_pb2.Content]:
    """The contents of a project's imported images: a collection leaves their chunks in the chunk store."""
    query = select(ImageRow.content).where(ImageRow.project == project, ImageRow.content.is_not(None))  # type: ignore[union-attr]
    return [content_pb2.Content.FromString(content) for content in session.exec(query) if content]


def pins(session: Session, image: str) -> Sequence[ImagePinRow]:
    """The pins of the readers of an image."""
    return session.exec(select(ImagePinRow).where(ImagePinRow.image == image)).all()


def find_pin(session: Session, image: str, pin_id: str) -> Reservation | None:
    """The pin under an id, or its tombstone."""
    if session.get(EndedPinRow, (pin_id, image)) is not None:
        return Reservation("", is_released=True)
    pin = session.get(ImagePinRow, (image, pin_id))
    return Reservation(pin.holder) if pin else None


def value_from_row(session: Session, row: ImageRow) -> Image:
    """The domain value of a row."""
    is_uploading = bool(row.upload_key) and not row.upload_is_complete
    return Image(
        row.name,
        ImageState(row.state),
        is_uploading,
        [pin.holder for pin in pins(session, row.name)],
        holds_content=bool(row.lock_token) or row.content is not None,
    )


def save(tx: Transaction, row: ImageRow) -> None:
    """Writes a new or a changed row, with its serialized message."""
    row.serialized = message_from_row(row).SerializeToString()
    tx.session.add(row)


def update(tx: Transaction, row: ImageRow, now: datetime) -> None:
    """Writes a row after a change that its owner can see, with a new etag and update time."""
    row.touch(now)
    save(tx, row)


def move(tx: Transaction, row: ImageRow, event: ImageEvent, now: datetime) -> None:
    """Moves an image to the state after the event, by the state table."""
    row.state = advance(value_from_row(tx.session, row), event)
    update(tx, row, now)


def current(session: Session, name: str) -> pb.Image:
    """The current message of an image; with its name alone when it was deleted meanwhile."""
    try:
        return message_from_row(load(session, name))
    except ImageNotFound:
        return pb.Image(name=name)


def get(session: Session, name: str, uploaded: Callable[[str], int]) -> pb.Image:
    """The message of an image, or ImageNotFound. `uploaded` gives the size of a staged file."""
    found = session.connection().execute(_SERIALIZED, {"image": name}).first()
    if found is None:
        raise ImageNotFound(image=name)
    serialized, upload_key = found
    return _read(session, name, serialized, uploaded(upload_key))


def page(
    session: Session,
    request: image_service_pb2.ListImagesRequest,
    project: str,
    uploaded: Callable[[str], int],
) -> image_service_pb2.ListImagesResponse:
    """A page of a project's images. `uploaded` gives the size of a staged file."""
    found = LISTING.page(
        session,
        col(ImageRow.project) == project,
        scope=f"images/{project}",
        filter_text=request.filter,
        order_by=request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
        columns=(ImageRow.serialized, ImageRow.upload_key),
    )
    images, token = found.answer(
        [_read(session, name, each, uploaded(upload_key)) for each, upload_key, *_, name in found.rows]
    )
    return image_service_pb2.ListImagesResponse(images=images, next_page_token=token)


def _read(session: Session, name: str, serialized: bytes, uploaded_bytes: int) -> pb.Image:
    """The message of a row; built for a row that was written before migration 0006."""
    image = pb.Image.FromString(serialized) if serialized else message_from_row(load(session, name))
    image.uploaded_bytes = uploaded_bytes
    return image


def message_from_row(row: ImageRow, uploaded_bytes: int = 0) -> pb.Image:
    """The message of a row, built from its columns. `uploaded_bytes` is the size of the staged file."""
    details = pb.Image.FromString(row.details)
    image = pb.Image(
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        kind=pb.ImageKind.Value(f"IMAGE_KIND_{row.kind}"),
        state=pb.ImageState.Value(f"IMAGE_STATE_{row.state}"),
        source_backup=row.source_backup,
        source_server=row.source_server,
        min_disk_bytes=row.min_disk_bytes,
        size_bytes=row.size_bytes,
        disk_count=row.disk_count,
        os_name=row.os_name,
        preparation=details.preparation,
        warnings=details.warnings,
        uploaded_bytes=uploaded_bytes,
        etag=row.etag,
    )
    if row.error:
        image.error.CopyFrom(status_pb2.Status.FromString(row.error))
    put_time(image.create_time, row.create_time)
    put_time(image.update_time, row.update_time)
    if row.finish_time:
        put_time(image.finish_time, row.finish_time)
    return image
