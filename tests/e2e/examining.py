"""The problems that `recast doctor` finds in a stack of containers, by their
volumes, databases and stores.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from recast.client import SERVICES
from recast.doctor import Installation, examine
from recast.doctor.installation import Store
from recast.testing import RecastStack, ServiceContainer
from recast.testing.session import engine


def problems_of(stack: RecastStack) -> list[str]:
    """The problems after the end of all work."""
    with _environment(_s3(stack)):
        return [
            f"{host.label}: {problem}"
            for host in stack.of("ecs")
            for problem in examine(_installation(stack, host), at_rest=True).problems
        ]


def _installation(stack: RecastStack, host: ServiceContainer) -> Installation:
    """The installation as it is seen by this machine's administrator, with the disks of one host."""
    shared = _folder(stack, "shared")
    databases = {
        service: stack.postgresql.url(service, _address(stack.postgresql.get_container_id()))
        if stack.postgresql
        else f"sqlite:///{_folder(stack, service)}/{service}.db"
        for service in SERVICES
    }
    stores = {
        service: Store(
            f"s3://recast/{service}" if stack.is_scaled else (shared / service).as_uri(),
            stack.secrets / f"{service}-store.key",
        )
        for service in ("csbs", "ims")
    }
    return Installation(
        csbs_database=databases["csbs"],
        ims_database=databases["ims"],
        ecs_database=databases["ecs"],
        csbs_store=stores["csbs"],
        ims_store=stores["ims"],
        staging=shared / "staging" if stack.is_scaled else _folder(stack, "ims") / "staging",
        ecs_data=_folder(stack, host.label) / "disks",
        ecs_host=host.label.rpartition("-")[2] if stack.is_scaled else "local",
    )


def _folder(stack: RecastStack, name: str) -> Path:
    with engine() as client:
        return Path(client.volumes.get(f"recast-{stack.name}-{name}").attrs["Mountpoint"])


def _address(container: str) -> str:
    """The address of a container on its network, which this machine is on too."""
    with engine() as client:
        [network] = client.containers.get(container).attrs["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])


def _s3(stack: RecastStack) -> Mapping[str, str]:
    if stack.s3 is None:
        return {}
    return {
        "AWS_ENDPOINT": f"http://{_address(stack.s3.get_container_id())}:8333",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE": str(stack.secrets / "s3-credentials"),
    }


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
