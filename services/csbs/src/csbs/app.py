"""The composition root of CSBS: the only module that builds adapters and registers servicers."""

from collections.abc import Callable
from datetime import datetime, timedelta

from google.longrunning import operations_pb2_grpc
from sqlmodel import col

from csbs.domain.image_lock import LockState
from csbs.handlers.backups import Backups
from csbs.handlers.image_eligibility import ImageEligibility
from csbs.handlers.image_locks import ImageLocks
from csbs.peers.ecs import Servers
from csbs.settings import Settings
from csbs.storage import backups
from csbs.storage.chunks import BackupChunks
from csbs.storage.tables import ImageLockRow
from csbs.workflows.create_backup import CreateBackup
from csbs.workflows.delete_backup import DeleteBackup
from csbs.workflows.restore_backup import RestoreBackup
from recast.contentstore import COLLECT_CHUNKS, CollectChunks
from recast.csbs.v1 import backup_service_pb2_grpc
from recast.database import Database
from recast.imagelock.v1 import image_eligibility_service_pb2_grpc, image_lock_service_pb2_grpc
from recast.migrations.migrate import migrate
from recast.operations import Expiries, Operations, OperationsServicer, Schedule, Waits, Worker
from recast.operations.peer import FOLLOWING
from recast.rpc.access import NOBODY, PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import ServiceTokens, Signer, Verifier
from recast.rpc.process import server_credentials
from recast.rpc.server import Registration, Server

# The requests that IMS sends with request ids of its own operations.
WORK_REQUESTS = ("recast.csbs.v1.CreateBackupRequest", "recast.csbs.v1.DeleteBackupRequest")


class App:
    """CSBS, ready to start. `now` and `new_id` are the only sources of time and chance."""

    def __init__(self, settings: Settings, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._works = settings.works
        database = self._database = Database(settings.database_url, settings.database_reserve_bytes)
        migrate(database, "csbs.storage:migrations")
        operations = self._operations = Operations(database, now, new_id)
        tokens = ServiceTokens(Signer.load(settings.signing_key_file), "csbs")
        self._channel = connect(settings.ecs_target, tokens)
        servers = Servers(self._channel)
        chunks = BackupChunks(settings.store_url, settings.store_key_file.read_bytes())
        self._worker = Worker(
            operations,
            {
                "CreateBackup": CreateBackup(database, servers, chunks, now),
                "DeleteBackup": DeleteBackup(database, operations, chunks, now),
                "RestoreBackup": RestoreBackup(database, servers, chunks, now),
                COLLECT_CHUNKS: CollectChunks(database, chunks, backups.live_contents),
            },
            domain="csbs.recast",
            threads=settings.worker_threads,
            lease_seconds=settings.lease_seconds,
        )
        self._schedule = Schedule(database, now)
        expiries = Expiries(self._schedule, database, now)
        tombstone_age = timedelta(days=settings.tombstone_days)
        expiries.add_request_ids(timedelta(days=settings.request_id_days), WORK_REQUESTS, tombstone_age)
        expiries.add_operations(timedelta(days=settings.operation_days))
        # The age counts from the lock, not from its release: a late duplicate of its request is as old.
        is_released = col(ImageLockRow.state) == LockState.RELEASED
        expiries.add(ImageLockRow, "create_time", tombstone_age, is_released)
        self._server = Server(
            "csbs",
            settings.address,
            Verifier.load(settings.trusted_keys_file, settings.token_seconds, settings.service_token_seconds),
            [
                Registration(
                    "recast.csbs.v1.BackupService",
                    backup_service_pb2_grpc.add_BackupServiceServicer_to_server,
                    Backups(database, operations, servers, now, new_id),
                    PEOPLE,
                    {"ims": ("CreateBackup", "GetBackup", "DeleteBackup")},
                ),
                Registration(
                    "recast.imagelock.v1.ImageEligibilityService",
                    image_eligibility_service_pb2_grpc.add_ImageEligibilityServiceServicer_to_server,
                    ImageEligibility(database, servers, settings.require_available),
                    PEOPLE,
                    {"ims": ("CheckImageEligibility",)},
                ),
                Registration(
                    "recast.imagelock.v1.ImageLockService",
                    image_lock_service_pb2_grpc.add_ImageLockServiceServicer_to_server,
                    ImageLocks(database, chunks, settings.require_available, now),
                    NOBODY,
                    {"ims": ("LockBackup", "ConfirmLock", "ReleaseLock", "GetBackupContent")},
                ),
                Registration(
                    "google.longrunning.Operations",
                    operations_pb2_grpc.add_OperationsServicer_to_server,
                    OperationsServicer(operations, Waits(operations)),
                    PEOPLE,
                    {"ims": (*FOLLOWING, "ListOperations")},
                ),
            ],
            server_credentials(settings),
            serves=settings.serves,
            reflection=settings.reflection,
        )
        self.port = self._server.port

    def start(self) -> None:
        """Starts the worker, the schedule and the server."""
        if self._works:
            self._worker.start()
            self._schedule.start()
        self._server.start()

    def stop(self) -> None:
        """Takes no new calls, lets running calls end and running work reach its next check, and returns.

        Server and worker stop concurrently: a call may take its whole grace, work its last write to storage.
        """
        self._operations.close()
        self._worker.begin_to_stop()
        self._schedule.begin_to_stop()
        self._server.stop()
        if self._works:
            self._worker.stop()
            self._schedule.stop()
        self._channel.close()
        self._database.close()
