"""The store's settings object: the store's format and the size of its chunks."""

import json

from .chunk import is_legal_chunk_size
from .errors import ObjectUnfit, StoreVersionUnknown
from .layout import SETTINGS_NAME
from .objects import Buffer, Objects

_FORMAT = "recast-chunkstore"
_VERSION = 1
_MOST_BYTES = 4096


def open_settings(objects: Objects, chunk_bytes: int) -> int:
    """Return the store's chunk size; an empty store gets `chunk_bytes`, durably."""
    if not is_legal_chunk_size(chunk_bytes):
        raise ValueError(f"chunks of {chunk_bytes} bytes: not a power of two from 4 KiB to 64 MiB")
    stored = _load(objects)
    if stored is not None and _is_torn(stored) and _holds_nothing_else(objects):
        objects.replace(
            SETTINGS_NAME, _encode(chunk_bytes)
        )  # torn by a power cut, before anything was written
        objects.barrier()
        return chunk_bytes
    if stored is None:
        is_ours = objects.put_new(SETTINGS_NAME, _encode(chunk_bytes))
        objects.barrier()
        if is_ours:
            return chunk_bytes
        stored = _load(objects) or b""  # another process made the store first: its size counts
    return _decode(stored)


def _load(objects: Objects) -> Buffer | None:
    try:
        return objects.get(SETTINGS_NAME, _MOST_BYTES)
    except ObjectUnfit as problem:
        raise StoreVersionUnknown(str(problem)) from problem


def _encode(chunk_bytes: int) -> bytes:
    return json.dumps({"format": _FORMAT, "version": _VERSION, "chunk_bytes": chunk_bytes}).encode() + b"\n"


def _is_torn(stored: Buffer) -> bool:
    return not bytes(stored).strip(b"\0")


def _holds_nothing_else(objects: Objects) -> bool:
    return all(name == SETTINGS_NAME for name, _ in objects.list(""))


def _decode(stored: Buffer) -> int:
    try:
        settings = json.loads(bytes(stored))
        form, version, chunk_bytes = settings["format"], settings["version"], settings["chunk_bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreVersionUnknown(f"{SETTINGS_NAME}: unreadable ({error})") from error
    if form != _FORMAT or version != _VERSION:
        raise StoreVersionUnknown(f"{SETTINGS_NAME}: {form} version {version}, not {_FORMAT} {_VERSION}")
    if not isinstance(chunk_bytes, int) or not is_legal_chunk_size(chunk_bytes):
        raise StoreVersionUnknown(f"{SETTINGS_NAME}: chunks of {chunk_bytes} bytes")
    return chunk_bytes
