"""Parsers of the syntaxes that several of a system's configuration files share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_SHELL_ESCAPED = frozenset('"\\$`')  # what a backslash escapes between double quotes


def join_lines(text: str) -> list[str]:
    """Return the lines that are no comment and not empty; after a backslash a line goes on in the next."""
    lines: list[str] = []
    is_open = False
    for line in text.splitlines():
        part = line.rstrip()
        if part.lstrip().startswith("#") or not (part or is_open):
            continue  # a comment does not end a continued line
        following = part.endswith("\\")
        part = part[:-1] if following else part
        if is_open:
            lines[-1] += part
        else:
            lines.append(part)
        is_open = following
    return lines


def parse_shell(text: str) -> dict[str, str]:
    """Return the variables that a file of assignments sets, each value unquoted as a shell does it."""
    assignments = re.findall(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*(?:\[\d+\])?)=(.*)$", text, re.MULTILINE)
    return {name: unquote(value) for name, value in assignments}


def unquote(word: str) -> str:
    """Return the first word of `word` without its quotes and backslashes, as a shell reads it."""
    result: list[str] = []
    quote = ""
    chars = iter(word)
    for char in chars:
        if char == "\\" and quote != "'":
            escaped = next(chars, "")
            result.append(escaped if not quote or escaped in _SHELL_ESCAPED else char + escaped)
        elif quote:
            if char == quote:
                quote = ""
            else:
                result.append(char)
        elif char in "\"'":
            quote = char
        elif char.isspace() or char == ";":
            break
        else:
            result.append(char)
    return "".join(result)


def parse_ini(text: str) -> list[tuple[str, str, str]]:
    """Return (section, key, value) of a file of systemd or a keyfile, in order, values without quotes."""
    section = ""
    rows: list[tuple[str, str, str]] = []
    for line in join_lines(text):
        bare = line.strip()
        key, separator, value = bare.partition("=")
        if bare.startswith("[") and bare.endswith("]"):
            section = bare[1:-1].strip()
        elif separator and not bare.startswith(";"):
            rows.append((section, key.strip(), value.strip().strip("\"'")))
    return rows


def parse_yaml(text: str) -> Any:
    """Return the YAML in `text` with every scalar as a string. Raises ValueError if it is no YAML.

    The base loader resolves no tags and merges nothing, so that no text expands. libyaml limits the depth.
    """
    try:
        return yaml.load(text, yaml.CBaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    except RecursionError:  # the constructor is recursive
        raise ValueError("it is nested too deeply") from None


def walk(data: Any, parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield each mapping in parsed YAML once, with the keys that lead to it."""
    pending: list[tuple[tuple[str, ...], Any]] = [(parents, data)]
    seen: set[int] = set()  # an alias names the same object: without this, a small text is a huge walk
    while pending:
        keys, value = pending.pop()
        if not isinstance(value, dict | list) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            yield keys, value
            pending.extend(((*keys, str(key)), inner) for key, inner in reversed(value.items()))
        else:
            pending.extend((keys, inner) for inner in reversed(value))


def is_true(value: Any) -> bool:
    """Return whether a scalar of YAML is one of its words for true."""
    return isinstance(value, str) and value.lower() in ("true", "yes", "on", "y", "1")
