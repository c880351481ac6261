"""CSBS, IMS and ECS, each as a container."""

import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from testcontainers.core.container import DockerContainer

from recast.client import Recast, Service, Settings
from recast.client.tokens import mint
from recast.stack import StackProblem
from recast.stack.secrets import create_secrets
from recast.testing.session import begin_session, labels_of, new_folder, remove_stack

START_SECONDS = 60.0
_CHECK_SECONDS = 0.5
_SECRETS = "/run/secrets"
_QUICK = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_http_proxy", 0),
]


class ContainerNotServing(StackProblem):
    """A container ended, or did not start in time; the text has the end of its log."""

    def __init__(self, name: str, what: str, tail: str) -> None:
        super().__init__(f"{name} {what}; the end of its log:\n{tail}")


class OwnedContainer(DockerContainer):
    """A container of a stack: with its labels, on its network, and with files of its secrets folder.

    Without `stack` it is a stack by itself, with new secrets.
    """

    role = ""
    """Its host name on its network."""

    def __init__(self, image: str, *, stack: str = "", folder: Path | None = None, name: str = "") -> None:
        begin_session()
        super().__init__(image)
        self.stack = stack or uuid.uuid4().hex[:12]
        self.folder = folder or new_folder()
        self.label = name or self.role
        self._is_alone = not stack
        self.secrets = self.folder / "secrets"
        create_secrets(self.secrets)
        self.with_name(f"recast-{self.stack}-{self.label}")
        self.with_kwargs(**self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "labels": labels_of(self.stack, self.folder),
            "init": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
        }

    def with_secrets(self, *names: str) -> Self:
        """Gives it files of the secrets folder, under /run/secrets."""
        for name in names:
            self.with_volume_mapping(self.secrets / name, f"{_SECRETS}/{name}", "ro")
        return self

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:
        """Removes it; if it is a stack by itself, with its network and secrets."""
        super().stop(force, delete_volume)
        self._container = None
        if self._is_alone:
            remove_stack(self.stack, self.folder)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.stop()

    def tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        return str(self.get_wrapped_container().logs(tail=lines).decode(errors="replace"))

    def await_that(self, command: list[str], seconds: float = START_SECONDS) -> None:
        """Returns when a command in it succeeds; ContainerNotServing when it does not in time."""
        end = time.monotonic() + seconds
        while True:
            container = self.get_wrapped_container()
            container.reload()
            if container.status != "running":
                raise ContainerNotServing(self.label, "ended", self.tail())
            if self.exec(command).exit_code == 0:
                return
            if time.monotonic() > end:
                raise ContainerNotServing(self.label, f"was not ready within {seconds:g} s", self.tail())
            time.sleep(0.1)

    # Faults.

    def kill(self) -> None:
        """Kills it as a crash would."""
        self.get_wrapped_container().kill()

    def start_again(self) -> None:
        """Starts it after its end, with its data, and returns when it is ready."""
        self.get_wrapped_container().start()
        self.wait_until_ready()

    def pause(self) -> None:
        """Freezes it."""
        self.get_wrapped_container().pause()

    def unpause(self) -> None:
        """Lets it go on."""
        self.get_wrapped_container().unpause()

    def wait_until_ready(self) -> None:
        """Returns when it is ready; ContainerNotServing when it ends first, or is late."""
        raise NotImplementedError


class ServiceContainer(OwnedContainer):
    """One process of a service, on a port of loopback that stays after a restart.

    Alone it has its data inside, and no peers: `environment` names them (RECAST_CSBS_ECS_TARGET).
    """

    service: ClassVar[Service]
    port: ClassVar[int]  # inside
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        image: str = "",
        environment: Mapping[str, str] | None = None,
        stack: str = "",
        folder: Path | None = None,
        name: str = "",
    ) -> None:
        variable = f"RECAST_{self.service.upper()}"
        chosen = image or os.environ.get(f"{variable}_IMAGE", f"recast/{self.service}")
        super().__init__(chosen, stack=stack, folder=folder, name=name or self.service)
        own = {
            "ADDRESS": f"0.0.0.0:{self.port}",
            "DATABASE_URL": f"sqlite:////var/lib/recast/{self.service}.db",
            "TRUSTED_KEYS_FILE": f"{_SECRETS}/trusted.json",
            "SIGNING_KEY_FILE": f"{_SECRETS}/{self.service}.pem",
            **self._own(),
        }
        self.with_envs(**{f"{variable}_{key}": value for key, value in own.items()})
        self.with_envs(**(environment or {}))
        self.with_secrets("trusted.json", f"{self.service}.pem", *self.files)
        self.with_tmpfs_mount("/tmp")
        # Chosen once: the engine would choose another port after every start.
        self.host_port = _free_port()
        cast(Any, self.ports)[f"{self.port}/tcp"] = ("127.0.0.1", self.host_port)

    def _options(self) -> dict[str, Any]:
        # Checked from here: the image's own check would start a Python every few seconds.
        return super()._options() | {"read_only": True, "healthcheck": {"test": ["NONE"]}}

    def _own(self) -> Mapping[str, str]:
        return {
            "STORE_URL": "file:///var/lib/recast/store",
            "STORE_KEY_FILE": f"{_SECRETS}/{self.service}-store.key",
        }

    @property
    def endpoint(self) -> str:
        """`host:port` for clients on this machine."""
        return f"127.0.0.1:{self.host_port}"

    def start(self) -> Self:
        """Starts it, and returns when it is SERVING."""
        try:
            self.launch()
            self.wait_until_serving()
        except BaseException:  # any, Ctrl-C too: nothing is left behind
            self.stop()
            raise
        return self

    def launch(self) -> Self:
        """Starts it, and does not wait."""
        return super().start()

    def wait_until_ready(self) -> None:
        """Returns when it is SERVING."""
        self.wait_until_serving()

    def wait_until_serving(self, seconds: float = START_SECONDS) -> None:
        """Returns when it is SERVING; ContainerNotServing when it ends first, or is late."""
        end = time.monotonic() + seconds
        container = self.get_wrapped_container()
        with grpc.insecure_channel(self.endpoint, options=_QUICK) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < end:
                try:
                    answer = health.Check(
                        health_pb2.HealthCheckRequest(), timeout=_CHECK_SECONDS, wait_for_ready=True
                    )
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except grpc.RpcError:
                    pass  # not up yet; the deadline or the container's end stops the loop
                container.reload()
                if container.status not in {"running", "created"}:
                    raise ContainerNotServing(self.label, "ended", self.tail())
                time.sleep(0.02)
        raise ContainerNotServing(self.label, f"did not serve within {seconds:g} s", self.tail())

    def client(self, project: str = "demo", role: str = "user", service: Service | None = None) -> Recast:
        """A client that reaches this container alone, in a role or as one of the services."""
        endpoints = dict(Settings().endpoints) | {self.service: self.endpoint}
        settings = Settings(endpoints=endpoints, project=project, keys=self.secrets)
        return Recast.from_settings(settings, mint(settings, project, role=role, service=service))


class CsbsContainer(ServiceContainer):
    """CSBS: server backups."""

    role, service = "csbs", "csbs"
    port = 7101
    files = ("csbs-store.key",)


class ImsContainer(ServiceContainer):
    """IMS: images."""

    role, service = "ims", "ims"
    port = 7102
    files = ("ims-store.key",)

    def _own(self) -> Mapping[str, str]:
        return {
            **super()._own(),
            "STAGING_DIR": "/var/lib/recast/staging",
            "PEER_STORE_URLS": super()._own()["STORE_URL"],
        }


class EcsContainer(ServiceContainer):
    """ECS: servers and disks; the container is its host."""

    role, service = "ecs", "ecs"
    port = 7103

    def _own(self) -> Mapping[str, str]:
        return {"DATA_DIR": "/var/lib/recast/disks", "PEER_STORE_URLS": super()._own()["STORE_URL"]}


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
