"""Texts of others on a terminal: control and bidirectional characters are escaped.

A display name, a refusal or a log line can hold bytes of another tenant. Printed as they are, an escape
sequence moves the cursor, and a bidirectional override shows other characters than are there.
"""

import json
import re
import sys
from typing import Any

# U+0000 to U+001F, U+007F to U+009F (Cc); marks, separators, embeddings, overrides and isolates of UAX 9.
_CONTROLS, _OTHERS = r"\x00-\x1f", r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[{_CONTROLS}{_OTHERS}]")
_UNSAFE_IN_JSON = re.compile(f"[{_OTHERS}]")


def escaped(text: str) -> str:
    r"""The text with `\u001b` in place of the character."""
    return _UNSAFE.sub(_escape, text)


def escaped_json(text: str) -> str:
    """JSON text of the same value; `json` itself escapes U+0000 to U+001F."""
    return _UNSAFE_IN_JSON.sub(_escape, text)


def json_text(value: Any) -> str:
    """A value as JSON for people: letters are written as they are where stdout and stderr can encode them."""
    is_unicode = all("utf" in (stream.encoding or "").lower() for stream in (sys.stdout, sys.stderr))
    return escaped_json(json.dumps(value, indent=2, ensure_ascii=not is_unicode))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
