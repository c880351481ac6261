"""The databases, stores and folders of an installation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


class Unreadable(Exception):
    """A part of the installation cannot be read, so it cannot be examined."""


@dataclass(frozen=True)
class Store:
    """A chunk store: its URL, and the file with its master key of 32 bytes."""

    url: str
    key_file: Path


@dataclass(frozen=True)
class Installation:
    """The three services' databases (SQLAlchemy's URLs), stores and folders.

    `ecs_data` is the folder with the disks of `ecs_host`. `secrets` are files that only their owner may read.
    """

    csbs_database: str
    ims_database: str
    ecs_database: str
    csbs_store: Store
    ims_store: Store
    staging: Path
    ecs_data: Path
    ecs_host: str
    secrets: tuple[Path, ...] = ()

    @classmethod
    def local(cls, root: Path) -> Self:
        """The installation of `python -m recast.stack --root ...`. Unreadable if there is none."""
        root = root.absolute()
        data, keys = root / "data", root / "keys"
        if not data.is_dir():
            raise Unreadable(f"{root} is not the root of a stack: it has no folder data")
        stores = {
            service: Store((root / "store" / service).as_uri(), keys / f"{service}-store.key")
            for service in ("csbs", "ims")
        }
        return cls(
            csbs_database=f"sqlite:///{data / 'csbs.db'}",
            ims_database=f"sqlite:///{data / 'ims.db'}",
            ecs_database=f"sqlite:///{data / 'ecs.db'}",
            csbs_store=stores["csbs"],
            ims_store=stores["ims"],
            staging=data / "ims-staging",
            ecs_data=data / "ecs",
            ecs_host="local",
            secrets=(*sorted(keys.glob("*.pem")), *(store.key_file for store in stores.values())),
        )
