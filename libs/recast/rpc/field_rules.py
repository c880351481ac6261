"""The rules of the fields of every request: those of its contract, one for all texts, one for all names."""

import re
from collections.abc import Iterator
from typing import Any

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from recast.faults import FieldViolation, ProjectNotFound, RequestInvalid
from recast.rpc.names import project_of

_FIELDS_IN_TEXT = 4
# The ids of resource names in the contracts, and the message of protovalidate for a pattern.
_ID = r"[a-z0-9][a-z0-9-]{0,62}"
_ID_IN_WORDS = "1 to 63 of a-z, 0-9 and -, and does not begin with -"
_PATTERN = re.compile(r"regex pattern `\^(.*)\$`")
# Unicode's category Cc. PostgreSQL stores no NUL; terminals and logs act on the others.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# A description can have lines; a service that allows none refuses them by its own rule (R58).
_IN_DESCRIPTION = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Texts that people write, and conditions: none of them is a name, whatever it looks like.
_FREE_TEXTS = frozenset(
    {"description", "detail", "display_name", "filter", "remedy", "server_display_name", "os_name"}
)


def check_message(message: Message) -> None:
    """Checks a request; the refusal names every field that breaks a rule.

    RequestInvalid for a rule of the contract, and for a control character in any text.
    """
    broken = [
        FieldViolation(_path(each.proto.field), _sentence(each.proto.message))
        for each in protovalidate.collect_violations(message)
    ]
    named = {each.field for each in broken}
    broken += [each for each in _control_characters(message) if each.field not in named]
    if broken:
        texts = [f"{each.field}: {each.description}" for each in broken[:_FIELDS_IN_TEXT]]
        unnamed = [f"and {len(broken) - len(texts)} more"] if len(broken) > len(texts) else []
        raise RequestInvalid(problem="; ".join([*texts, *unnamed]), fields=broken)


def _sentence(message: str) -> str:
    """The message of a violation; of a pattern of ids, in words instead of the regular expression."""
    found = _PATTERN.search(message)
    if not found:
        return message
    parts = found[1].removeprefix("(").removesuffix(")?").split("/")
    if parts == [_ID]:
        return f"must be an id: {_ID_IN_WORDS}"
    nouns, ids = parts[::2], parts[1::2]
    if set(ids) != {_ID} or not all(each.isalpha() for each in nouns):
        return message
    name = "/".join(f"{each}/{{{each.removesuffix('s')}}}" for each in nouns)
    return f"must look like {name}; an id is {_ID_IN_WORDS}"


def check_projects(message: Message, project: str) -> None:
    """ProjectNotFound when a request names a resource of another project than the caller's (R61).

    Every text is read that may be a resource name, in nested and repeated messages too, and every field
    `project`: so no method can forget a field, and a service's key reaches one project with a call.
    """
    for field, _, text in _texts(message):
        if field.name in _FREE_TEXTS:
            continue
        named = text if field.name == "project" else project_of(text)
        if named and named != project:
            raise ProjectNotFound(project=f"projects/{named}")


def _control_characters(message: Message) -> Iterator[FieldViolation]:
    for field, path, text in _texts(message):
        pattern = _IN_DESCRIPTION if field.name == "description" else _CONTROL_CHARACTER
        if found := pattern.search(text):
            yield FieldViolation(path, f"must not have the control character U+{ord(found[0]):04X}")


def _texts(message: Message, prefix: str = "") -> Iterator[tuple[FieldDescriptor, str, str]]:
    """Every text of a message: its field, its path, the text."""
    for field, value in message.ListFields():
        if field.type not in {field.TYPE_STRING, field.TYPE_MESSAGE}:
            continue
        many: Any = value if field.is_repeated else [value]
        for number, each in enumerate(many):
            path = f"{prefix}{field.name}" + (f"[{number}]" if field.is_repeated else "")
            if isinstance(each, Message):
                yield from _texts(each, f"{path}.")
            else:
                yield field, path, each


def _path(path: Any) -> str:
    parts = []
    for element in path.elements:
        index = getattr(element.subscript, "value", None) if element.subscript is not None else None
        parts.append(element.field_name + (f"[{index}]" if index is not None else ""))
    return ".".join(parts)
