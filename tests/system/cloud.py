"""CSBS, IMS and ECS in this process, with real keys, stores and disks; and what tests do with them again and again."""

import hashlib
import json
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import csbs.app
import csbs.settings
import ecs.app
import ecs.settings
import ims.app
import ims.settings
import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from sqlalchemy import text

from recast.client import Recast, Service, Settings
from recast.client.tokens import mint
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_pb2
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind, Refusal, RemoteRefusal
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from recast.longrunning.v1 import operation_metadata_pb2
from recast.rpc.identity import create_keys
from recast.unitofwork import Database

SERVICES: tuple[Service, ...] = ("csbs", "ims", "ecs")
M = TypeVar("M", bound=Message)
T = TypeVar("T")
_PATIENCE_SECONDS = 20.0


def until(look: Callable[[], T], what: str = "it") -> T:
    """What `look` gives, as soon as that is true; fails when it is not in time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what} did not come about in {_PATIENCE_SECONDS} s"
        threading.Event().wait(0.01)
    return seen


@contextmanager
def refused(reason: str, status: Kind = Kind.FAILED_PRECONDITION, /, **facts: str) -> Iterator[list[Refusal]]:
    """Expects a refusal with this reason, status and metadata; it is in the list afterwards."""
    seen: list[Refusal] = []
    with pytest.raises(RemoteRefusal) as caught:
        yield seen
    refusal = caught.value
    assert (refusal.reason, refusal.kind) == (reason, status), refusal.text
    assert refusal.metadata() | facts == refusal.metadata()
    seen.append(refusal)


class Cloud:
    """The three services under one folder. `start`, then `stop`."""

    def __init__(
        self,
        root: Path,
        csbs_options: Mapping[str, Any] | None = None,
        ims_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root
        create_keys(root / "keys")
        self.endpoints = _free_endpoints()
        for service in ("csbs", "ims"):
            (root / f"{service}-store").mkdir()
            (root / "keys" / f"{service}-store.key").write_bytes(secrets.token_bytes(32))
        targets = {f"{service}_target": self.endpoints[service] for service in SERVICES}
        own: dict[Service, dict[str, Any]] = {
            "csbs": {"ecs_target": targets["ecs_target"], **self._store("csbs"), **(csbs_options or {})},
            "ims": {
                "staging_dir": root / "ims-staging",
                "csbs_target": targets["csbs_target"],
                "ecs_target": targets["ecs_target"],
                **self._store("ims"),
                **(ims_options or {}),
            },
            "ecs": {"data_dir": root / "ecs", "ims_target": targets["ims_target"]},
        }
        modules = {
            "csbs": (csbs.app, csbs.settings),
            "ims": (ims.app, ims.settings),
            "ecs": (ecs.app, ecs.settings),
        }
        self._apps = [
            app.App(settings.Settings(**self._common(service), **own[service]), _now, _new_id)
            for service, (app, settings) in modules.items()
        ]
        self.databases = {service: Database(self._url(service)) for service in SERVICES}
        self._clients: dict[tuple[str, str, str | None], Recast] = {}

    def start(self) -> None:
        """Serves."""
        for app in self._apps:
            app.start()

    def stop(self) -> None:
        """Ends everything."""
        for client in self._clients.values():
            client.close()
        for app in self._apps:
            app.stop()

    def client(self, project: str, role: str = "user", service: Service | None = None) -> Recast:
        """A client of the project in a role, or as one of the services."""
        key = (project, role, service)
        if key not in self._clients:
            settings = Settings(endpoints=self.endpoints, project=project, keys=self.root / "keys")
            self._clients[key] = Recast.from_settings(
                settings, mint(settings, project, role=role, service=service)
            )
        return self._clients[key]

    def _common(self, service: Service) -> dict[str, Any]:
        keys = self.root / "keys"
        return {
            "address": self.endpoints[service],
            "database_url": self._url(service),
            "trusted_keys_file": keys / "trusted.json",
            "signing_key_file": keys / f"{service}.pem",
        }

    def _store(self, service: Service) -> dict[str, Any]:
        key = self.root / "keys" / f"{service}-store.key"
        return {"store_url": (self.root / f"{service}-store").as_uri(), "store_key_file": key}

    def _url(self, service: Service) -> str:
        return f"sqlite:///{self.root / f'{service}.db'}"

    # What stands in the databases, and obstacles that are put there.

    def rows(self, service: Service) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that a service's database holds, by table."""
        with self.databases[service].read() as session:
            connection = session.connection()
            names = (
                connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
                .scalars()
                .all()
            )
            return {
                name: [tuple(row) for row in connection.execute(text(f'SELECT * FROM "{name}"'))]
                for name in names
            }

    def execute(self, service: Service, statement: str, **values: object) -> None:
        """Writes into a service's database, as no call could."""
        with self.databases[service].write() as tx:
            tx.session.connection().execute(text(statement), values)
            tx.commit()

    @contextmanager
    def chunks_held(self, service: Service, project: str) -> Iterator[None]:
        """Keeps every work of the project from its chunk store, as a collection of chunks would."""
        holder = f"holder-{uuid.uuid4()}"
        self.execute(
            service,
            "INSERT INTO operation (id, project, verb, target, queue, request, state, ended, epoch, worker,"
            " lease_until, not_before, cancel_requested, failed_undos, retries, last_retry_reason, step, progress,"
            " create_time, update_time) VALUES (:id, :project, 'Hold', 'test', '', x'', 'SUCCEEDED', 1, 0, '',"
            " 0, 0, 0, 0, 0, '', '', x'', :now, :now)",
            id=holder,
            project=project,
            now=datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" "),
        )
        self.execute(
            service,
            "INSERT INTO operation_use (resource, operation_id, exclusive) VALUES (:resource, :id, 1)",
            resource=f"projects/{project}/chunks",
            id=holder,
        )
        try:
            yield
        finally:
            self.execute(service, "DELETE FROM operation WHERE id = :id", id=holder)

    @contextmanager
    def trigger(self, service: Service, when: str, action: str) -> Iterator[None]:
        """Has the database do `action` (SQL) `when` something is written: `AFTER INSERT ON disk WHEN ...`."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(service, f"CREATE TRIGGER {name} {when} BEGIN {action}; END")
        try:
            yield
        finally:
            self.execute(service, f"DROP TRIGGER {name}")

    # Files.

    def disk_folders(self) -> set[str]:
        """The folders of all disks on the host, those half made or half removed included."""
        return {path.name for path in (self.root / "ecs/disks").iterdir()}

    def chunks(self, service: Service, project: str) -> set[str]:
        """The names of a project's chunks in a service's store."""
        return {
            path.name
            for path in (self.root / f"{service}-store" / project / "chunks").rglob("*")
            if path.is_file()
        }

    def indexes(self, service: Service, project: str) -> set[str]:
        """The names of a project's indexes in a service's store."""
        folder = self.root / f"{service}-store" / project / "indexes"
        return {path.name for path in folder.rglob("*") if path.is_file()}


class Tenant:
    """One project and its client, with the calls that most tests begin with. Each waits for the end of its work."""

    def __init__(self, cloud: Cloud, project: str, sources: Path) -> None:
        self.cloud = cloud
        self.project = project
        self.parent = f"projects/{project}"
        self.sources = sources
        self.recast = cloud.client(project)

    def image(self, name: str) -> str:
        """The full name of an image."""
        return f"{self.parent}/images/{name}"

    def backup(self, name: str) -> str:
        """The full name of a backup."""
        return f"{self.parent}/backups/{name}"

    def server(self, name: str) -> str:
        """The full name of a server."""
        return f"{self.parent}/servers/{name}"

    def disk(self, name: str) -> str:
        """The full name of a disk."""
        return f"{self.parent}/disks/{name}"

    def as_service(self, service: Service) -> Recast:
        """A client that acts for this project as a service."""
        return self.cloud.client(self.project, service=service)

    # Images.

    def header(self, image_id: str, path: Path, **changes: Any) -> ims_pb.ImportImageHeader:
        """A header that is in order, for a file under the sources; `kind` by its name."""
        kind = changes.pop("kind", "SYSTEM_DISK")
        wanted: dict[str, Any] = {
            "parent": self.parent,
            "image_id": image_id,
            "image": image_pb2.Image(
                display_name=image_id or "unnamed", kind=image_pb2.ImageKind.Value(f"IMAGE_KIND_{kind}")
            ),
            "disk_format": image_pb2.DISK_FORMAT_QCOW2
            if path.suffix == ".qcow2"
            else image_pb2.DISK_FORMAT_RAW,
            "size_bytes": path.stat().st_size,
            "disclaimer_accepted": True,
            "request_id": f"import-{image_id or uuid.uuid4()}",
        }
        return ims_pb.ImportImageHeader(**wanted | changes)

    def import_image(self, image_id: str, file: str, kind: str = "SYSTEM_DISK") -> image_pb2.Image:
        """Imports one of the sources."""
        path = self.sources / file
        answer = self.recast.import_image(path, self.header(image_id, path, kind=kind))
        return self.result(answer.operation, "ims", image_pb2.Image)

    def start_image(self, image_id: str, backup_id: str, **changes: Any) -> ims_pb.CreateImageResponse:
        """Asks for a full-server image of a backup."""
        wanted: dict[str, Any] = {
            "parent": self.parent,
            "image_id": image_id,
            "image": image_pb2.Image(display_name=image_id),
            "backup": self.backup(backup_id),
            "disclaimer_accepted": True,
        }
        return self.recast.images.CreateImage(ims_pb.CreateImageRequest(**wanted | changes))

    def create_image(self, image_id: str, backup_id: str) -> image_pb2.Image:
        """Makes a full-server image of a backup."""
        return self.result(self.start_image(image_id, backup_id).operation, "ims", image_pb2.Image)

    def get_image(self, image_id: str) -> image_pb2.Image:
        """Reads an image."""
        return self.recast.images.GetImage(ims_pb.GetImageRequest(name=self.image(image_id))).image

    def delete_image(self, image_id: str, delete_backup: bool = False) -> None:
        """Deletes an image."""
        request = ims_pb.DeleteImageRequest(name=self.image(image_id), delete_backup=delete_backup)
        self.wait(self.recast.images.DeleteImage(request).operation, "ims")

    # Servers and disks.

    def start_servers(
        self, server_id: str, image_id: str = "sys", **options: Any
    ) -> ecs_pb.CreateServersResponse:
        """Asks for servers from an image."""
        title = options.pop("display_name", server_id or "unnamed")
        request = ecs_pb.CreateServersRequest(
            parent=self.parent,
            server_id=server_id,
            server=server_pb2.Server(display_name=title),
            image=self.image(image_id),
            **options,
        )
        return self.recast.servers.CreateServers(request)

    def create_server(self, server_id: str, image_id: str = "sys", **options: Any) -> server_pb2.Server:
        """Makes a server from an image."""
        self.wait(self.start_servers(server_id, image_id, **options).operation, "ecs")
        return self.get_server(server_id)

    def get_server(self, server_id: str) -> server_pb2.Server:
        """Reads a server."""
        return self.recast.servers.GetServer(ecs_pb.GetServerRequest(name=self.server(server_id))).server

    def stop_server(self, server_id: str) -> None:
        """Stops a server."""
        request = ecs_pb.StopServerRequest(name=self.server(server_id))
        self.wait(self.recast.servers.StopServer(request).operation, "ecs")

    def delete_server(self, server_id: str, delete_data_disks: bool = True) -> None:
        """Deletes a server, its data disks as well unless told otherwise."""
        request = ecs_pb.DeleteServerRequest(name=self.server(server_id), delete_data_disks=delete_data_disks)
        self.wait(self.recast.servers.DeleteServer(request).operation, "ecs")

    def create_disk(
        self, disk_id: str, size_bytes: int = 0, image_id: str = "", shared: bool = False
    ) -> disk_pb2.Disk:
        """Makes a disk, empty or from an image."""
        request = disk_service_pb2.CreateDiskRequest(
            parent=self.parent,
            disk_id=disk_id,
            disk=disk_pb2.Disk(size_bytes=size_bytes, shared=shared),
            image=self.image(image_id) if image_id else "",
        )
        return self.result(self.recast.disks.CreateDisk(request).operation, "ecs", disk_pb2.Disk)

    def get_disk(self, disk_id: str) -> disk_pb2.Disk:
        """Reads a disk."""
        return self.recast.disks.GetDisk(disk_service_pb2.GetDiskRequest(name=self.disk(disk_id))).disk

    def attach(self, disk_id: str, server_id: str) -> disk_pb2.Disk:
        """Attaches a disk to a server."""
        request = disk_service_pb2.AttachDiskRequest(name=self.disk(disk_id), server=self.server(server_id))
        return self.recast.disks.AttachDisk(request).disk

    def detach(self, disk_id: str, server_id: str) -> disk_pb2.Disk:
        """Detaches a disk from a server."""
        request = disk_service_pb2.DetachDiskRequest(name=self.disk(disk_id), server=self.server(server_id))
        return self.recast.disks.DetachDisk(request).disk

    # Backups.

    def start_backup(self, backup_id: str, server_id: str, **options: Any) -> csbs_pb.CreateBackupResponse:
        """Asks for a backup of a server."""
        backup = backup_pb2.Backup(server=self.server(server_id))
        request = csbs_pb.CreateBackupRequest(
            parent=self.parent, backup_id=backup_id, backup=backup, **options
        )
        return self.recast.backups.CreateBackup(request)

    def create_backup(self, backup_id: str, server_id: str, **options: Any) -> backup_pb2.Backup:
        """Backs a server up."""
        operation = self.start_backup(backup_id, server_id, **options).operation
        return self.result(operation, "csbs", backup_pb2.Backup)

    def get_backup(self, backup_id: str) -> backup_pb2.Backup:
        """Reads a backup."""
        return self.recast.backups.GetBackup(csbs_pb.GetBackupRequest(name=self.backup(backup_id))).backup

    def start_restore(self, backup_id: str, **options: Any) -> csbs_pb.RestoreBackupResponse:
        """Asks for a restore of a backup."""
        return self.recast.backups.RestoreBackup(
            csbs_pb.RestoreBackupRequest(name=self.backup(backup_id), **options)
        )

    def restore(self, backup_id: str, **options: Any) -> backup_pb2.Backup:
        """Restores a backup."""
        return self.result(self.start_restore(backup_id, **options).operation, "csbs", backup_pb2.Backup)

    def delete_backup(self, backup_id: str) -> None:
        """Deletes a backup."""
        request = csbs_pb.DeleteBackupRequest(name=self.backup(backup_id))
        self.wait(self.recast.backups.DeleteBackup(request).operation, "csbs")

    @contextmanager
    def unfinished_backup(self, backup_id: str, server_id: str) -> Iterator[csbs_pb.CreateBackupResponse]:
        """A backup that is CREATING and marked, and stays so until the end of the block."""
        with self.cloud.chunks_held("csbs", self.project):
            answer = self.start_backup(backup_id, server_id)
            until(lambda: self.get_backup(backup_id).image_ready, "the mark")
            yield answer

    # Work.

    def wait(self, operation: operations_pb2.Operation, service: Service) -> operations_pb2.Operation:
        """Waits for the end of work; the refusal that it ended with is raised."""
        return self.recast.wait(operation, service, timeout_seconds=_PATIENCE_SECONDS)

    def result(self, operation: operations_pb2.Operation, service: Service, of: type[M]) -> M:
        """The result of work."""
        answer = of()
        assert self.wait(operation, service).response.Unpack(answer)
        return answer

    def end(
        self, operation: operations_pb2.Operation, service: Service
    ) -> operation_metadata_pb2.OperationMetadata:
        """Waits for the end of work, whichever it is, and gives its metadata."""
        try:
            self.wait(operation, service)
        except RemoteRefusal:
            pass  # the metadata tells
        return self.metadata(operation, service)

    def look(self, operation: operations_pb2.Operation, service: Service) -> operations_pb2.Operation:
        """Where work stands."""
        request = operations_pb2.GetOperationRequest(name=operation.name)
        return self.recast.operations(service).GetOperation(request)

    def metadata(
        self, operation: operations_pb2.Operation, service: Service
    ) -> operation_metadata_pb2.OperationMetadata:
        """Where work stands, in its metadata."""
        return metadata_of(self.look(operation, service))

    def cancel(self, operation: operations_pb2.Operation, service: Service) -> None:
        """Asks for the end of work."""
        self.recast.operations(service).CancelOperation(
            operations_pb2.CancelOperationRequest(name=operation.name)
        )

    def settled(self, service: Service) -> None:
        """Waits until no work of the project is left, collections of chunks included."""
        stub = self.recast.operations(service)
        request = operations_pb2.ListOperationsRequest(name=self.parent, filter="done = false")
        until(lambda: not stub.ListOperations(request).operations, f"the end of all work of {service}")

    # Bytes.

    def path(self, disk: str) -> Path:
        """The file of a disk, given by its full name."""
        request = disk_service_pb2.GetDiskConnectionRequest(name=disk)
        operator = self.cloud.client(self.project, role="operator")
        return Path(operator.disks.GetDiskConnection(request).connection.path)

    def digest(self, disk: str) -> str:
        """The digest of a whole disk, read with qemu-img through its connection."""
        raw = self.sources / f"read-{uuid.uuid4()}.raw"
        try:
            _run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.path(disk)), str(raw)])
            return file_digest(raw)
        finally:
            raw.unlink(missing_ok=True)

    def digests(self, server_id: str) -> list[str]:
        """The digests of a server's disks, in their order."""
        return [self.digest(disk.disk) for disk in self.get_server(server_id).disks]

    def write(self, disk: str, offset: int, length: int = 65536, pattern: int = 0xA5) -> None:
        """Writes a pattern onto a disk, as its guest would."""
        command = f"write -P {pattern} {offset} {length}"
        _run(["qemu-io", "-f", "qcow2", "-c", command, str(self.path(disk))])


def file_digest(path: Path, size_bytes: int = 0) -> str:
    """The digest of a file; of one continued with zeros to `size_bytes` when that is more."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    left = size_bytes - path.stat().st_size
    while left > 0:
        digest.update(bytes(min(left, 1 << 20)))
        left -= 1 << 20
    return digest.hexdigest()


def metadata_of(operation: operations_pb2.Operation) -> operation_metadata_pb2.OperationMetadata:
    """What an operation says of itself."""
    metadata = operation_metadata_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def state_of(message: Any) -> str:
    """The name of a resource's state, without its prefix."""
    name: str = message.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[message.state].name
    return name.partition("_STATE_")[2]


def bugs_in(log: Path) -> list[str]:
    """The events of a log that no test may cause."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [str(event) for event in events if event["event"] in _BUGS]


_BUGS = {"bug", "worker round failed", "undo failed", "undo given up", "lease not renewed"}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())


def _free_endpoints() -> dict[Service, str]:
    held = [socket.socket() for _ in SERVICES]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in held]
        return {service: f"127.0.0.1:{port}" for service, port in zip(SERVICES, ports, strict=True)}
    finally:
        for each in held:
            each.close()
