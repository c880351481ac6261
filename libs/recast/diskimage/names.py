"""The names of a disk's files, and the rules for ids and sizes."""

import re
from pathlib import Path

from recast.diskimage.errors import NameRefused, SizeRefused

ACTIVE = "active.qcow2"
NEXT = "active.next.qcow2"
SECTOR_BYTES = 512

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_ID = re.compile(_NAME)
_LAYER = re.compile(rf"layer-({_NAME})\.qcow2")
_MARK = re.compile(rf"frozen-({_NAME})")
_BASE = re.compile(rf"({_NAME})\.raw")
_TEMPLATE = re.compile(rf"({_NAME})-([0-9]+)\.overlay")
_BACKING_BASE = re.compile(rf"\.\./\.\./bases/({_NAME})\.raw")


def checked_id(name: str) -> str:
    """Return `name`, or raise NameRefused when it must not be part of a file's name."""
    if _ID.fullmatch(name) is None:
        raise NameRefused(f"{name!r} must be 1 to 100 of A-Z a-z 0-9 . _ - and begin with none of . -")
    return name


def checked_size(size_bytes: int) -> int:
    """Return `size_bytes`, or raise SizeRefused when no disk can have it."""
    if size_bytes <= 0 or size_bytes % SECTOR_BYTES:
        raise SizeRefused(f"a disk of {size_bytes} bytes is not a positive multiple of {SECTOR_BYTES}")
    return size_bytes


def layer_name(freeze_id: str) -> str:
    """Return the file name of the layer that a freeze made."""
    return f"layer-{freeze_id}.qcow2"


def mark_name(freeze_id: str) -> str:
    """Return the file name of the mark that a freeze is not merged."""
    return f"frozen-{freeze_id}"


def freeze_id_from_layer(file_name: str) -> str | None:
    """Return the freeze whose layer a file is, None for any other file."""
    found = _LAYER.fullmatch(file_name)
    return None if found is None else found[1]


def is_ours(file_name: str) -> bool:
    """Whether a file in a disk's folder has a name of this format."""
    return file_name in (ACTIVE, NEXT) or any(shape.fullmatch(file_name) for shape in (_LAYER, _MARK))


def backing_of_base(name: str) -> str:
    """Return the name by which an overlay in a disk's folder refers to a base."""
    return f"../../bases/{name}.raw"


def base_from_backing(backing_file: str) -> str | None:
    """Return the base that a backing name refers to, None when it is no base."""
    found = _BACKING_BASE.fullmatch(backing_file)
    return None if found is None else found[1]


def base_from_file(path: Path) -> str | None:
    """Return the base whose content a file under bases/ holds, None for any other file."""
    found = _BASE.fullmatch(path.name)
    return None if found is None else found[1]


def base_from_template(path: Path) -> str | None:
    """Return the base of a template under bases/, finished or being made; None for any other file."""
    name = path.name
    if name.startswith(".") and name.endswith(".new"):
        name = name[1:].removesuffix(".new")
    found = _TEMPLATE.fullmatch(name)
    return None if found is None else found[1]
