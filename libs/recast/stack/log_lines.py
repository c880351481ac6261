"""The lines of a service's log that people read: warnings, errors, and what is not JSON.

A line that is not JSON is a traceback, or a message of the interpreter.
"""

import json
from typing import Any

LOUD = ("warning", "error", "critical")


def entry_of(line: str) -> dict[str, Any]:
    """The fields of a line; empty for one that is not JSON."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def is_loud(line: str) -> bool:
    """Whether people read the line."""
    entry = entry_of(line)
    return not entry or entry.get("level", "") in LOUD
