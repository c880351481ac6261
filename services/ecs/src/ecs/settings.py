"""Every setting that ECS reads."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from recast.rpc.settings import ServiceSettings


class Settings(ServiceSettings):
    """From the environment, prefix `RECAST_ECS_`."""

    model_config = SettingsConfigDict(env_prefix="RECAST_ECS_")

    address: str = "127.0.0.1:7103"
    data_dir: Path
    """Where this host keeps its disks and the bases that they stand on."""
    host: str = "local"
    """This host's name; work on its disks is done here alone."""
    ims_target: str = "127.0.0.1:7102"
    """Where IMS is, `host:port`."""
    cache_max_bytes: int = 1 << 40
    """What bases that no disk stands on may make the cache grow to; those in use are never removed."""
