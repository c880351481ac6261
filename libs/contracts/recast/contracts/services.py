"""The services: the one list that all else derives from, and the port that each listens on by default.

A test holds it against the folders of `services/`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Service = Literal["csbs", "ims", "ecs"]

SERVICES: tuple[Service, ...] = get_args(Service)

PORTS: Mapping[Service, int] = MappingProxyType({"csbs": 7101, "ims": 7102, "ecs": 7103})

_SHARED: Mapping[str, tuple[Service, ...]] = MappingProxyType({"imagelock": ("csbs",)})
"""The services that serve a package which is of no one service."""


def services_serving(full_name: str) -> tuple[Service, ...]:
    """The services that serve a gRPC service or one of its methods, by its full name.

    `recast.csbs.v1.BackupService` is served by csbs alone, `google.longrunning.Operations` by all.
    """
    package = full_name.split(".")[1]
    return _SHARED.get(package) or tuple(each for each in SERVICES if each == package) or SERVICES
