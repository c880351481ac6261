"""Resource names: `projects/{project}/backups/{backup}`."""

import re
from typing import NamedTuple

from recast.faults import FieldViolation, RequestInvalid

_SEGMENT = r"[a-z0-9][a-z0-9-]{0,62}"
_NAME = re.compile(rf"projects/({_SEGMENT})/([a-z]+)/({_SEGMENT})")
_PARENT = re.compile(rf"projects/({_SEGMENT})")
_OF_PROJECT = re.compile(r"projects/([^/]*)(/.*)?", re.DOTALL)


class ResourceName(NamedTuple):
    """A parsed name; `collection` is the plural noun, `backups`."""

    project: str
    collection: str
    id: str

    def __str__(self) -> str:
        return f"projects/{self.project}/{self.collection}/{self.id}"


def parse_name(text: str, collection: str, field: str = "name") -> ResourceName:
    """Parses a name of the given collection; RequestInvalid with the field's path for any other text."""
    found = _NAME.fullmatch(text)
    if not found or found.group(2) != collection:
        problem = f"must look like projects/{{project}}/{collection}/{{id}}, not {text!r}"
        raise RequestInvalid(problem=f"{field} {problem}", fields=[FieldViolation(field, problem)])
    return ResourceName(found.group(1), collection, found.group(3))


def parse_parent(text: str, field: str = "parent") -> str:
    """Parses `projects/{project}`; returns the project."""
    found = _PARENT.fullmatch(text)
    if not found:
        problem = f"must look like projects/{{project}}, not {text!r}"
        raise RequestInvalid(problem=f"{field} {problem}", fields=[FieldViolation(field, problem)])
    return found.group(1)


def project_of(text: str) -> str | None:
    """The project of a text in the form of a resource name, of whatever collection; None for other texts."""
    found = _OF_PROJECT.fullmatch(text)
    return found.group(1) if found else None
