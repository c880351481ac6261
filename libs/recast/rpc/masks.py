"""Update masks."""

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from recast.faults import FieldViolation, UpdateMaskInvalid


def masked(message: Message, mask: FieldMask, allowed: Sequence[str]) -> dict[str, str]:
    """The string fields to change, by name.

    An empty mask means those of `allowed` that are set; `*` means all of them.
    """
    paths = list(mask.paths) or [path for path in allowed if getattr(message, path)]
    if paths == ["*"]:
        paths = list(allowed)
    for index, path in enumerate(paths):
        if path not in allowed:
            fields = [FieldViolation(f"update_mask.paths[{index}]", f"{path} cannot be updated")]
            raise UpdateMaskInvalid(path=path, allowed=", ".join(allowed), fields=fields)
    return {path: getattr(message, path) for path in paths}
