"""The services' endpoints and the caller's identity, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recast.contracts.services import PORTS, SERVICES, Service

_DEFAULT_ENDPOINTS: Mapping[Service, str] = {service: f"127.0.0.1:{port}" for service, port in PORTS.items()}


@dataclass(frozen=True)
class Settings:
    """The client's settings from the environment; each field names its variable."""

    endpoints: Mapping[Service, str] = field(default_factory=lambda: dict(_DEFAULT_ENDPOINTS))
    """RECAST_CSBS_ENDPOINT, RECAST_IMS_ENDPOINT, RECAST_ECS_ENDPOINT: `host:port`."""
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
        """Reads `environ`. Raises OSError when RECAST_TOKEN_FILE names a file that cannot be read."""
        token = environ.get("RECAST_TOKEN", "")
        if not token and environ.get("RECAST_TOKEN_FILE"):
            token = Path(environ["RECAST_TOKEN_FILE"]).read_text()
        return cls(
            endpoints={
                service: environ.get(f"RECAST_{service.upper()}_ENDPOINT") or _DEFAULT_ENDPOINTS[service]
                for service in SERVICES
            },
            project=environ.get("RECAST_PROJECT") or "demo",
            token=token.strip(),
            keys=Path(environ.get("RECAST_KEYS") or ".recast/keys"),
            user=environ.get("USER") or "somebody",
            ca_file=Path(environ["RECAST_CA_FILE"]) if environ.get("RECAST_CA_FILE") else None,
        )
