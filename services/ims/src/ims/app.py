"""The composition root of IMS: the only module that builds adapters and registers servicers."""

from collections.abc import Callable
from datetime import datetime, timedelta

from google.longrunning import operations_pb2_grpc

from ims.handlers.images import Images
from ims.handlers.provisioning import Provisioning
from ims.peers.csbs import Backups
from ims.peers.ecs import SourceServers
from ims.settings import Settings
from ims.storage import images
from ims.storage.chunks import ImageChunks
from ims.storage.space import Space
from ims.storage.staging import Staging
from ims.storage.tables import EndedPinRow
from ims.workflows.create_image import CreateImage
from ims.workflows.delete_image import DeleteImage
from ims.workflows.expire_uploads import ExpireUploads
from ims.workflows.import_image import ImportImage
from recast.contentstore import COLLECT_CHUNKS, CollectChunks, PeerStores
from recast.database import Database
from recast.ims.v1 import image_service_pb2_grpc, provisioning_service_pb2_grpc
from recast.migrations.migrate import migrate
from recast.operations import Expiries, Operations, OperationsServicer, Schedule, Waits, Worker
from recast.preparation import Inspector
from recast.rpc.access import NOBODY, PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import ServiceTokens, Signer, Verifier
from recast.rpc.process import server_credentials
from recast.rpc.server import Registration, Server


class App:
    """IMS, ready to start. `now` and `new_id` are the only sources of time and chance."""

    def __init__(self, settings: Settings, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._works = settings.works
        database = self._database = Database(settings.database_url, settings.database_reserve_bytes)
        migrate(database, "ims.storage:migrations")
        operations = self._operations = Operations(database, now, new_id)
        tokens = ServiceTokens(Signer.load(settings.signing_key_file), "ims")
        self._channels = [connect(settings.csbs_target, tokens), connect(settings.ecs_target, tokens)]
        backups, servers = Backups(self._channels[0]), SourceServers(self._channels[1])
        chunks = ImageChunks(settings.store_url, settings.store_key_file.read_bytes())
        staging, space = Staging(settings.staging_dir), Space(settings.reserve_bytes)
        self._inspector = Inspector()
        self._worker = Worker(
            operations,
            {
                "ImportImage": ImportImage(
                    database,
                    chunks,
                    staging,
                    self._inspector,
                    space,
                    settings.max_virtual_bytes,
                    settings.max_expansion,
                    now,
                ),
                "CreateImage": CreateImage(
                    database,
                    backups,
                    servers,
                    PeerStores(settings.peer_store_urls),
                    self._inspector,
                    settings.preparation == "enforce",
                    settings.preparation_unknown == "refuse",
                    now,
                ),
                "DeleteImage": DeleteImage(database, operations, backups, chunks, staging, now),
                COLLECT_CHUNKS: CollectChunks(database, chunks, images.live_contents),
            },
            domain="ims.recast",
            threads=settings.worker_threads,
            lease_seconds=settings.lease_seconds,
        )
        self._schedule = Schedule(database, now)
        self._schedule.add(
            "uploads", timedelta(hours=1), ExpireUploads(database, operations, staging, now).run
        )
        expiries = Expiries(self._schedule, database, now)
        expiries.add_request_ids(timedelta(days=settings.request_id_days))
        expiries.add_operations(timedelta(days=settings.operation_days))
        expiries.add(EndedPinRow, "create_time", timedelta(days=settings.tombstone_days))
        self._server = Server(
            "ims",
            settings.address,
            Verifier.load(settings.trusted_keys_file, settings.token_seconds, settings.service_token_seconds),
            [
                Registration(
                    "recast.ims.v1.ImageService",
                    image_service_pb2_grpc.add_ImageServiceServicer_to_server,
                    Images(database, operations, backups, servers, staging, space, now, new_id),
                    PEOPLE,
                ),
                Registration(
                    "recast.ims.v1.ProvisioningService",
                    provisioning_service_pb2_grpc.add_ProvisioningServiceServicer_to_server,
                    Provisioning(database, backups, chunks, now),
                    NOBODY,
                    {"ecs": ("ResolveImage", "PinImage", "UnpinImage")},
                ),
                Registration(
                    "google.longrunning.Operations",
                    operations_pb2_grpc.add_OperationsServicer_to_server,
                    OperationsServicer(operations, Waits(operations)),
                    PEOPLE,
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
            self._inspector.prepare()
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
        self._inspector.close()
        for channel in self._channels:
            channel.close()
        self._database.close()
