"""The trust file of a service: the public keys whose tokens it trusts, read again when the file changes."""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import structlog

log = structlog.get_logger()
Keys = Mapping[str, tuple[Any, Mapping[str, Any]]]
"""By the key's id: the public key, and its JWK with `roles` and `subject`."""


def keys_from_jwks(jwks: Mapping[str, Mapping[str, Any]]) -> Keys:
    """The public keys of JWKs by their ids."""
    return {key_id: (jwt.PyJWK(dict(jwk)).key, jwk) for key_id, jwk in jwks.items()}


class TrustFile:
    """A trust file, a JWK set. A key that is removed from it is not trusted from the next call on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # one thread reads a changed file
        self._version = self._stat()
        self._keys = self._read()

    def keys(self) -> Keys:
        """The keys as the file has them; those of before while it cannot be read, which is logged.

        Each version of the file has another mapping: a caller sees by identity that the keys changed.
        """
        version = self._stat()
        if version != self._version:
            with self._lock:
                if version != self._version:
                    self._version = (
                        version  # first: a damaged version is read and logged once, not at each call
                    )
                    try:
                        self._keys = self._read()
                    except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as problem:
                        log.error("trust file not read", file=str(self._path), problem=str(problem))
        return self._keys

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Keys:
        return keys_from_jwks({jwk["kid"]: jwk for jwk in json.loads(self._path.read_text())["keys"]})
