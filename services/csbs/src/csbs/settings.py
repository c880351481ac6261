"""Every setting that CSBS reads."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from recast.rpc.settings import ServiceSettings


class Settings(ServiceSettings):
    """From the environment, prefix `RECAST_CSBS_`."""

    model_config = SettingsConfigDict(env_prefix="RECAST_CSBS_")

    address: str = "127.0.0.1:7101"
    store_url: str
    """The chunk store of backups: `file:///...` or `s3://bucket/prefix`.

    ECS must reach it under the same URL.
    """
    store_key_file: Path
    """32 random bytes: the store's master key. Without it no backup can be read."""
    ecs_target: str = "127.0.0.1:7103"
    """The address of ECS, `host:port`."""
    require_available: bool = False
    """R06, the strict reading: an image is made only of an AVAILABLE backup, not of a marked CREATING one."""
