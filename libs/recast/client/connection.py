"""`Recast`: the channels to the three services, and their stubs."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from recast.client.settings import Settings, read_file
from recast.client.tokens import token_source
from recast.client.upload import OnBytes, import_image
from recast.client.waiting import OnProgress, wait_for_end
from recast.contracts.services import Service
from recast.csbs.v1.backup_service_pb2_grpc import BackupServiceStub
from recast.ecs.v1.backup_source_service_pb2_grpc import BackupSourceServiceStub
from recast.ecs.v1.disk_service_pb2_grpc import DiskServiceStub
from recast.ecs.v1.image_source_service_pb2_grpc import ImageSourceServiceStub
from recast.ecs.v1.server_service_pb2_grpc import ServerServiceStub
from recast.imagelock.v1.image_eligibility_service_pb2_grpc import ImageEligibilityServiceStub
from recast.imagelock.v1.image_lock_service_pb2_grpc import ImageLockServiceStub
from recast.ims.v1.image_service_pb2 import ImportImageHeader, ImportImageResponse
from recast.ims.v1.image_service_pb2_grpc import ImageServiceStub
from recast.ims.v1.provisioning_service_pb2_grpc import ProvisioningServiceStub
from recast.rpc.channel import DEADLINE_SECONDS, connect


class Recast:
    """A client of all three services. A channel connects when it is first used; a failed call raises
    RemoteRefusal.

    `csbs`, `ims` and `ecs` are `host:port`; `token` is a token, or a function that returns one.
    """

    def __init__(
        self,
        *,
        csbs: str,
        ims: str,
        ecs: str,
        token: str | Callable[[], str],
        credentials: grpc.ChannelCredentials | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        source = token if callable(token) else lambda: token
        targets: Mapping[Service, str] = {"csbs": csbs, "ims": ims, "ecs": ecs}
        self._channels = {
            service: connect(target, source, deadline_seconds=deadline_seconds, credentials=credentials)
            for service, target in targets.items()
        }
        self._sleep = sleep
        self._clock = clock
        self.backups = BackupServiceStub(self._channels["csbs"])
        self.eligibility = ImageEligibilityServiceStub(self._channels["csbs"])
        self.locks = ImageLockServiceStub(self._channels["csbs"])
        self.images = ImageServiceStub(self._channels["ims"])
        self.provisioning = ProvisioningServiceStub(self._channels["ims"])
        self.servers = ServerServiceStub(self._channels["ecs"])
        self.disks = DiskServiceStub(self._channels["ecs"])
        self.sources = BackupSourceServiceStub(self._channels["ecs"])
        self.holds = ImageSourceServiceStub(self._channels["ecs"])

    @classmethod
    def from_settings(cls, settings: Settings, token: str | Callable[[], str]) -> Self:
        """A client of the services that `settings` names."""
        trusted = settings.ca_file and grpc.ssl_channel_credentials(
            read_file("RECAST_CA_FILE", settings.ca_file)
        )
        ends = settings.endpoints
        return cls(
            csbs=ends["csbs"], ims=ends["ims"], ecs=ends["ecs"], token=token, credentials=trusted or None
        )

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        project: str | None = None,
        role: str | None = None,
        service: Service | None = None,
    ) -> Self:
        """A client by the environment (see `Settings`).

        With `role` (`user`, `operator`) or `service` a token is minted from the keys folder; without them
        RECAST_TOKEN is used if set, else a user's token is minted. Raises NoToken without token and key.
        """
        settings = Settings.from_environment(environ)
        return cls.from_settings(
            settings, token_source(settings, project or settings.project, role=role, service=service)
        )

    def channel(self, service: Service) -> grpc.Channel:
        """The channel to a service, for calls without a stub."""
        return self._channels[service]

    def operations(self, service: Service) -> Any:
        """The google.longrunning.OperationsStub of a service; an operation's name does not contain it."""
        return operations_pb2_grpc.OperationsStub(self._channels[service])

    def wait(
        self,
        operation: operations_pb2.Operation | str,
        service: Service,
        on_progress: OnProgress | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> operations_pb2.Operation:
        """Waits for an operation of `service`, a message or a name, and returns it when it has succeeded.

        Raises the operation's refusal, or WaitTimedOut. `on_progress` is called about twice a second
        with the operation's OperationMetadata. It waits through a restart of the service.
        """
        name = operation if isinstance(operation, str) else operation.name
        stub = self.operations(service)
        return wait_for_end(
            stub, name, on_progress, timeout_seconds=timeout_seconds, sleep=self._sleep, clock=self._clock
        )

    def import_image(
        self, path: Path, header: ImportImageHeader, on_bytes: OnBytes | None = None
    ) -> ImportImageResponse:
        """Uploads a file as an image, in pieces of 1 MiB; resumes a broken stream (`upload.import_image`)."""
        return import_image(self.images, path, header, on_bytes, sleep=self._sleep)

    def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
