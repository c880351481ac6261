"""Callers' identity: tokens are JWTs signed with ES256, keys are files, and no secret has a default.

A trust file is a JWK set of public keys. Each key has, beside the standard members, `roles`: the roles that
its tokens may have; and, for a service's key, `subject`: their only subject. So a stolen service key cannot
sign an operator's token.
"""

import contextvars
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from recast.contracts.services import SERVICES
from recast.faults import Refusal, RemoteRefusal, TokenInvalid, Unavailable
from recast.rpc.trust import Keys, TrustFile

ISSUER = AUDIENCE = "recast"
_CACHED_TOKENS = 10_000
_SKEW_SECONDS = 60.0  # by which the clock of an issuer may be ahead


@dataclass(frozen=True)
class Caller:
    """The identity in a token.

    `role` is `user`, `operator` or `service`; a service acts within `project` on its behalf.
    """

    subject: str
    project: str
    role: str


class Signer:
    """Makes tokens with one private key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, key_id: str) -> None:
        self._key = key
        self._key_id = key_id

    @classmethod
    def load(cls, path: Path) -> "Signer":
        """Reads a private key in PEM; the file's stem is the key's id."""
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} is not an elliptic curve key")
        return cls(key, path.stem)

    def token(self, caller: Caller, *, now: float, lifetime_seconds: float) -> str:
        """A token for `caller`, valid from `now` (seconds since 1970) on."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": caller.subject,
            "project": caller.project,
            "role": caller.role,
            "iat": int(now),
            "exp": int(now + lifetime_seconds),
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})


_project: contextvars.ContextVar[str] = contextvars.ContextVar("acting_project")


def act_for(project: str) -> None:
    """Makes this thread's further calls on behalf of the project."""
    _project.set(project)


@contextmanager
def acting_for(project: str) -> Iterator[None]:
    """Makes this thread's calls in the block on behalf of the project."""
    before = _project.set(project)
    try:
        yield
    finally:
        _project.reset(before)


class ServiceTokens:
    """The tokens for a service's calls to its peers: its name, and the project that it currently acts for."""

    _LIFETIME_SECONDS = 600.0

    def __init__(self, signer: Signer, service: str, now: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._now = now
        self._service = service
        self._made: dict[str, tuple[str, float]] = {}

    def __call__(self) -> str:
        """A valid token; each is reused for half its life."""
        project, now = _project.get(), self._now()
        token, made = self._made.get(project, ("", -inf))
        # Older than now as well: after this clock was set back the token would be reused beyond its end.
        if not made <= now < made + self._LIFETIME_SECONDS / 2:
            caller = Caller(self._service, project, "service")
            token = self._signer.token(caller, now=now, lifetime_seconds=self._LIFETIME_SECONDS)
            self._made[project] = (token, now)
        return token

    def refusal(self, refusal: RemoteRefusal) -> Refusal:
        """A peer's refusal of a call: that of this service's token is a reason to wait.

        A clock that is wrong, or a trust file that is being replaced, is put right; work that was
        acknowledged must not end meanwhile.
        """
        if refusal.reason != TokenInvalid.reason:
            return refusal
        self._made.clear()
        peer = refusal.domain.partition(".")[0] or "a peer"
        return Unavailable(problem=f"{peer} refuses {self._service}'s token: {self._reason(peer, refusal)}")

    def _reason(self, peer: str, refusal: RemoteRefusal) -> str:
        try:
            ahead = datetime.fromisoformat(refusal.facts["server_time"]).timestamp() - self._now()
        except (KeyError, ValueError):
            return refusal.facts.get("problem", refusal.text)
        if abs(ahead) < _SKEW_SECONDS:
            return refusal.facts.get("problem", refusal.text)
        direction = "ahead of" if ahead > 0 else "behind"
        return f"{peer}'s clock is {duration_text(abs(ahead))} {direction} {self._service}'s"


class Verifier:
    """Verifies tokens by the keys that a service trusts.

    A verified token is cached until it expires, or the keys change: ES256 costs 100 µs. A token that is valid
    for longer than `people_seconds`, or a service's for longer than `service_seconds`, is refused.
    """

    def __init__(
        self,
        keys: Callable[[], Keys],
        now: Callable[[], float] = time.time,
        people_seconds: float = 3600.0,
        service_seconds: float = 600.0,
    ) -> None:
        self._now = now
        self._keys = keys
        self._people_seconds, self._service_seconds = people_seconds, service_seconds
        self._seen: dict[str, tuple[Caller, float]] = {}
        self._seen_by: Keys = {}
        self._lock = threading.Lock()  # over the cache, which handler threads share

    @classmethod
    def load(cls, path: Path, people_seconds: float = 3600.0, service_seconds: float = 600.0) -> "Verifier":
        """Verifies by a trust file, which is read again when it changes."""
        return cls(TrustFile(path).keys, people_seconds=people_seconds, service_seconds=service_seconds)

    def verify(self, token: str) -> Caller:
        """The caller in the token; TokenInvalid when it cannot be trusted."""
        keys = self._keys()
        if keys is not self._seen_by:
            with self._lock:
                self._seen, self._seen_by = {}, keys
        known = self._seen.get(token)
        if known and known[1] > self._now():
            return known[0]
        caller, expires = self._verify(token, keys)
        with self._lock:
            if keys is not self._seen_by:  # they changed meanwhile: the next call decides anew
                return caller
            if len(self._seen) >= _CACHED_TOKENS:
                self._seen.clear()
            self._seen[token] = (caller, expires)
        return caller

    def _verify(self, token: str, keys: Keys) -> tuple[Caller, float]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            key, jwk = keys[key_id]
            claims = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The time of issue does not affect trust, and the issuer's clock may be ahead. The time of
                # expiry is compared below: the refusal has both clocks.
                options={"require": ["exp", "sub"], "verify_iat": False, "verify_exp": False},
            )
            caller = Caller(str(claims["sub"]), str(claims["project"]), str(claims["role"]))
            issued, expires = int(float(claims.get("iat", 0))), int(float(claims["exp"]))
        except KeyError as missing:
            raise TokenInvalid(problem=f"the token's key or claim {missing} is unknown") from None
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError) as problem:
            raise TokenInvalid(problem=f"the token cannot be trusted: {problem}") from None
        if caller.role not in jwk["roles"] or jwk.get("subject", caller.subject) != caller.subject:
            raise TokenInvalid(problem=f"key {key_id} may not speak for {caller.role} {caller.subject}")
        self._check_times(caller, issued, expires)
        return caller, float(expires)

    def _check_times(self, caller: Caller, issued: int, expires: int) -> None:
        """TokenInvalid with the token's times and this service's, so that a wrong clock can be named."""
        now = self._now()
        longest = self._service_seconds if caller.role == "service" else self._people_seconds
        if expires <= now:
            ago = duration_text(now - expires)
            problem = f"the token of {caller.subject} has expired, {ago} ago by this service's clock"
        elif expires - now > longest + _SKEW_SECONDS:
            problem = f"the token is valid for more than {longest:.0f} s"
            if issued > now + _SKEW_SECONDS:
                ahead = duration_text(issued - now)
                problem += f": it is of {caller.subject}, issued {ahead} ahead of this service's clock"
        else:
            return
        raise TokenInvalid(
            problem=problem,
            token_subject=caller.subject,
            token_issue_time=_time_text(issued),
            token_expire_time=_time_text(expires),
            server_time=_time_text(now),
        )


def duration_text(seconds: float) -> str:
    """A duration for people, in one unit."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _time_text(seconds: float) -> str:
    """A time in ISO 8601; that of a token may be any number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def create_keys(folder: Path) -> None:
    """Makes the missing files of `folder`: a key for people (`people.pem`), one a service, `trusted.json`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    public = []
    for name in ("people", *SERVICES):
        path = folder / f"{name}.pem"
        if not path.exists():
            _write_secret(path, _pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        rights = (
            {"roles": ["user", "operator"]} if name == "people" else {"roles": ["service"], "subject": name}
        )
        public.append(jwk | rights | {"kid": name, "alg": "ES256", "use": "sig"})
    (folder / "trusted.json").write_text(json.dumps({"keys": public}, indent=2) + "\n")


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_secret(path: Path, content: bytes) -> None:
    """Writes a file atomically, readable by its owner alone from the start."""
    whole = path.with_suffix(".new")
    whole.unlink(missing_ok=True)
    whole.touch(mode=0o600, exist_ok=False)
    whole.write_bytes(content)
    whole.rename(path)
