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
    """The folder of this host's disks and of its image cache. Not needed by the role `api`."""
    host: str = Field(default="local", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    """This host's name; only processes with this name work on its disks."""
    ims_target: str = "127.0.0.1:7102"
    """The address of IMS, `host:port`."""
    peer_store_urls: str
    """The chunk stores of CSBS and IMS, their `STORE_URL`, separated by a space: no other one is opened."""
    cache_max_bytes: int = 1 << 40
    """The size of the image cache above which unused bases are removed; bases in use are never removed."""

    @model_validator(mode="after")
    def _has_a_folder(self) -> "Settings":
        if self.works and self.data_dir == Path():
            raise ValueError("data_dir must be set for a process with disks (role `all` or `worker`)")
        return self
