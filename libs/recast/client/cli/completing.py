"""Completes resource ids, by calls to the services."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from recast.client.connection import Recast
from recast.client.settings import Settings
from recast.csbs.v1.backup_service_pb2 import ListBackupsRequest
from recast.ecs.v1.disk_service_pb2 import ListDisksRequest
from recast.ecs.v1.server_service_pb2 import ListServersRequest
from recast.ims.v1.image_service_pb2 import ListImagesRequest

# A person waits at a prompt.
_PATIENCE_SECONDS = 1.0

_LISTS: Mapping[str, tuple[Callable[[Recast], Any], Any]] = {
    "backups": (lambda recast: recast.backups.ListBackups, ListBackupsRequest),
    "images": (lambda recast: recast.images.ListImages, ListImagesRequest),
    "servers": (lambda recast: recast.servers.ListServers, ListServersRequest),
    "disks": (lambda recast: recast.disks.ListDisks, ListDisksRequest),
}


def ids(collection: str, project: str | None, incomplete: str) -> list[str]:
    """The ids in a collection that begin with `incomplete`; none after any error."""
    method, request = _LISTS[collection]
    try:
        project = project or Settings.from_environment(os.environ).project
        with Recast.from_environment(project=project) as recast:
            page = method(recast)(request(parent=f"projects/{project}"), timeout=_PATIENCE_SECONDS)
    except Exception:  # noqa: BLE001  # any error: a prompt cannot report it
        return []
    found = [each.name.rpartition("/")[2] for each in getattr(page, collection)]
    return [each for each in found if each.startswith(incomplete)]
