"""Parses arguments for the contracts: names, sizes, `key=value` lists."""

import re
from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from recast.faults import FieldViolation, Kind, Refusal

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{prefix}{suffix}": 1024**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix in ("", "iB")  # `10G` as in qemu-img
}


class ArgumentInvalid(Refusal):
    """An argument cannot be parsed; no call was made."""

    kind = Kind.INVALID_ARGUMENT
    reason = "ARGUMENT_INVALID"
    message = "{argument} {problem}"

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(
            argument=argument, problem=problem, fields=[FieldViolation(field=argument, description=problem)]
        )


def full_name(text: str, collection: str, project: str) -> str:
    """`nightly`, `backups/nightly` or the full name, as the full name; `collection` is `backups`."""
    parts = text.split("/")
    if len(parts) == 1:
        parts = ["projects", project, collection, *parts]
    elif len(parts) == 2:
        parts = ["projects", project, *parts]
    well_formed = len(parts) == 4 and parts[0] == "projects" and parts[2] == collection
    if not well_formed or not _ID.fullmatch(parts[1]) or not _ID.fullmatch(parts[3]):
        noun = collection.removesuffix("s")
        raise ArgumentInvalid(noun, f"must be an id or projects/PROJECT/{collection}/ID, not {text!r}")
    return "/".join(parts)


def size_bytes(text: str, argument: str = "--size") -> int:
    """`10GiB`, `512MiB`, `1.5T` or plain bytes, in bytes; empty is 0. KiB, K are 1024; KB is 1000."""
    if not text:
        return 0
    found = _SIZE.fullmatch(text.strip())
    factor = _UNITS.get(found.group(2), 0) if found else 0
    if not found or not factor:
        raise ArgumentInvalid(argument, f"must be a size like 10GiB, 512MiB or 1073741824, not {text!r}")
    whole, _, fraction = found.group(1).partition(".")
    # In integers, so that no size loses bytes to a float.
    scaled: int
    scaled, rest = divmod(int(whole + fraction) * factor, 10 ** len(fraction))
    if rest:
        raise ArgumentInvalid(argument, f"is not a whole number of bytes: {text!r}")
    return scaled


def assignments(text: str, allowed: Sequence[str], argument: str) -> dict[str, str]:
    """`image-disk=data-1,size=20GiB,shared` as a dict; a word without `=` gets the value `true`."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    found = {key.strip(): value.strip() if equals else "true" for key, equals, value in pairs}
    unknown = sorted(set(found) - set(allowed))
    if unknown or not found:
        problem = f"knows no {', '.join(unknown)}" if unknown else "is empty"
        raise ArgumentInvalid(argument, f"{problem}; it takes {', '.join(allowed)}")
    return found


def pair(text: str, argument: str, form: str) -> tuple[str, str]:
    """`system=web-system` as its two sides."""
    left, equals, right = text.partition("=")
    if not equals or not left or not right:
        raise ArgumentInvalid(argument, f"must look like {form}, not {text!r}")
    return left, right


def update_mask(**given: str | None) -> FieldMask:
    """The mask of the given fields, even with empty texts."""
    paths = [name for name, value in given.items() if value is not None]
    if not paths:
        raise ArgumentInvalid("update", "needs --name or --description")
    return FieldMask(paths=paths)
