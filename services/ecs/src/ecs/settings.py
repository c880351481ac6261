"""Every setting that ECS reads."""

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from recast.rpc.settings import ServiceSettings


class Settings(ServiceSettings):
    """From the environment, prefix `RECAST_ECS_`."""

    model_config = SettingsConfigDict(env_prefix="RECAST_ECS_")

    address: str = "127.0.0.1:7103"
    data_dir: Path = Path()
    """Where this host keeps its disks and the bases that they stand on. Not needed by the role `api`."""
    host: str = Field(default="local", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    """This host's name; work on its disks is done here alone."""
    ims_target: str = "127.0.0.1:7102"
    """Where IMS is, `host:port`."""
    cache_max_bytes: int = 1 << 40
    """What bases that no disk stands on may make the cache grow to; those in use are never removed."""

    @model_validator(mode="after")
    def _has_a_folder(self) -> "Settings":
        if self.works and self.data_dir == Path():
            raise ValueError("data_dir must be set where disks are (role `all` or `worker`)")
        return self
