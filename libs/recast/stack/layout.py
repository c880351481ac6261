"""The folders of a stack, and each service's settings for them."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recast.client import Service

_STORES: tuple[Service, ...] = ("csbs", "ims")


@dataclass(frozen=True)
class Layout:
    """The folders under an absolute `root`."""

    root: Path

    @property
    def keys(self) -> Path:
        """Private keys, the trust file, and the keys of the chunk stores."""
        return self.root / "keys"

    @property
    def data(self) -> Path:
        """The databases, ECS's disks and imports."""
        return self.root / "data"

    def store(self, service: Service) -> Path:
        """The chunk store of a service."""
        return self.root / "store" / service

    def store_key(self, service: Service) -> Path:
        """The key of a service's chunk store."""
        return self.keys / f"{service}-store.key"

    def log(self, service: Service) -> Path:
        """The output of a service."""
        return self.root / "logs" / f"{service}.log"

    def create(self) -> None:
        """Makes missing folders and keys, readable by their owner alone."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        stores = (self.root / "store", *map(self.store, _STORES))  # `parents` ignores the mode
        for folder in (self.keys, self.data, self.root / "logs", *stores):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for service in _STORES:
            _write_key(self.store_key(service))


def private(path: str, flags: int) -> int:
    """An opener for `open`: a new file is its owner's alone."""
    return os.open(path, flags, 0o600)


def _write_key(path: Path) -> None:
    """Writes 32 random bytes, readable by their owner alone; an existing key stays: the chunks need it.

    Renamed into place, so that a key is whole or absent.
    """
    if path.exists():
        return
    whole = path.with_suffix(".new")
    whole.unlink(missing_ok=True)
    whole.touch(mode=0o600)
    whole.write_bytes(secrets.token_bytes(32))
    os.replace(whole, path)


def environment_of(service: Service, layout: Layout, endpoints: Mapping[Service, str]) -> dict[str, str]:
    """The settings of a service, as its environment."""
    prefix = f"RECAST_{service.upper()}"
    own = {
        "ADDRESS": endpoints[service],
        # The path is absolute, so this has four slashes in all.
        "DATABASE_URL": f"sqlite:///{layout.data / f'{service}.db'}",
        "TRUSTED_KEYS_FILE": str(layout.keys / "trusted.json"),
        "SIGNING_KEY_FILE": str(layout.keys / f"{service}.pem"),
        "LOG_FORMAT": "json",
    }
    if service in _STORES:
        own["STORE_URL"] = layout.store(service).as_uri()
        own["STORE_KEY_FILE"] = str(layout.store_key(service))
    if service == "csbs":
        own["ECS_TARGET"] = endpoints["ecs"]
    elif service == "ims":
        own["PEER_STORE_URLS"] = layout.store("csbs").as_uri()
        own["STAGING_DIR"] = str(layout.data / "ims-staging")
        own["CSBS_TARGET"], own["ECS_TARGET"] = endpoints["csbs"], endpoints["ecs"]
    else:
        own["DATA_DIR"] = str(layout.data / "ecs")
        own["PEER_STORE_URLS"] = " ".join(layout.store(each).as_uri() for each in _STORES)
        own["HOST"] = "local"
        own["IMS_TARGET"] = endpoints["ims"]
    return {f"{prefix}_{name}": value for name, value in own.items()}
