"""The services' endpoints and the caller's identity, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recast.client.local_stack import read_endpoints
from recast.contracts.services import PORTS, SERVICES, Service
from recast.faults import Kind, Refusal

_DEFAULT_ENDPOINTS: dict[Service, str] = {service: f"127.0.0.1:{port}" for service, port in PORTS.items()}


class FileUnreadable(Refusal):
    """A file that a variable names cannot be read."""

    kind = Kind.FAILED_PRECONDITION
    reason = "FILE_UNREADABLE"
    message = "{variable} names {file}, which cannot be read: {problem}"


def read_file(variable: str, file: Path) -> bytes:
    """The content of the file that `variable` names; FileUnreadable when there is none."""
    try:
        return file.read_bytes()
    except OSError as problem:
        raise FileUnreadable(variable=variable, file=file, problem=problem.strerror or problem) from None


@dataclass(frozen=True)
class Settings:
    """The client's settings from the environment; each field names its variable."""

    endpoints: Mapping[Service, str] = field(default_factory=lambda: dict(_DEFAULT_ENDPOINTS))
    """RECAST_CSBS_ENDPOINT, RECAST_IMS_ENDPOINT, RECAST_ECS_ENDPOINT: `host:port`. Without them those that a
    stack wrote beside `keys`; else 127.0.0.1:7101 to 7103.
    """
    project: str = "demo"
    """RECAST_PROJECT."""
    token: str = field(default="", repr=False)
    """RECAST_TOKEN, or the content of RECAST_TOKEN_FILE; empty means that a token is minted from `keys`."""
    keys: Path = Path(".recast/keys")
    """RECAST_KEYS: the folder with the private keys."""
    user: str = "somebody"
    """USER: the subject of a minted token."""
    ca_file: Path | None = None
    """RECAST_CA_FILE: certificates to trust, in PEM; without it the channels are not encrypted."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Reads `environ`. Raises FileUnreadable when RECAST_TOKEN_FILE cannot be read, EndpointsInvalid when
        the endpoints beside the keys cannot.
        """
        token = environ.get("RECAST_TOKEN", "")
        if not token and environ.get("RECAST_TOKEN_FILE"):
            token = read_file("RECAST_TOKEN_FILE", Path(environ["RECAST_TOKEN_FILE"])).decode(
                errors="replace"
            )
        keys = Path(environ.get("RECAST_KEYS") or ".recast/keys")
        endpoints = {each: environ.get(f"RECAST_{each.upper()}_ENDPOINT", "") for each in SERVICES}
        if not all(endpoints.values()):
            beside = _DEFAULT_ENDPOINTS | read_endpoints(keys)
            endpoints = {service: given or beside[service] for service, given in endpoints.items()}
        return cls(
            endpoints=endpoints,
            project=environ.get("RECAST_PROJECT") or "demo",
            token=token.strip(),
            keys=keys,
            user=environ.get("USER") or "somebody",
            ca_file=Path(environ["RECAST_CA_FILE"]) if environ.get("RECAST_CA_FILE") else None,
        )
