"""Requests made at random from the descriptors: every field of every RPC, by its type and by its meaning."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

# Names of fields that hold resource names, and the collection of the resource.
COLLECTIONS = {
    "backup": "backups",
    "sealed_backup": "backups",
    "backups": "backups",
    "image": "images",
    "source_backup": "backups",
    "server": "servers",
    "holder": "servers",
    "disk": "disks",
}
_MOST_DEPTH = 4
_MOST_LINKS = 3
_INTEGERS = (
    0,
    1,
    -1,
    2,
    511,
    512,
    4096,
    1 << 20,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 32,
    (1 << 63) - 1,
    -(1 << 63),
)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_TEXTS = (
    *("", " ", "\0", "a\0b", "a\nb", "\x1b[31m", "\u202eevil", "\ufffe", "\U0001f600", "\u0130", "e\u0301"),
    *("%", "'; DROP TABLE backup; --", "{}", "../x", "-", "A", "x" * 63, "x" * 64, "x" * 255, "x" * 70_000),
    *("9" * 400, "1e999", "NaN", "null", "a=b", "*", "<script>"),
)
_FILTERS = (
    *('state = "AVAILABLE"', 'state = "NO_SUCH"', 'display_name : "a"', "create_time > 2026-01-01T00:00:00Z"),
    *("size_bytes >= 0", "size_bytes > 99999999999999999999999", 'nonsense = "x"', "state =", "(", "a AND"),
    *('create_time > "0001-01-01T00:00:00Z"', 'create_time < "9999-12-31T23:59:59.999999999Z"'),
    *("size_bytes = -9223372036854775808", 'display_name = "\\"', 'name = "\u202e"'),
)
_ORDERS = (
    "create_time",
    "create_time desc",
    "size_bytes",
    "display_name desc",
    "nonsense",
    "desc",
    ",",
    "a,b,c",
)
_TOKENS = ("x", "=", "AAAA", "eyJhIjoxfQ", "9" * 300, "\u00e9")
_PATHS = ("*", "", "description", "display_name", "name", "a.b.c", "state", "description" * 50)


def seed_of_the_commit(folder: Path) -> str:
    """The seed of a run: it turns with the commit; without a repository it is a constant."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()[:8] or "no-commit"


@dataclass(frozen=True)
class Fuzzer:
    """Changes requests that are in order. The same seed and number give the same changes.

    `names` are resource names to use: existing, absent, foreign ones.
    """

    seed: str
    names: Sequence[str]

    def changed(self, number: int, request: Message) -> Message:
        """A copy of a request with up to three changes; of half of the requests none."""
        rng = random.Random(f"{self.seed}/{number}")
        copy = type(request)()
        copy.CopyFrom(request)
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
            self._change(rng, copy)
        return copy

    def _change(self, rng: random.Random, message: Any) -> None:
        """Changes one field, of the message or of one in it."""
        for _ in range(_MOST_DEPTH):
            fields = [field for field in message.DESCRIPTOR.fields if field.name != "validate_only"]
            if not fields:
                return
            field = rng.choice(fields)
            if field.is_repeated:
                self._change_repeated(rng, message, field)
                return
            if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
                setattr(message, field.name, self._value(rng, field))
                return
            if rng.random() < 0.1:
                message.ClearField(field.name)
                return
            message = getattr(message, field.name)
            message.SetInParent()

    def _change_repeated(self, rng: random.Random, message: Any, field: FieldDescriptor) -> None:
        items = getattr(message, field.name)
        count = rng.choice((0, 1, 1, 2, 2, 300))
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            items.clear()
            return
        if count == 0:
            del items[:]
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for _ in range(count):
                self._change(rng, items.add())
        elif rng.random() < 0.3 and len(items):  # repeated ones
            items.extend([items[0]] * count)
        else:
            items.extend(self._value(rng, field) for _ in range(count))

    def _value(self, rng: random.Random, field: FieldDescriptor) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return rng.randbytes(rng.choice((0, 1, 32, 32, 70_000)))
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text(rng, field.name)
            case FieldDescriptor.CPPTYPE_BOOL:
                return rng.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                known = [value.number for value in field.enum_type.values]
                return rng.choice([*known, *known, -1, 999, (1 << 31) - 1])
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return rng.choice((0.0, -1.0, 1e300, float("inf"), float("nan")))
        least, most = _RANGES[field.cpp_type]
        return rng.choice([value for value in _INTEGERS if least <= value <= most])

    def _text(self, rng: random.Random, field: str) -> str:
        meant: Sequence[str] = {
            "filter": _FILTERS,
            "order_by": _ORDERS,
            "page_token": _TOKENS,
            "paths": _PATHS,
        }.get(field, ())
        if meant and rng.random() < 0.8:
            return rng.choice(meant)
        if field in {"name", "parent", *COLLECTIONS} and rng.random() < 0.7:
            name = rng.choice(self.names)
            return rng.choice(
                (name, name, f"{name}/x", name.upper(), name + "\0", "/".join(name.split("/")[:2]))
            )
        return rng.choice(_TEXTS)

    def garbled(self, number: int, request: Message) -> bytes:
        """The bytes of a request with a few of them changed, cut off or repeated."""
        rng = random.Random(f"{self.seed}/bytes/{number}")
        raw = bytearray(request.SerializeToString() or b"\x0a\x01x")
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(raw))
            match rng.randrange(3):
                case 0:
                    raw[at] = rng.randrange(256)
                case 1 if at:
                    del raw[at:]
                case _:
                    raw[at:at] = rng.randbytes(rng.choice((1, 3, 40)))
        return bytes(raw)


@dataclass(frozen=True)
class NameField:
    """A place for a resource name in a request: the fields on the way to it, and the collection of it."""

    path: tuple[str, ...]
    collection: str

    def __str__(self) -> str:
        return ".".join(self.path)

    def put(self, request: Message, name: str) -> None:
        """Writes a name there; a repeated field has it alone, a repeated message in its first element."""
        holder: Any = request
        for each in self.path[:-1]:
            holder = getattr(holder, each)
            if not isinstance(holder, Message):
                holder = holder[0] if len(holder) else holder.add()
        if holder.DESCRIPTOR.fields_by_name[self.path[-1]].is_repeated:
            getattr(holder, self.path[-1])[:] = [name]
        else:
            setattr(holder, self.path[-1], name)


def name_fields(request: Message) -> list[NameField]:
    """Every place for a resource name in a request. `name` and `parent` are of the request's own kind."""
    return list(_name_fields(type(request).DESCRIPTOR, request, ()))


def _name_fields(descriptor: Any, message: Any, path: tuple[str, ...]) -> Iterator[NameField]:
    for field in descriptor.fields:
        here = (*path, field.name)
        if field.type == FieldDescriptor.TYPE_STRING:
            if field.name == "parent":
                yield NameField(here, "")
            elif field.name in COLLECTIONS:
                yield NameField(here, COLLECTIONS[field.name])
            elif field.name == "name" and str(getattr(message, "name", "")).startswith("projects/"):
                yield NameField(here, message.name.split("/")[2])
        elif field.message_type is not None and len(here) < _MOST_LINKS:
            inner = None if message is None or field.is_repeated else getattr(message, field.name)
            yield from _name_fields(field.message_type, inner, here)
