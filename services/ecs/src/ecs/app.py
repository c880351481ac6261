"""The composition root of ECS: the only module that builds adapters and registers servicers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.longrunning import operations_pb2_grpc
from sqlmodel import col

from ecs.domain.freeze import FreezeState
from ecs.domain.server import ServerEvent
from ecs.handlers.backup_sources import BackupSources
from ecs.handlers.disks import Disks
from ecs.handlers.image_sources import ImageSources
from ecs.handlers.servers import Servers
from ecs.peers.ims import Images
from ecs.settings import Settings
from ecs.storage.host import Host
from ecs.storage.hosts import Reporter
from ecs.storage.tables import EndedHoldRow, FreezeRow
from ecs.workflows.attach_disk import AttachDisk
from ecs.workflows.change_os import ChangeServerOs
from ecs.workflows.change_power import ChangePower
from ecs.workflows.create_disk import CreateDisk
from ecs.workflows.create_servers import CreateServers
from ecs.workflows.delete_disk import DeleteDisk
from ecs.workflows.delete_server import DeleteServer
from ecs.workflows.detach_disk import DetachDisk
from ecs.workflows.export_disks import ExportDisks
from ecs.workflows.freeze_server import FreezeServer
from ecs.workflows.image_pins import ImagePins
from ecs.workflows.restore_disks import RestoreDisks
from ecs.workflows.thaw_server import ThawServer
from recast.contentstore import PeerStores
from recast.database import Database
from recast.ecs.v1 import (
    backup_source_service_pb2_grpc,
    disk_service_pb2_grpc,
    image_source_service_pb2_grpc,
    server_service_pb2_grpc,
)
from recast.migrations.migrate import migrate
from recast.operations import Expiries, Operations, OperationsServicer, Schedule, Waits, Worker, Workflow
from recast.operations.peer import FOLLOWING
from recast.rpc.access import NOBODY, OPERATORS, PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import ServiceTokens, Signer, Verifier
from recast.rpc.process import server_credentials
from recast.rpc.server import Registration, Server

# The requests that CSBS sends with request ids of its own operations.
WORK_REQUESTS = tuple(
    f"recast.ecs.v1.{name}Request" for name in ("ExportDisks", "ThawServer", "RestoreDisks")
)


class App:
    """ECS, ready to start. `now` and `new_id` are the only sources of time and chance."""

    def __init__(self, settings: Settings, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        database = self._database = Database(settings.database_url, settings.database_reserve_bytes)
        migrate(database, "ecs.storage:migrations")
        operations = self._operations = Operations(database, now, new_id)
        waits = Waits(operations, query_seconds=0.1)  # a freeze on another host is awaited
        tokens = ServiceTokens(Signer.load(settings.signing_key_file), "ecs")
        self._channel = connect(settings.ims_target, tokens)
        images, stores = Images(self._channel), PeerStores(settings.peer_store_urls)
        pins = ImagePins(database, operations, images)
        self._on_host: _OnHost | None = None
        host = freezing = None
        if settings.works:
            host = Host(settings.host, settings.data_dir, stores, settings.cache_max_bytes)
            freezing = FreezeServer(database, host, now)
            schedule = Schedule(database, now)
            _add_expiries(Expiries(schedule, database, now), settings)
            self._on_host = _OnHost(
                Worker(
                    operations,
                    _workflows(database, images, host, now) | {"FreezeServer": freezing},
                    domain="ecs.recast",
                    queues=("", host.name),
                    threads=settings.worker_threads,
                    lease_seconds=settings.lease_seconds,
                ),
                Reporter(database, host.name, settings.data_dir),
                schedule,
            )
        self._server = Server(
            "ecs",
            settings.address,
            Verifier.load(settings.trusted_keys_file, settings.token_seconds, settings.service_token_seconds),
            [
                Registration(
                    "recast.ecs.v1.ServerService",
                    server_service_pb2_grpc.add_ServerServiceServicer_to_server,
                    Servers(database, operations, images, pins, now, new_id),
                    PEOPLE,
                ),
                Registration(
                    "recast.ecs.v1.DiskService",
                    disk_service_pb2_grpc.add_DiskServiceServicer_to_server,
                    Disks(database, operations, images, pins, host, now, new_id),
                    PEOPLE,
                ),
                Registration(
                    "recast.ecs.v1.BackupSourceService",
                    backup_source_service_pb2_grpc.add_BackupSourceServiceServicer_to_server,
                    BackupSources(database, operations, waits, freezing, stores, now),
                    NOBODY,
                    {
                        "csbs": (
                            "DescribeServer",
                            "FreezeServer",
                            "ExportDisks",
                            "ThawServer",
                            "RestoreDisks",
                        )
                    },
                ),
                Registration(
                    "recast.ecs.v1.ImageSourceService",
                    image_source_service_pb2_grpc.add_ImageSourceServiceServicer_to_server,
                    ImageSources(database, now),
                    NOBODY,
                    {"ims": ("HoldServer", "FreeServer")},
                ),
                Registration(
                    "google.longrunning.Operations",
                    operations_pb2_grpc.add_OperationsServicer_to_server,
                    OperationsServicer(operations, waits),
                    PEOPLE,
                    {"csbs": FOLLOWING},
                ),
            ],
            server_credentials(settings),
            {"recast.ecs.v1.DiskService/GetDiskConnection": OPERATORS},
            serves=settings.serves,
            reflection=settings.reflection,
        )
        self.port = self._server.port

    def start(self) -> None:
        """Starts the worker, the reports of the host, the schedule and the server."""
        if self._on_host:
            self._on_host.worker.start()
            self._on_host.reporter.start()
            self._on_host.schedule.start()
        self._server.start()

    def stop(self) -> None:
        """Takes no new calls, lets running calls end and running work reach its next check, and returns.

        Server and worker stop concurrently: a call may take its whole grace, work its last write to storage.
        """
        self._operations.close()
        if self._on_host:
            self._on_host.worker.begin_to_stop()
            self._on_host.schedule.begin_to_stop()
        self._server.stop()
        if self._on_host:
            self._on_host.worker.stop()
            self._on_host.schedule.stop()
            self._on_host.reporter.stop()
        self._channel.close()
        self._database.close()


@dataclass(frozen=True)
class _OnHost:
    """The threads of a process with disks."""

    worker: Worker
    reporter: Reporter
    schedule: Schedule


def _add_expiries(expiries: Expiries, settings: Settings) -> None:
    tombstone_age = timedelta(days=settings.tombstone_days)
    expiries.add_request_ids(timedelta(days=settings.request_id_days), WORK_REQUESTS, tombstone_age)
    expiries.add_operations(timedelta(days=settings.operation_days))
    expiries.add(EndedHoldRow, "create_time", tombstone_age)
    # The age counts from the freeze, not from its thaw: a late duplicate of its request is as old.
    is_thawed = col(FreezeRow.state) == FreezeState.THAWED
    expiries.add(FreezeRow, "create_time", tombstone_age, is_thawed)


def _workflows(
    database: Database, images: Images, host: Host, now: Callable[[], datetime]
) -> dict[str, Workflow]:
    up, down = ServerEvent.UP, ServerEvent.DOWN
    change_os = ChangeServerOs(database, images, host, now)
    return {
        "CreateServers": CreateServers(database, images, host, now),
        "DeleteServer": DeleteServer(database, host, now),
        "StartServer": ChangePower(database, up, down, now),
        "StopServer": ChangePower(database, down, up, now),
        "RebootServer": ChangePower(database, up, up, now),
        "ChangeServerOs": change_os,
        "ReinstallServerOs": change_os,
        "CreateDisk": CreateDisk(database, images, host, now),
        "DeleteDisk": DeleteDisk(database, host, now),
        "AttachDisk": AttachDisk(database, host, now),
        "DetachDisk": DetachDisk(database, now),
        "ExportDisks": ExportDisks(database, host),
        "ThawServer": ThawServer(database, host, now),
        "RestoreDisks": RestoreDisks(database, host, now),
    }
