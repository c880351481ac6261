"""Which bytes of a piece of an upload are new."""

from ims.domain.refusals import UploadMismatch, UploadOutOfOrder


def new_bytes(received_bytes: int, size_bytes: int, offset: int, length: int) -> slice:
    """The part of a piece that lies behind what came already; empty for a repeat.

    Refused when the piece leaves a gap, or reaches past the announced size.
    """
    if offset > received_bytes:
        raise UploadOutOfOrder(offset=offset, received_bytes=received_bytes)
    if offset + length > size_bytes:
        raise UploadMismatch(problem=f"it has more than the announced {size_bytes} bytes")
    return slice(min(received_bytes - offset, length), length)
