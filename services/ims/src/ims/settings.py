"""Every setting that IMS reads."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from recast.diskimage import MAX_EXPANSION
from recast.rpc.settings import ServiceSettings


class Settings(ServiceSettings):
    """From the environment, prefix `RECAST_IMS_`."""

    model_config = SettingsConfigDict(env_prefix="RECAST_IMS_")

    address: str = "127.0.0.1:7102"
    store_url: str
    """The chunk store of imported images: `file:///...` or `s3://bucket/prefix`.

    ECS must reach it under the same URL.
    """
    store_key_file: Path
    """32 random bytes: the store's master key. Without it no imported image can be read."""
    staging_dir: Path
    """The folder of uploads and their unfinished files; replicas of IMS share it."""
    csbs_target: str = "127.0.0.1:7101"
    """The address of CSBS, `host:port`."""
    ecs_target: str = "127.0.0.1:7103"
    """The address of ECS, `host:port`."""
    peer_store_urls: str
    """The chunk store of CSBS, its `STORE_URL`; of several peers separated by a space. No other is opened."""
    preparation: Literal["enforce", "warn"] = "enforce"
    """`enforce` refuses an image of a server that was not prepared (R22), `warn` records the findings on the
    image.
    """
    preparation_unknown: Literal["refuse", "allow"] = "allow"
    """An enforced preparation and required checks that are unknown: `allow` refuses only if all of them are,
    and else has the image carry a warning; `refuse` refuses for any.
    """
    max_virtual_bytes: int = 16 << 40
    """The largest disk that an uploaded file may hold."""
    max_expansion: int = Field(default=MAX_EXPANSION, ge=1)
    """The content of a compressed file may have at most this multiple of the file's bytes."""
    reserve_bytes: int = Field(default=64 << 20, ge=0)
    """The bytes that an import must leave free in the staging folder, and in a chunk store of files."""
