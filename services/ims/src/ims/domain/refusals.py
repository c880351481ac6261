"""The refusals of IMS; recast.ims.v1.ErrorReason lists their reasons."""

from recast.faults import Kind, Refusal


class ImageNotFound(Refusal):
    """A private image is visible to its owner alone."""

    kind = Kind.NOT_FOUND
    reason = "IMAGE_NOT_FOUND"
    rule = "R48"
    message = "there is no image {image}"
    in_the_way = "image"


class ImageIdTaken(Refusal):
    """An image with this id exists already, and its creation did not fail."""

    kind = Kind.ALREADY_EXISTS
    reason = "IMAGE_ID_TAKEN"
    message = "there is an image {image} already; choose another id, or leave it empty"
    in_the_way = "image"


class ImageNotNormal(Refusal):
    """Only a NORMAL image can be used."""

    reason = "IMAGE_NOT_NORMAL"
    rule = "R37"
    message = "image {image} is {state}; it can be used when it is NORMAL"
    in_the_way = "image"


class ImageKindUnsupported(Refusal):
    """The kind of the image does not allow the request."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_KIND_UNSUPPORTED"
    rule = "R49"
    message = "{problem}"


class ImageSourceInvalid(Refusal):
    """An image is made of exactly one source."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_SOURCE_INVALID"
    rule = "R53"
    message = "an image is made of exactly one source: set `backup` or `server`"


class ImageNameInvalid(Refusal):
    """An image has a well-formed name."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_NAME_INVALID"
    rule = "R54"
    message = "image.display_name {problem}"


class ImageDescriptionInvalid(Refusal):
    """The description is optional, and well formed."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_DESCRIPTION_INVALID"
    rule = "R58"
    message = "image.description {problem}"


class DisclaimerNotAccepted(Refusal):
    """An image is made only after the agreement to the Image Disclaimer."""

    reason = "DISCLAIMER_NOT_ACCEPTED"
    rule = "R59"
    message = "the Image Disclaimer {problem}"


class SourceNotConfigured(Refusal):
    """An image of a server that was not prepared is refused, with every missing item.

    So is one of a server of which nothing could be read.
    """

    reason = "SOURCE_NOT_CONFIGURED"
    rule = "R22"
    message = "the server of {backup} {judgement} to be cloned: {missing}"
    in_the_way = "backup"


class ImageContentMismatch(Refusal):
    """The content of an import is of the kind that its image was requested with."""

    reason = "IMAGE_CONTENT_MISMATCH"
    rule = "R66"
    message = "the file of {display_name} is no {kind} image: {problem}"


class BackupAlreadyHasImage(Refusal):
    """One image a backup, at a time; IMS enforces it beside the lock of CSBS."""

    kind = Kind.ALREADY_EXISTS
    reason = "BACKUP_ALREADY_HAS_IMAGE"
    rule = "R09"
    message = "image {image} ({state}) stands on backup {backup} already; use it, or delete it first"
    in_the_way = "image"


class ImageInUse(Refusal):
    """An image whose bytes are being read is not deleted."""

    reason = "IMAGE_IN_USE"
    message = "image {image} is being read for {holder}; wait for that to end"
    in_the_way = "holder"


class ImageBusy(Refusal):
    """An image that is being made or deleted cannot be changed."""

    reason = "IMAGE_BUSY"
    message = "image {image} is {state}; wait for that to end, or cancel it"
    in_the_way = "image"


class BackupDeletionFailed(Refusal):
    """The image was deleted, but the deletion of its backup, which was requested too, failed."""

    reason = "BACKUP_DELETION_FAILED"
    rule = "R44"
    message = "image {image} is deleted, but backup {backup} is not: {problem}; delete the backup by itself"
    in_the_way = "backup"


class DeleteBackupUnsupported(Refusal):
    """Only the deletion of an image of a backup can delete a backup too."""

    kind = Kind.INVALID_ARGUMENT
    reason = "DELETE_BACKUP_UNSUPPORTED"
    message = "image {image} stands on no backup; leave delete_backup out"
    in_the_way = "image"


class BackupFailed(Refusal):
    """The backup of the image failed before the image was done."""

    reason = "BACKUP_FAILED"
    message = "backup {backup} failed, so there is nothing to make an image of"
    in_the_way = "backup"


class UploadIncomplete(Refusal):
    """The upload ended before all bytes were received; the received bytes stay."""

    reason = "UPLOAD_INCOMPLETE"
    message = (
        "{received_bytes} of {size_bytes} bytes were received; send the same header, then the other bytes"
    )
    in_the_way = "image"


class UploadOutOfOrder(Refusal):
    """A chunk begins after the end of the received bytes."""

    kind = Kind.OUT_OF_RANGE
    reason = "UPLOAD_OUT_OF_ORDER"
    message = "a chunk begins at {offset}, but {received_bytes} bytes were received; continue there"


class UploadMismatch(Refusal):
    """The bytes do not match the announced size or digest."""

    kind = Kind.INVALID_ARGUMENT
    reason = "UPLOAD_MISMATCH"
    message = "the upload does not match its header: {problem}"


class TooManyUploads(Refusal):
    """The project has as many concurrent uploads as this server allows."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_UPLOADS"
    message = "{project} has {limit} uploads under way, the limit; try again when one has ended"
    retry_seconds = 5.0


class FileRefused(Refusal):
    """The file does not match its format, or refers to other files."""

    kind = Kind.INVALID_ARGUMENT
    reason = "FILE_REFUSED"
    message = "the file of {display_name} is refused: {problem}"


class VirtualSizeTooLarge(Refusal):
    """The disk in the file is larger than this service accepts."""

    kind = Kind.INVALID_ARGUMENT
    reason = "VIRTUAL_SIZE_TOO_LARGE"
    message = "the file of {display_name} is refused: {problem}"


class NotEnoughSpace(Refusal):
    """The storage has not enough free bytes for what an import would write; nothing of it was written."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "NOT_ENOUGH_SPACE"
    message = (
        "{needed_bytes} bytes are needed for the image, and {free_bytes} are free; "
        "delete images that are not needed, or let the operator add storage, then repeat the request"
    )


class ContentDamaged(Refusal):
    """The bytes read from the chunk store differ from the bytes written."""

    kind = Kind.DATA_LOSS
    reason = "CONTENT_DAMAGED"
    message = "the content of {image} is damaged: {problem}"
    in_the_way = "image"


class PinReleased(Refusal):
    """A late duplicate of a request does not renew its pin, once that was released."""

    kind = Kind.ABORTED
    reason = "PIN_RELEASED"
    message = "the pin {pin} of {image} was released before this request arrived"
    in_the_way = "image"
