"""One project of the three services and its model, side by side: each request is sent to both."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString

from recast.client import SERVICES, Service
from recast.csbs.v1 import backup_pb2
from recast.faults import RemoteRefusal
from recast.rpc.status import refusal_from_status
from tests.faults.model.requests import delete
from tests.faults.model.seen import Shown, differences, read_lists
from tests.faults.model.stored import stored_digests
from tests.faults.model.touch import touched
from tests.faults.model.work import Disagreement, Work, in_either_order
from tests.faults.model.works import begin
from tests.faults.model.world import SECTOR, Backup, Content, Disk, Image, Kept, Server, World, verb_of
from tests.harness.cloud import Cloud
from tests.harness.expectations import NeverCame, until
from tests.harness.project import Tenant

# What no race explains: a bug, or bytes that are lost.
NEVER = {"INTERNAL", "CONTENT_DAMAGED", "DISK_IO_FAILED", "REQUEST_INVALID"}
STUBS: dict[str, tuple[Service, str]] = {
    **dict.fromkeys(("CreateBackup", "UpdateBackup", "DeleteBackup", "RestoreBackup"), ("csbs", "backups")),
    **dict.fromkeys(("CreateImage", "UpdateImage", "DeleteImage"), ("ims", "images")),
    "GetProvisioningDefaults": ("ims", "images"),
    **dict.fromkeys(("CreateDisk", "DeleteDisk", "AttachDisk", "DetachDisk"), ("ecs", "disks")),
    **dict.fromkeys(
        ("CreateServers", "UpdateServer", "DeleteServer", "StartServer", "StopServer", "RebootServer",
         "ChangeServerOs", "ReinstallServerOs"), ("ecs", "servers")
    ),
}  # fmt: skip

# What is given back with the work that took it; of a lock a tombstone stays.
HELD: dict[Service, str] = {
    "csbs": "image_lock WHERE state != 'RELEASED'",
    "ims": "image_pin",
    "ecs": "image_hold",
}


@dataclass(frozen=True)
class Manner:
    """How a request is made."""

    waits: bool = True
    is_stale: bool = False
    validate_only: bool = False
    cancels: bool = False


class Conversation:
    """`ask` sends a request, and holds the answer and what comes of it against the model."""

    def __init__(self, cloud: Cloud, project: str, sources: Path) -> None:
        self.tenant = Tenant(cloud, project, sources)
        self.world = World(self.tenant.parent)
        self.pending: list[Work] = []
        self.accepted: list[tuple[Any, Any]] = []
        self.history: list[str] = []
        self.answers: dict[str, int] = {}
        self._number = 0

    # Requests.

    def ask(self, request: Any, manner: Manner) -> None:
        """Makes a request in some manner."""
        self._dress(request, manner)
        reads, writes = touched(self.world, request)
        racing = [w for w in self.pending if w.writes & (reads | writes) or w.reads & writes]
        worlds = [self.world]
        for work in racing:
            worlds = [future for world in worlds for future in work.futures(world)]
        allowed = {world.reason(request) for world in worlds}
        reason, answer = self._send(request)
        self._note(f"{_text(request)} -> {reason or 'ok'}" + (" (racing)" if racing else ""))
        self.answers[reason] = self.answers.get(reason, 0) + 1
        if reason not in allowed:
            self.disagree(f"the model allows {sorted(allowed)}, the answer is {reason!r}")
        if not reason and not manner.validate_only:
            self._accept(request, answer, racing, manner)

    def _dress(self, request: Any, manner: Manner) -> None:
        fields = request.DESCRIPTOR.fields_by_name
        self._number += 1
        if "request_id" in fields:
            request.request_id = f"r{self._number}"
            request.validate_only = manner.validate_only
        holder = _updated(request) if verb_of(request).startswith("Update") else request
        if manner.is_stale and "etag" in holder.DESCRIPTOR.fields_by_name:
            holder.etag = "stale"

    def _send(self, request: Message) -> tuple[str, Any]:
        _, stub = STUBS[verb_of(request)]
        try:
            return "", getattr(getattr(self.tenant.recast, stub), verb_of(request))(request)
        except RemoteRefusal as refusal:
            return refusal.reason, None

    def _accept(self, request: Any, answer: Any, racing: list[Work], manner: Manner) -> None:
        """Takes an accepted request into the model. What it raced with ends first: in the model one comes
        after the other, and each may have failed for the other's sake.
        """
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            self.accepted.append((request, answer))
        before = self.world.copy()
        for work in racing:
            self._loosen(work)
            if work.server:
                work.snapshots.append(self._afterwards(request, answer, work.server))
        for work in racing:
            work.overtaken_by = request
            self.await_end(work)
        begun = begin(self.world, request, answer, before)
        if begun is None:
            if verb_of(request) == "GetProvisioningDefaults":
                self._check_defaults(request.name, answer)
            return
        self.pending.append(begun)
        for work in racing:
            self._loosen(begun)
            # A restore is accepted by CSBS, and begun at ECS only later.
            if work.has_succeeded and verb_of(work.request) == "RestoreBackup":
                begun.succeed = in_either_order(work.succeed, begun.succeed)
                begun.fail = in_either_order(work.succeed, begun.fail)
                begun.looks = True
        if manner.cancels:
            self.cancel(begun)
        if manner.waits:
            self.await_end(begun)
        elif len(self.pending) > 2:
            self.await_end(self.pending[0])

    def _loosen(self, work: Work) -> None:
        work.may_fail = work.may_fail or not work.is_decided or getattr(work.request, "delete_backup", False)

    def _afterwards(self, request: Any, answer: Any, server: str) -> tuple[Kept, ...]:
        """What a backup of the server holds if the request's work is done before its instant."""
        world = self.world.copy()
        work = begin(world, request, answer, self.world)
        if work is not None:
            work.succeed(world, None)
        return world.snapshot(server)

    def _check_defaults(self, name: str, answer: Any) -> None:
        wanted = [(disk.id, disk.position, disk.size) for disk in self.world.things[name].disks]
        shown = [(disk.id, disk.position, disk.size_bytes) for disk in answer.disks]
        if shown != wanted:
            self.disagree(f"the defaults of {name} are {shown}, not {wanted}")

    def repeat(self, number: int, *, is_altered: bool) -> None:
        """Makes an accepted request again: the same answer, and nothing happens. With another body it is
        refused.
        """
        if not self.accepted:
            return
        first, answer = self.accepted[number % len(self.accepted)]
        request = type(first).FromString(first.SerializeToString())
        request.validate_only = is_altered
        reason, again = self._send(request)
        self._note(f"again{' altered' if is_altered else ''}: {_text(request)} -> {reason or 'ok'}")
        if is_altered and reason != "REQUEST_ID_REUSED":
            self.disagree(f"a request id with another body is answered with {reason!r}")
        if not is_altered and again != answer:
            self.disagree(f"a repeat is answered with {reason!r} {again}, the first was {answer}")

    def upload(self, image_id: str, file: str) -> None:
        """Imports one of the source files."""
        path = self.tenant.sources / f"{file}.raw"
        kind = "DATA_DISK" if file == "data" else "SYSTEM_DISK"
        self._number += 1
        header = self.tenant.header(image_id, path, kind=kind, request_id=f"upload-{self._number}")
        name = self.tenant.image(image_id)
        for work in [each for each in self.pending if name in each.writes]:
            self.await_end(work)
        wanted = "" if self.world.is_free(name) else "IMAGE_ID_TAKEN"
        reason = ""
        try:
            answer = self.tenant.recast.import_image(path, header)
            self.tenant.wait(answer.operation, "ims")
        except RemoteRefusal as refusal:
            reason = refusal.reason
        self._note(f"ImportImage {image_id} {file} -> {reason or 'ok'}")
        if reason != wanted:
            self.disagree(f"the model wants {wanted!r}, the answer is {reason!r}")
        if not reason:
            is_system = kind == "SYSTEM_DISK"
            disk = Kept("system" if is_system else "data-1", "", is_system, int(not is_system),
                        path.stat().st_size, False, Content(file))  # fmt: skip
            self.world.put(Image(name, kind, "NORMAL", (disk,)))

    # Work.

    def cancel(self, work: Work) -> None:
        """Asks for the end of work: it ends in CANCELLED or in the result."""
        service, _ = STUBS[verb_of(work.request)]
        request = operations_pb2.CancelOperationRequest(name=work.operation)
        self.tenant.recast.operations(service).CancelOperation(request)
        self._note(f"cancel {verb_of(work.request)}")
        work.is_cancelled = True
        work.may_fail = work.may_fail or not work.is_decided

    def await_end(self, work: Work) -> None:
        """Waits for the end of work, and follows it where it was open."""
        service, _ = STUBS[verb_of(work.request)]
        operation = self._end_of(service, work.operation)
        self.pending.remove(work)
        reason = refusal_from_status(operation.error).reason if operation.HasField("error") else ""
        self._note(f"   {verb_of(work.request)} ended: {reason or 'ok'}")
        try:
            self._follow(work, reason)
        except Disagreement as problem:
            self.disagree(str(problem))

    def _follow(self, work: Work, reason: str) -> None:
        """Takes the end of work into the model."""
        if reason:
            self._check_failure(work, reason)
            self.quiet()
            work.fail(self.world, self.seen())
        elif work.doomed and not work.may_fail:
            raise Disagreement(f"the work must fail with {work.doomed}, and succeeded")
        else:
            work.has_succeeded = True
            if work.request.DESCRIPTOR.name == "CreateImageRequest" and work.server:
                self.quiet()  # the image needs its backup sealed; that its server is thawed comes after
            work.succeed(self.world, self.seen() if work.server or work.looks else None)

    def _check_failure(self, work: Work, reason: str) -> None:
        if reason in NEVER or (reason == "CANCELLED" and not work.is_cancelled):
            raise Disagreement(f"no work fails with {reason}")
        if reason != work.doomed and not work.may_fail:
            raise Disagreement(f"the work must {'fail with ' + work.doomed if work.doomed else 'succeed'}")

    def _end_of(self, service: Service, name: str) -> operations_pb2.Operation:
        stub = self.tenant.recast.operations(service)
        request = operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=5))
        seen = [operations_pb2.Operation()]

        def has_ended() -> bool:
            seen[0] = stub.WaitOperation(request)
            return seen[0].done

        try:
            until(has_ended, f"the end of {name} of {service}")
        except NeverCame as problem:
            return self.disagree(str(problem))
        return seen[0]

    def settle_all(self) -> None:
        """Waits for all work."""
        for work in list(self.pending):
            self.await_end(work)

    def quiet(self) -> None:
        """Waits until the services have nothing to do for the project: also without a request for it."""
        for service in SERVICES:
            self.tenant.wait_until_idle(service)

    # Bytes.

    def write(self, disk: Disk, slot: int, pattern: int) -> None:
        """Writes a sector of a disk as its guest: into a backup that is not marked yet it would be a race, so
        the mark is waited for. After it nothing that is written is in the backup (R04, R13).
        """
        for work in [each for each in self.pending if disk.name in each.writes]:
            if verb_of(work.request) == "CreateBackup":
                self._await_mark(work)
            else:
                self.await_end(work)
        found = self.world.things.get(disk.name)
        if found is None or found.state not in {"IN_USE", "AVAILABLE"}:
            return
        # Between the partition table and the boot partition's end: no file system is there.
        offset = (1 << 20) + slot * 66_048
        self._note(f"write {disk.name} {offset} {pattern}")
        until(lambda: self._wrote(disk.name, offset, pattern), "a write beside the merge of a layer")
        content = found.content and found.content.written(offset, pattern)
        self.world.edit(disk.name, content=content)

    def _wrote(self, disk: str, offset: int, pattern: int) -> bool:
        """QEMU's lock keeps a guest that is being opened from a layer that is being merged."""
        try:
            self.tenant.write(disk, offset, SECTOR, pattern)
        except AssertionError as problem:
            if "lock" not in str(problem):
                raise
            return False
        return True

    def _await_mark(self, work: Work) -> None:
        stub = self.tenant.recast.operations("csbs")
        request = operations_pb2.GetOperationRequest(name=work.operation)
        name = f"{self.tenant.parent}/backups/{work.request.backup_id}".rpartition("/")[2]
        until(lambda: self._is_marked(name) or stub.GetOperation(request).done, "the mark")

    def _is_marked(self, backup: str) -> bool:
        shown: backup_pb2.Backup = self.tenant.get_backup(backup)
        return shown.image_ready

    def read(self, name: str) -> None:
        """Holds every byte of a disk against the model."""
        for work in [each for each in self.pending if name in each.writes]:
            self.await_end(work)
        disk = self.world.things.get(name)
        if not isinstance(disk, Disk) or disk.state not in {"IN_USE", "AVAILABLE"} or disk.content is None:
            return
        self._note(f"read {name}")
        if self.tenant.digest(name) != self._digest(disk.content, disk.size):
            self.disagree(f"{name} does not hold {disk.content}")

    def read_backups(self) -> None:
        """The same for every disk of every backup, as it is stored."""
        for backup in [each for each in self.world.all(Backup) if each.state == "AVAILABLE"]:
            stored = dict(stored_digests(self.tenant.cloud, self.tenant.project, backup.name))
            for kept in backup.disks:
                if kept.content and stored[kept.id] != self._digest(kept.content, kept.size):
                    self.disagree(f"{kept.id} of {backup.name} does not hold {kept.content}")

    def _digest(self, content: Content, size: int) -> str:
        base = (self.tenant.sources / f"{content.base}.raw").read_bytes() if content.base else b""
        image = bytearray(base.ljust(size, b"\0"))
        for offset, pattern in content.writes:
            image[offset : offset + SECTOR] = bytes([pattern]) * SECTOR
        return str(blake3(image).hexdigest())

    # What is seen.

    def seen(self) -> Shown:
        """What the services list now."""
        return read_lists(self.tenant)

    def compare(self) -> None:
        """Holds everything that no work is under way on against the model."""
        unsettled = set().union(*(work.writes for work in self.pending))
        parted = differences(self.world, self.seen(), unsettled)
        if parted:
            self.disagree("\n".join(parted))

    def _note(self, line: str) -> None:
        self.history.append(line)

    def disagree(self, problem: str) -> Any:
        """Ends the run, with every request and answer."""
        raise Disagreement("\n".join([*self.history, problem]))

    # The end.

    def tear_down(self, chance: random.Random) -> None:
        """Deletes everything, and checks that nothing is left."""
        self.settle_all()
        for disk in list(self.world.all(Disk)):
            self.read(disk.name)
        self.read_backups()
        self.compare()
        self._delete_all(Server, chance)
        self._delete_all(Disk, chance)
        self._delete_all(Image, chance)
        self._delete_all(object, chance)
        self.quiet()
        left: dict[str, Any] = {"lists": self.seen(), "disks": self.tenant.cloud.disk_folders()}
        for service in ("csbs", "ims"):
            left[f"chunks of {service}"] = self.tenant.cloud.chunks(service, self.tenant.project)
            left[f"indexes of {service}"] = self.tenant.cloud.indexes(service, self.tenant.project)
        for service, rows in HELD.items():
            with self.tenant.cloud.databases[service].read() as session:
                left[rows] = session.connection().exec_driver_sql(f"SELECT * FROM {rows}").all()
        if any(left.values()):
            self.disagree(f"left: { {what: found for what, found in left.items() if found} }")

    def _delete_all(self, kind: type, chance: random.Random) -> None:

        things = list(self.world.all(kind))
        chance.shuffle(things)
        for thing in things:
            self.ask(delete(thing), Manner(waits=False))
        self.settle_all()


def _updated(request: Any) -> Any:
    """The resource in an update."""
    return next(thing for one, thing in request.ListFields() if one.name in {"server", "backup", "image"})


def _text(request: Any) -> str:
    fields = MessageToString(request, as_one_line=True).replace(
        f'parent: "{getattr(request, "parent", "")}" ', ""
    )
    return f"{verb_of(request)} {fields}"
