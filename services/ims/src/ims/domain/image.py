"""The states and kinds of an image, and the operations that each allows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ims.domain.disclaimer import VERSION
from ims.domain.refusals import (
    DisclaimerNotAccepted,
    ImageBusy,
    ImageDescriptionInvalid,
    ImageIdTaken,
    ImageInUse,
    ImageKindUnsupported,
    ImageNameInvalid,
    ImageNotNormal,
    ImageSourceInvalid,
)
from recast.faults import FieldViolation, all_of

DISPLAY_NAME = "1 to 128 letters or digits of any script, spaces, `-`, `.` or `_`; no space at either end"
"""The rule for display names; a test compares it with the contracts."""
_DISPLAY_NAME = re.compile(r"[\w.-]([\w .-]{0,126}[\w.-])?", re.UNICODE)


class ImageKind(StrEnum):
    """The kind of an image; the names of the contract's enum without its prefix."""

    SYSTEM_DISK = "SYSTEM_DISK"
    DATA_DISK = "DATA_DISK"
    ISO = "ISO"
    FULL_SERVER = "FULL_SERVER"


class ImageState(StrEnum):
    """The state of an image; the names of the contract's enum without its prefix."""

    CREATING = "CREATING"
    """The state from the answer to the request on (R63).

    The worker ends it; DeleteImage does while an upload is unfinished.
    """
    NORMAL = "NORMAL"
    """DeleteImage ends it."""
    DELETING = "DELETING"
    """The worker removes the row; if it cannot, the image is in ERROR."""
    ERROR = "ERROR"
    """Listed with its reason until DeleteImage ends it, or a new image takes its id."""


class ImageEvent(StrEnum):
    """An event that changes the state of an image."""

    PUBLISHED = "published"
    FAILED = "failed"
    UPLOAD_ABANDONED = "upload abandoned"
    DELETION_BEGUN = "deletion begun"
    REPLACED = "id used again"


TRANSITIONS: dict[tuple[ImageState, ImageEvent], ImageState] = {
    (ImageState.CREATING, ImageEvent.PUBLISHED): ImageState.NORMAL,
    (ImageState.CREATING, ImageEvent.FAILED): ImageState.ERROR,
    (ImageState.CREATING, ImageEvent.UPLOAD_ABANDONED): ImageState.DELETING,
    (ImageState.NORMAL, ImageEvent.DELETION_BEGUN): ImageState.DELETING,
    (ImageState.ERROR, ImageEvent.DELETION_BEGUN): ImageState.DELETING,
    (ImageState.ERROR, ImageEvent.REPLACED): ImageState.CREATING,
    (ImageState.DELETING, ImageEvent.FAILED): ImageState.ERROR,
}


@dataclass(frozen=True)
class Image:
    """The facts about an image that rules need. `pins` are the resources that are being made from it.

    `holds_content`: it has bytes, or the lock of a backup.
    """

    name: str
    state: ImageState
    is_uploading: bool = False
    pins: Sequence[str] = ()
    holds_content: bool = False


def advance(image: Image, event: ImageEvent) -> ImageState:
    """The state after the event; a pair that is not in the table is refused."""
    try:
        return TRANSITIONS[image.state, event]
    except KeyError:
        raise ImageBusy(image=image.name, state=image.state) from None


def decide_use(image: Image) -> None:
    """Refuses the use of an image that is not NORMAL (R37)."""
    if image.state is not ImageState.NORMAL:
        raise ImageNotNormal(image=image.name, state=image.state)


def deletion_event(image: Image) -> ImageEvent:
    """The event that begins the deletion; refused while servers are being made from the image."""
    if image.pins:
        raise all_of([ImageInUse(image=image.name, holder=holder) for holder in image.pins])
    return ImageEvent.UPLOAD_ABANDONED if image.is_uploading else ImageEvent.DELETION_BEGUN


def decide_replacement(image: Image) -> None:
    """Refuses to use the id of an image again, unless its creation failed: then nothing of it is there."""
    if image.holds_content or (image.state, ImageEvent.REPLACED) not in TRANSITIONS:
        raise ImageIdTaken(image=image.name)


def importable_kind(kind: str, is_raw: bool) -> ImageKind:
    """R47: the kind of an image to import.

    A full-server image is made of a backup, never imported; an ISO file is raw.
    """
    fields = [FieldViolation("image.kind", "must be SYSTEM_DISK, DATA_DISK or ISO")]
    try:
        known = ImageKind(kind)
    except ValueError:
        problem = f"{kind} is not a kind of image that can be imported: {', '.join(list(ImageKind)[:3])}"
        raise ImageKindUnsupported(problem=problem, fields=fields) from None
    if known is ImageKind.FULL_SERVER:
        problem = "a FULL_SERVER image is made of a backup by CreateImage, it cannot be imported"
        raise ImageKindUnsupported(problem=problem, fields=fields)
    if known is ImageKind.ISO and not is_raw:
        fields = [FieldViolation("disk_format", "must be RAW for an ISO image")]
        raise ImageKindUnsupported(problem="an ISO image is uploaded as RAW", fields=fields)
    return known


def check_texts(display_name: str, description: str) -> None:
    """Refuses a malformed name (R54) or description (R58)."""
    if not _DISPLAY_NAME.fullmatch(display_name):
        problem = f"must be {DISPLAY_NAME}"
        raise ImageNameInvalid(problem=problem, fields=[FieldViolation("image.display_name", problem)])
    if len(description) > 1024 or re.search(r"[<>\r\n]", description):
        problem = "must be at most 1024 characters without line breaks, < and >"
        raise ImageDescriptionInvalid(problem=problem, fields=[FieldViolation("image.description", problem)])


def check_source(backup: str, server: str) -> None:
    """Refuses a request without a source, or with two (R53)."""
    if bool(backup) == bool(server):
        problem = "set one of backup and server" if backup else "set backup or server"
        raise ImageSourceInvalid(fields=[FieldViolation(name, problem) for name in ("backup", "server")])


def check_disclaimer(accepted: bool, version: str = "") -> None:
    """Refuses a request without the agreement to the Image Disclaimer, or to another version of it (R59)."""
    if not accepted:
        raise DisclaimerNotAccepted(
            problem="was not agreed to; read it (GetDisclaimer), and set disclaimer_accepted", version=VERSION
        )
    if version not in ("", VERSION):
        problem = f"has version {VERSION}, and version {version} was agreed to; read it (GetDisclaimer)"
        raise DisclaimerNotAccepted(problem=problem, version=VERSION)
