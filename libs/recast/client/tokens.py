"""The token of a call: a given one, or one minted from the keys folder and renewed before it expires."""

import time
from collections.abc import Callable

from recast.client.settings import Settings
from recast.contracts.services import Service
from recast.faults import Kind, Refusal
from recast.rpc.identity import Caller, Signer

LIFETIME_SECONDS = 600.0  # the longest of a service by default; a person's may be 3,600 s
# Renewed this long before it expires, so that no token expires during a call.
_MARGIN_SECONDS = 60.0


class NoToken(Refusal):
    """There is no token, and no key to make one with."""

    kind = Kind.UNAUTHENTICATED
    reason = "NO_TOKEN"
    message = "no token for {caller}: none was given, and there is no key {key} to make one"


class KeyUnreadable(Refusal):
    """The key to make a token with cannot be read."""

    kind = Kind.FAILED_PRECONDITION
    reason = "KEY_UNREADABLE"
    message = "the key {key} cannot be read: {problem}"


class MintedToken:
    """Makes tokens for one caller; an argument of `connect`, which calls it before each call."""

    def __init__(
        self,
        signer: Signer,
        caller: Caller,
        *,
        lifetime_seconds: float = LIFETIME_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signer = signer
        self._caller = caller
        self._lifetime = lifetime_seconds
        self._clock = clock
        self._token, self._renew_at = "", 0.0

    def __call__(self) -> str:
        """A token that is still valid for a while."""
        now = self._clock()
        if now >= self._renew_at:
            self._token = self._signer.token(self._caller, now=now, lifetime_seconds=self._lifetime)
            self._renew_at = now + self._lifetime - min(_MARGIN_SECONDS, self._lifetime / 2)
        return self._token


def mint(
    settings: Settings,
    project: str,
    *,
    role: str = "user",
    service: Service | None = None,
    lifetime_seconds: float = LIFETIME_SECONDS,
) -> MintedToken:
    """Tokens from the keys folder: for `settings.user` in `role`, or for `service` itself. NoToken without
    the key.
    """
    caller = Caller(service, project, "service") if service else Caller(settings.user, project, role)
    key = settings.keys / f"{service or 'people'}.pem"
    if not key.exists():
        raise NoToken(caller=f"{caller.role} {caller.subject}", key=key)
    try:
        signer = Signer.load(key)
    except (OSError, ValueError) as problem:  # the text of the library names no file, and may be long
        raise KeyUnreadable(key=key, problem=getattr(problem, "strerror", None) or "it is no key") from None
    return MintedToken(signer, caller, lifetime_seconds=lifetime_seconds)


def token_source(
    settings: Settings,
    project: str,
    *,
    role: str | None = None,
    service: Service | None = None,
    default_role: str = "user",
    default_service: Service | None = None,
) -> Callable[[], str]:
    """The source of tokens: minted for a given role or service; else the given token; else minted for the
    default.
    """
    if role or service:
        return mint(settings, project, role=role or "user", service=service)
    if settings.token:
        given = settings.token
        return lambda: given
    return mint(settings, project, role=default_role, service=default_service)
