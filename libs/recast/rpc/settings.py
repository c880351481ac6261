"""The settings that every service has; each service adds its own and sets its prefix."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Read from the environment, `RECAST_<SERVICE>_<NAME>`.

    A secret may also be in a file that `<NAME>_FILE` names.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True)  # it may hold a password

    address: str
    """The address to listen on, `host:port`; port 0 takes a free one."""
    database_url: str = ""
    """`sqlite:////absolute/path.db` or `postgresql+psycopg://...`."""
    database_url_file: Path | None = None
    """A file with the database's URL, for one that holds a password."""
    database_reserve_bytes: int = Field(default=16 << 20, ge=0)
    """The size of a file beside a SQLite database that is removed when the storage is full, so that deleting
    works; 0 for none."""
    trusted_keys_file: Path
    """The JWK set of the trusted keys."""
    signing_key_file: Path
    """The private key that this service signs its own tokens with."""
    log_format: Literal["json", "console"] = "json"
    """`json` for machines, `console` for people."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level to log."""
    metrics_port: int = 0
    """The port of the metrics for Prometheus, on 127.0.0.1; 0 serves none."""
    tls_certificate_file: Path | None = None
    """The certificate chain to serve TLS with; none serves plain text, for loopback and private networks."""
    tls_key_file: Path | None = None
    """The private key of the certificate."""
    role: Literal["all", "api", "worker"] = "all"
    """The role of this process: `api` answers calls, `worker` does long-running work, `all` does both."""
    worker_threads: int = 8
    """The most pieces of long-running work at once in this process."""
    lease_seconds: float = 10.0
    """The length of a worker's lease, renewed while it is alive."""
    token_seconds: int = Field(default=3600, ge=60)
    """The longest lifetime of a person's token; a longer one is refused."""
    service_token_seconds: int = Field(default=600, ge=60)
    """The longest lifetime of a service's token."""
    reflection: bool = True
    """Whether reflection serves the contracts, without a token."""
    request_id_days: int = Field(default=7, ge=1)
    """The days that a request id is stored: a repeat within that time has no second effect."""
    operation_days: int = Field(default=30, ge=1)
    """The days that an ended operation can be read."""
    tombstone_days: int = Field(default=30, ge=7)
    """The days that ids of released reservations, or of peers' requests, are refused or replayed."""

    @property
    def serves(self) -> bool:
        """Whether this process answers calls; health is answered by all."""
        return self.role != "worker"

    @property
    def works(self) -> bool:
        """Whether this process does long-running work."""
        return self.role != "api"

    @model_validator(mode="after")
    def _read_files(self) -> "ServiceSettings":
        if self.database_url_file is not None:
            try:
                self.database_url = self.database_url_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as problem:
                raise ValueError(f"database_url_file cannot be read: {problem}") from problem
        if not self.database_url:
            raise ValueError("database_url or database_url_file must be set")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        return self


def problems_text(service: str, problems: ValidationError) -> str:
    """The problems of a service's settings, a line each, for people."""
    prefix = f"RECAST_{service.upper()}_"
    lines = []
    for problem in problems.errors(include_url=False, include_context=False, include_input=False):
        name = "_".join(str(part) for part in problem["loc"]).upper() or "*"
        lines.append(f"{service}: {prefix}{name}: {problem['msg']}")
    return "\n".join(lines)
