"""The refusals of ECS; recast.ecs.v1.ErrorReason lists their reasons."""

from recast.faults import Kind, Refusal


class ServerNotFound(Refusal):
    """There is no such server in the caller's project."""

    kind = Kind.NOT_FOUND
    reason = "SERVER_NOT_FOUND"
    message = "there is no server {server}"
    in_the_way = "server"


class ServerIdTaken(Refusal):
    """A server with this id exists already."""

    kind = Kind.ALREADY_EXISTS
    reason = "SERVER_ID_TAKEN"
    message = "there is a server {server} already; choose another id, or leave it empty"
    in_the_way = "server"


class ServerStateForbids(Refusal):
    """The server's state does not allow this."""

    reason = "SERVER_STATE_FORBIDS"
    message = "server {server} is {state}; {wanted}"
    in_the_way = "server"


class ServerFrozen(Refusal):
    """The disks of a server that is frozen for a backup cannot be changed until it is thawed."""

    reason = "SERVER_FROZEN"
    message = "server {server} is frozen for {backup}; wait for that backup to end"
    in_the_way = "backup"


class ServerInImageCreation(Refusal):
    """A stopped server is not started while an image is made from it."""

    reason = "SERVER_IN_IMAGE_CREATION"
    rule = "R23"
    message = "server {server} is not started while image {image} is being made from it; wait for the image"
    in_the_way = "image"


class DiskNotFound(Refusal):
    """There is no such disk in the caller's project."""

    kind = Kind.NOT_FOUND
    reason = "DISK_NOT_FOUND"
    message = "there is no disk {disk}"
    in_the_way = "disk"


class DiskIdTaken(Refusal):
    """A disk with this id exists already."""

    kind = Kind.ALREADY_EXISTS
    reason = "DISK_ID_TAKEN"
    message = "there is a disk {disk} already; choose another id, or leave it empty"
    in_the_way = "disk"


class DiskStateForbids(Refusal):
    """The disk's state does not allow this."""

    reason = "DISK_STATE_FORBIDS"
    message = "disk {disk} is {state}; {wanted}"
    in_the_way = "disk"


class DiskInUse(Refusal):
    """A disk that is attached is not deleted."""

    reason = "DISK_IN_USE"
    message = "disk {disk} is attached to {server}; detach it first"
    in_the_way = "server"


class DiskAlreadyAttached(Refusal):
    """A disk is attached to one server, unless it is shared; and to each server once."""

    reason = "DISK_ALREADY_ATTACHED"
    message = "disk {disk} is attached to {server} already"
    in_the_way = "server"


class DiskNotAttached(Refusal):
    """Only an attached disk is detached."""

    reason = "DISK_NOT_ATTACHED"
    message = "disk {disk} is not attached to {server}"
    in_the_way = "disk"


class SystemDiskBound(Refusal):
    """A system disk is made and deleted with its server alone."""

    reason = "SYSTEM_DISK_BOUND"
    message = "disk {disk} is a system disk: it is not attached, detached or deleted apart from its server"
    in_the_way = "disk"


class ImageKindUnsupported(Refusal):
    """Servers are made from system-disk and full-server images, disks from data-disk images."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_KIND_UNSUPPORTED"
    rule = "R50"
    message = "image {image} is a {kind}; {wanted}"
    in_the_way = "image"


class SizeBelowImage(Refusal):
    """A disk is at least as large as its image disk (V2)."""

    kind = Kind.INVALID_ARGUMENT
    reason = "SIZE_BELOW_IMAGE"
    message = "{disk} is requested with {size_bytes} bytes, but its image has {image_bytes}"


class ImageDiskUnknown(Refusal):
    """A request can change only a data disk that the image has, and each once (V3)."""

    kind = Kind.INVALID_ARGUMENT
    reason = "IMAGE_DISK_UNKNOWN"
    message = "data disk {disk!s} of the request: {problem}; the image's data disks are: {known}"


class ServerNameInvalid(Refusal):
    """A server's name is well formed."""

    kind = Kind.INVALID_ARGUMENT
    reason = "SERVER_NAME_INVALID"
    message = "{field} {problem}"


class CountExceeded(Refusal):
    """A request is for at most 100 servers."""

    kind = Kind.INVALID_ARGUMENT
    reason = "COUNT_EXCEEDED"
    message = "{count} servers were requested; one request is for at most {limit}"


class ImageGone(Refusal):
    """A server cannot be installed again from an image that was deleted (V8)."""

    reason = "IMAGE_GONE"
    message = (
        "server {server} cannot be installed again: image {image} is gone; change its OS to another image"
    )
    in_the_way = "image"


class FreezeInTheWay(Refusal):
    """A server, and each of its disks, has one freeze at a time."""

    kind = Kind.UNAVAILABLE
    reason = "FREEZE_IN_THE_WAY"
    message = "server {server} is still frozen for {backup}"
    in_the_way = "backup"
    retry_seconds = 0.5


class FreezeNotFound(Refusal):
    """There is no such freeze, or it was thawed."""

    kind = Kind.NOT_FOUND
    reason = "FREEZE_NOT_FOUND"
    message = "server {server} is not frozen by {freeze}"
    in_the_way = "server"


class RestoreTargetInvalid(Refusal):
    """A disk's content is written to a disk of the server that is no smaller, not shared, and of the same
    role.
    """

    reason = "RESTORE_TARGET_INVALID"
    message = "{content_disk} cannot be written to {disk}: {problem}"
    in_the_way = "disk"


class ContentDamaged(Refusal):
    """The bytes read from the chunk store differ from the bytes written."""

    kind = Kind.DATA_LOSS
    reason = "CONTENT_DAMAGED"
    message = "the content of {content} is damaged: {problem}"
    in_the_way = "content"


class DiskIoFailed(Refusal):
    """The host could not read or write a disk's files."""

    kind = Kind.ABORTED
    reason = "DISK_IO_FAILED"
    message = "the host could not read or write the disk's files: {problem}"


class NoHost(Refusal):
    """New servers and disks are made on live hosts only."""

    kind = Kind.UNAVAILABLE
    reason = "NO_HOST"
    message = (
        "no host has reported recently; try again in a few seconds, or start an ECS process with disks (role"
        " `all` or `worker`)"
    )
    retry_seconds = 5.0


class HostNotFound(Refusal):
    """No host of this name ever reported."""

    kind = Kind.NOT_FOUND
    reason = "HOST_NOT_FOUND"
    message = "there is no host {host}; there are: {known}"


class HostUnreachable(Refusal):
    """A request needs a host that has not reported recently."""

    kind = Kind.UNAVAILABLE
    reason = "HOST_UNREACHABLE"
    message = "host {host} does not answer; {hint}"
    retry_seconds = 1.0


class DiskOnOtherHost(Refusal):
    """A disk can be attached only to servers of the host that has its bytes."""

    reason = "DISK_ON_OTHER_HOST"
    message = "disk {disk} is on host {disk_host}, server {server} on host {host}; make the disk on that host"
    in_the_way = "disk"


class HoldReleased(Refusal):
    """A late duplicate of a request does not renew its hold, once that was released."""

    kind = Kind.ABORTED
    reason = "HOLD_RELEASED"
    rule = ServerInImageCreation.rule
    message = "the hold {hold} of {image} on {server} was released before this request arrived"
    in_the_way = "server"
