"""`RecastStack`: the services as connected containers."""

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from testcontainers.core.network import Network

from recast.client import SERVICES, Recast, Service, Settings
from recast.client.tokens import mint
from recast.testing.backing import PostgresqlContainer, S3Container
from recast.testing.containers import (
    CsbsContainer,
    EcsContainer,
    ImsContainer,
    OwnedContainer,
    ServiceContainer,
)
from recast.testing.session import begin_session, engine, labels_of, new_folder, remove_stack

_KINDS: Mapping[Service, type[ServiceContainer]] = {
    "csbs": CsbsContainer,
    "ims": ImsContainer,
    "ecs": EcsContainer,
}
_S3 = {
    "AWS_ENDPOINT": "http://s3:8333",
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "us-east-1",
    "AWS_SHARED_CREDENTIALS_FILE": "/run/secrets/s3-credentials",
}
_SHARED = "/srv/recast"
_PEERS = {
    "RECAST_CSBS_ECS_TARGET": "dns:///ecs:7103",
    "RECAST_IMS_CSBS_TARGET": "dns:///csbs:7101",
    "RECAST_IMS_ECS_TARGET": "dns:///ecs:7103",
    "RECAST_ECS_IMS_TARGET": "dns:///ims:7102",
}


class RecastStack:
    """One CSBS, IMS and ECS, on SQLite and chunks in files; with `scale` two of each (two hosts of ECS), on
    PostgreSQL and S3.

    A context manager. `environment` is added to every service's. `prepare` is called with each service's
    container before it is started, and may change it.
    """

    def __init__(
        self,
        *,
        scale: bool = False,
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[ServiceContainer], None] | None = None,
    ) -> None:
        begin_session()
        self.name = uuid.uuid4().hex[:12]
        self.is_scaled = scale
        self.folder = new_folder()
        self.secrets = self.folder / "secrets"
        self._extra = dict(environment or {})
        self.prepare = prepare or (lambda _: None)
        self._labels = labels_of(self.name, self.folder)
        self._clients: list[Recast] = []
        self._network: Network | None = None
        self.services: dict[str, ServiceContainer] = {}
        """By name: `csbs`, `ims`, `ecs`; in a scaled stack `csbs-1`, `csbs-2`, ..., `ecs-a`, `ecs-b`."""
        self.postgresql: PostgresqlContainer | None = None
        self.s3: S3Container | None = None

    # Start and stop.

    def start(self) -> Self:
        """Starts everything, and returns when each service is SERVING. On a failure everything is removed."""
        try:
            self._start()
        except BaseException:  # any, Ctrl-C too: nothing is left behind
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Removes everything, in any state."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        remove_stack(self.name, self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Clients.

    def of(self, service: Service) -> list[ServiceContainer]:
        """The containers of a service."""
        return [each for each in self.services.values() if each.service == service]

    @property
    def endpoints(self) -> Mapping[Service, str]:
        """The target of each service for gRPC on this machine: all of its containers."""
        ends = {service: [each.endpoint for each in self.of(service)] for service in SERVICES}
        return {
            service: each[0] if len(each) == 1 else f"ipv4:{','.join(each)}" for service, each in ends.items()
        }

    def client(self, project: str = "demo", role: str = "user", service: Service | None = None) -> Recast:
        """A client in `role`, or as one of the services; closed with the stack."""
        settings = Settings(endpoints=self.endpoints, project=project, keys=self.secrets)
        made = Recast.from_settings(settings, mint(settings, project, role=role, service=service))
        self._clients.append(made)
        return made

    def environment(self, project: str = "demo") -> dict[str, str]:
        """The environment in which the command `recast` uses this stack."""
        ends = {f"RECAST_{service.upper()}_ENDPOINT": end for service, end in self.endpoints.items()}
        return ends | {"RECAST_KEYS": str(self.secrets), "RECAST_PROJECT": project}

    # Internals.

    def _start(self) -> None:
        self._network = Network(docker_network_kw={"labels": self._labels}).create()
        if self.is_scaled:
            self.postgresql = PostgresqlContainer(stack=self.name, folder=self.folder)
            self.s3 = S3Container(stack=self.name, folder=self.folder)
            backing: list[PostgresqlContainer | S3Container] = [self.postgresql, self.s3]
            for each in backing:
                self._join(each, each.role).start()
            _at_once(lambda each: each.prepare(), backing)
        for service, kind in _KINDS.items():
            for name in self._names(service):
                self.services[name] = self._service(kind, name)
        services = list(self.services.values())
        _at_once(lambda each: each.launch(), services)
        _at_once(lambda each: each.wait_until_serving(), services)

    def _names(self, service: Service) -> tuple[str, ...]:
        if not self.is_scaled:
            return (service,)
        return tuple(f"{service}-{each}" for each in ("ab" if service == "ecs" else "12"))

    def _service(self, kind: type[ServiceContainer], name: str) -> ServiceContainer:
        prefix, service = f"RECAST_{kind.service.upper()}_", kind.service
        stores = "s3://recast" if self.is_scaled else f"file://{_SHARED}"
        environment = dict(_PEERS) | {
            f"{prefix}STORE_URL": f"{stores}/{service}",
            "RECAST_IMS_PEER_STORE_URLS": f"{stores}/csbs",
            "RECAST_ECS_PEER_STORE_URLS": f"{stores}/csbs {stores}/ims",
        }
        if self.is_scaled:
            environment |= _S3 | {
                f"{prefix}DATABASE_URL_FILE": f"/run/secrets/{service}-database-url",
                "RECAST_IMS_STAGING_DIR": f"{_SHARED}/staging",
                "RECAST_ECS_HOST": name.rpartition("-")[2],
            }
        made = kind(environment=environment | self._extra, stack=self.name, folder=self.folder, name=name)
        if self.is_scaled:
            made.with_secrets(f"{service}-database-url", "s3-credentials")
        self._mount_volume(made, f"recast-{self.name}-{name}", "/var/lib/recast")
        self._mount_volume(made, f"recast-{self.name}-shared", _SHARED)
        self.prepare(made)
        self._join(made, service)
        return made

    def _mount_volume(self, container: OwnedContainer, volume: str, path: str) -> None:
        """Puts the path on a volume, which survives a restart and is removed with the stack."""
        with engine() as client:
            client.volumes.create(volume, labels=self._labels)
        container.with_volume_mapping(volume, path, "rw")

    def _join(self, container: OwnedContainer, alias: str) -> OwnedContainer:
        assert self._network
        return container.with_network(self._network).with_network_aliases(alias)


def _at_once(do: Callable[[Any], object], what: list[Any]) -> None:
    with ThreadPoolExecutor(len(what)) as pool:
        list(pool.map(do, what))
