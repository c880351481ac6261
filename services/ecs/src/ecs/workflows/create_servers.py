"""CreateServers: pin, bring the bases into the cache, make every disk, bring the servers up, unpin.

Undo removes everything. A batch on several hosts has a child operation for each, and only joins their
results.

The first server of an image on a host brings the bases; all others are overlays on them.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from sqlalchemy import delete

from ecs.domain.disk import DiskEvent
from ecs.domain.refusals import DiskIoFailed, ServerNotFound
from ecs.domain.server import ServerEvent
from ecs.peers.ims import Images, ResolvedImage
from ecs.storage import disks, servers
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import AttachmentRow, DiskRow
from ecs.workflows.disk_progress import DiskProgress
from ecs.workflows.failing import DOMAIN, fail_server
from ecs.workflows.image_pins import images_wanted
from recast.database import Database, Transaction
from recast.diskimage import NewDisk
from recast.ecs.v1 import server_service_pb2 as pb
from recast.faults import Refusal, Unavailable
from recast.operations import OperationRow, State, Work
from recast.rpc.status import refusal_from_status, status_from_refusal


class CreateServers:
    """The workflow. Its request is a CreateServersResult that names the servers; their rows hold the plan."""

    def __init__(self, database: Database, images: Images, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._images = images
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message | Refusal:
        """See the module."""
        requested = _requested(work)
        names = [each.server for each in requested]
        if children := work.children():
            return _result_from_children(work, children)
        wanted = self._images_wanted(work)
        if not work.done("up"):  # after it the owners may have deleted the servers
            for image in wanted:
                work.step(f"pin {image}", lambda image=image: self._images.pin(image, work.id, names[0]))  # type: ignore[misc]
            resolved = {image: self._images.resolve(image) for image in wanted}
            bring_bases(work, self._host, resolved, self._disks_of(names))
        failed = work.step("disks", lambda: self._make_disks(work, names))
        work.transact("up", lambda tx: self._bring_up(tx, names, failed), decides=True)
        for name in failed:
            work.step(f"clear {name}", lambda name=name: self._clear([name]))  # type: ignore[misc]
        unpin(work, self._images, wanted)
        errors = _errors(failed)
        work.end_parts(errors)
        if len(errors) == len(names):
            return refusal_from_status(errors[names[0]])
        return pb.CreateServersResult(
            outcomes=[_outcome(each, errors.get(each.server)) for each in requested]
        )

    def undo(self, work: Work, error: Refusal) -> None:
        """V14: removes the servers; a server with files that cannot be removed is left in ERROR."""
        names = [each.server for each in _requested(work)]
        if work.children():
            return  # each child removes its own servers
        wanted = self._images_wanted(work)
        if work.done("up"):
            failed = work.recall("disks")
            work.end_parts(_errors(failed))
            work.transact("undo:clear", lambda tx: self._fail(tx, failed, error))
        else:
            try:
                self._clear(names)
            except DiskIoFailed:
                if not work.is_last_try:
                    raise
                work.transact("undo:clear", lambda tx: self._fail(tx, names, error))
        unpin(work, self._images, wanted)

    def _images_wanted(self, work: Work) -> list[str]:
        """The images to pin. The first recorded step, because the rows that name them may be deleted before
        the images are unpinned.
        """

        def wanted() -> list[str]:
            with self._database.read() as session:
                return images_wanted(session, "CreateServers", work.request)

        return work.step("images", wanted)

    def _disks_of(self, names: Sequence[str]) -> list[DiskRow]:
        with self._database.read() as session:
            return [disk for name in names for _, disk in disks.attached_to(session, name)]

    def _make_disks(self, work: Work, names: Sequence[str]) -> dict[str, str]:
        """Makes all disks with one sync of the storage; if that fails, server by server.

        Gives the status, in hex, of each server that failed.
        """
        try:
            with disk_faults():
                wanted = [_new_disk(disk) for disk in self._disks_of(names)]
                self._host.create(wanted, lambda built: work.count_parts(built * len(names) // len(wanted)))
        except Unavailable:
            raise
        except Refusal:
            pass  # tried again below, to report the error of each server by itself
        else:
            return {}
        failed = {}
        for name in names:
            try:
                with disk_faults():
                    self._host.create([_new_disk(disk) for disk in self._disks_of([name])])
            except Unavailable:
                raise
            except Refusal as refusal:
                failed[name] = status_from_refusal(refusal, DOMAIN).SerializeToString().hex()
        return failed

    def _bring_up(self, tx: Transaction, names: Sequence[str], failed: Container[str]) -> None:
        for name in names:
            if name not in failed:
                row = servers.load(tx.session, name, lock=True)
                servers.move(tx, row, ServerEvent.DOWN if row.leave_stopped else ServerEvent.UP, self._now())
                for _, disk in disks.attached_to(tx.session, name):
                    disks.move(tx, disk, DiskEvent.MADE_IN_PLACE, self._now())

    def _clear(self, names: Sequence[str]) -> None:
        """Removes files first, then rows: nothing would remove a file without a row."""
        for disk in self._disks_of(names):
            with disk_faults():
                self._host.delete(disk.folder)
        with self._database.write() as tx:
            for name in names:
                try:
                    row = servers.load(tx.session, name, lock=True)
                except ServerNotFound:
                    continue
                remove_rows(tx, [disk for _, disk in disks.attached_to(tx.session, name)])
                tx.session.delete(row)
            tx.commit()

    def _fail(self, tx: Transaction, names: Iterable[str], error: Refusal) -> None:
        for name in names:
            fail_server(tx, name, error, self._now())


def _result_from_children(work: Work, children: Sequence[OperationRow]) -> Message | Refusal:
    """The result of a batch on several hosts, in the order of the request. Children undo themselves."""
    outcomes: dict[str, pb.ServerOutcome] = {}
    failed: dict[str, status_pb2.Status] = {}
    for child in children:
        if child.error is not None:
            failed[child.queue] = status_pb2.Status.FromString(child.error)
            continue
        result = pb.CreateServersResult()
        any_pb2.Any.FromString(child.response or b"").Unpack(result)
        outcomes |= {outcome.server: outcome for outcome in result.outcomes}
    if not outcomes:
        if all(child.state == State.CANCELLED for child in children):
            raise work.cancelled()
        return refusal_from_status(next(iter(failed.values())))
    return pb.CreateServersResult(
        outcomes=[outcomes.get(each.server) or _outcome(each, failed[each.host]) for each in _requested(work)]
    )


def bring_bases(work: Work, host: Host, resolved: dict[str, ResolvedImage], plan: Sequence[DiskRow]) -> None:
    """Brings every base of the planned disks into the host's cache, each once."""
    progress = DiskProgress(work)
    wanted = {disk.base: (disk.source_image, disk.source_image_disk) for disk in plan if disk.base}
    for base, (image, disk_id) in wanted.items():
        content = resolved[image].disk(disk_id)
        report = progress.of(f"{image}/{disk_id}", content.size_bytes)
        with disk_faults(image):
            # Not a recorded step: an unused base may be evicted, and must then be brought again.
            made = host.ensure_base(resolved[image].content.store, content, report, wanted)
        assert made == base


def unpin(work: Work, images: Images, wanted: Iterable[str]) -> None:
    """Releases every pin of the work."""
    for image in wanted:
        work.step(f"unpin {image}", lambda image=image: images.unpin(image, work.id))  # type: ignore[misc]


def remove_rows(tx: Transaction, rows: Sequence[DiskRow]) -> None:
    """Removes the rows of disks and of their attachments."""
    table = AttachmentRow.__table__  # type: ignore[attr-defined]
    for row in rows:
        tx.session.connection().execute(delete(table).where(table.c.disk == row.name))
        tx.session.delete(row)


def _requested(work: Work) -> Sequence[pb.ServerOutcome]:
    """The requested servers, as outcomes without an error."""
    return pb.CreateServersResult.FromString(work.request).outcomes


def _errors(failed: Mapping[str, str]) -> dict[str, status_pb2.Status]:
    return {name: status_pb2.Status.FromString(bytes.fromhex(error)) for name, error in failed.items()}


def _outcome(requested: pb.ServerOutcome, error: status_pb2.Status | None) -> pb.ServerOutcome:
    return pb.ServerOutcome(id=requested.id, server=requested.server, host=requested.host, error=error)


def _new_disk(disk: DiskRow) -> NewDisk:
    return NewDisk(disk.folder, disk.size_bytes, disk.base or None)
