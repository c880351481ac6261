"""CSBS, IMS and ECS as containers of a test: one of each, or a scaled stack; removed with the test."""

from recast.testing.backing import PostgresqlContainer, S3Container
from recast.testing.containers import (
    ContainerNotServing,
    CsbsContainer,
    EcsContainer,
    ImsContainer,
    ServiceContainer,
)
from recast.testing.session import remove_leftovers
from recast.testing.stack import RecastStack

__all__ = [
    "ContainerNotServing",
    "CsbsContainer",
    "EcsContainer",
    "ImsContainer",
    "PostgresqlContainer",
    "RecastStack",
    "S3Container",
    "ServiceContainer",
    "remove_leftovers",
]
