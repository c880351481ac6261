"""The services: the one list that all else derives from, and the port that each listens on by default.

A test holds it against the folders of `services/`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Service = Literal["csbs", "ims", "ecs"]

SERVICES: tuple[Service, ...] = get_args(Service)

PORTS: Mapping[Service, int] = MappingProxyType({"csbs": 7101, "ims": 7102, "ecs": 7103})
