"""The order of the chunks of an upload."""

from ims.domain.refusals import UploadMismatch, UploadOutOfOrder


def new_bytes(received_bytes: int, size_bytes: int, offset: int, length: int) -> slice:
    """The part of a chunk that was not received before; empty for a repeat.

    Refused when the chunk leaves a gap, or reaches past the announced size.
    """
    if offset > received_bytes:
        raise UploadOutOfOrder(offset=offset, received_bytes=received_bytes)
    if offset + length > size_bytes:
        raise UploadMismatch(problem=f"it has more than the announced {size_bytes} bytes")
    return slice(min(received_bytes - offset, length), length)
