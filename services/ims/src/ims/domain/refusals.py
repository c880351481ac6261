"""What IMS says no with; each reason stands in recast.ims.v1.ErrorReason."""

from recast.faults import Kind, Refusal


class ImageNotFound(Refusal):
    """A private image is there for its owner alone."""

    kind = Kind.NOT_FOUND
    reason = "IMAGE_NOT_FOUND"
    rule = "R48"
    message = "there is no image {image}"
    in_the_way = "image"


class ImageIdTaken(Refusal):
    """An image with this id is there already."""

    kind = Kind.ALREADY_EXISTS
    reason = "IMAGE_ID_TAKEN"
    message = "there is an image {image} already; choose another id, or leave it empty"
    in_the_way = "image"


class ImageNotNormal(Refusal):
    """An image is used when it is NORMAL, not before."""

    reason = "IMAGE_NOT_NORMAL"
    rule = "R37"
    message = "image {image} is {state}; it can be used when it is NORMAL"
    in_the_way = "image"


class ImageKindUnsupported(Refusal):
    """There are four kinds of image, and each way of making one is for some of them."""

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
    """An image has a name, well formed."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_NAME_INVALID"
    rule = "R54"
    message = "image.display_name {problem}"


class ImageDescriptionInvalid(Refusal):
    """The description may be left out; what is given is well formed."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_DESCRIPTION_INVALID"
    rule = "R58"
    message = "image.description {problem}"


class DisclaimerNotAccepted(Refusal):
    """The Image Disclaimer is read and agreed to first."""

    reason = "DISCLAIMER_NOT_ACCEPTED"
    rule = "R59"
    message = "the Image Disclaimer (DISCLAIMER.md) was not agreed to; read it, and set disclaimer_accepted"


class SourceNotConfigured(Refusal):
    """An image of a server that was not prepared is refused, with every missing item."""

    reason = "SOURCE_NOT_CONFIGURED"
    rule = "R22"
    message = "the server of {backup} was not prepared to be cloned: {missing}"
    in_the_way = "backup"


class ImageInUse(Refusal):
    """An image whose bytes are being read is not deleted."""

    reason = "IMAGE_IN_USE"
    message = "image {image} is being read for {holder}; wait for that to end"
    in_the_way = "holder"


class ImageBusy(Refusal):
    """An image that is being made or deleted is left alone."""

    reason = "IMAGE_BUSY"
    message = "image {image} is {state}; wait for that to end, or cancel it"
    in_the_way = "image"


class BackupDeletionFailed(Refusal):
    """The image goes first; when its backup cannot follow, that is said."""

    reason = "BACKUP_DELETION_FAILED"
    rule = "R44"
    message = "image {image} is deleted, but backup {backup} is not: {problem}; delete the backup by itself"
    in_the_way = "backup"


class DeleteBackupUnsupported(Refusal):
    """Only an image that stands on a backup can take it along."""

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
    """The upload ended before all bytes came; what came is kept."""

    reason = "UPLOAD_INCOMPLETE"
    message = "{received_bytes} of {size_bytes} bytes came; send the same header and go on from there"
    in_the_way = "image"


class UploadOutOfOrder(Refusal):
    """A piece begins after the end of what came."""

    kind = Kind.OUT_OF_RANGE
    reason = "UPLOAD_OUT_OF_ORDER"
    message = "a piece begins at {offset}, but only {received_bytes} bytes came; go on from there"


class UploadMismatch(Refusal):
    """The bytes are not those that were announced."""

    kind = Kind.INVALID_ARGUMENT
    reason = "UPLOAD_MISMATCH"
    message = "the upload is not what was announced: {problem}"


class TooManyUploads(Refusal):
    """The project has as many uploads under way as this server allows."""

    kind = Kind.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_UPLOADS"
    message = "{project} has {limit} uploads under way, the most at once; come back when one has ended"
    retry_seconds = 5.0


class FileRefused(Refusal):
    """The file is not what its format says, or would have other files opened."""

    kind = Kind.INVALID_ARGUMENT
    reason = "FILE_REFUSED"
    message = "the file is refused: {problem}"


class VirtualSizeTooLarge(Refusal):
    """The disk in the file is larger than this service takes."""

    kind = Kind.INVALID_ARGUMENT
    reason = "VIRTUAL_SIZE_TOO_LARGE"
    message = "{problem}"


class ContentDamaged(Refusal):
    """What was read back is not what was written."""

    kind = Kind.DATA_LOSS
    reason = "CONTENT_DAMAGED"
    message = "the content of {image} is damaged: {problem}"
    in_the_way = "image"


class PinEnded(Refusal):
    """A pin that was given back does not come back by a late request for it."""

    kind = Kind.ABORTED
    reason = "PIN_ENDED"
    message = "the pin {pin} of {image} was given back before it was asked for"
    in_the_way = "image"
