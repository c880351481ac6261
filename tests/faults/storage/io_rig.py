"""A stack whose input and output can be made to fail, and the four kinds of work that are done on it."""

import json
import os
import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from google.longrunning import operations_pb2

from recast.client import SERVICES
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.diskimage import BaseInUse, DiskHost
from recast.doctor import Installation, examine
from recast.ecs.v1 import disk_service_pb2, server_pb2, server_service_pb2
from tests.faults.kills import scenarios as work
from tests.faults.kills.rig import LEASE_SECONDS, PROJECT, NotRecovered, Rig
from tests.faults.storage.faulty_io import FaultyIo

# The events that a service logs for an unforeseen error.
_BUGS = {"bug", "worker round failed", "lease not renewed"}


class IoRig(Rig):
    """One stack of local processes that all load the shim. `watched` are folders of the stack."""

    def __init__(self, root: Path, watched: tuple[str, ...] = ("store", "data/ecs")) -> None:
        self.io = FaultyIo(root / "io", [root / "stack" / folder for folder in watched])
        super().__init__(root)
        self._seen = dict.fromkeys(SERVICES, 0)

    def _environment(self) -> dict[str, str]:
        leases = {f"RECAST_{service.upper()}_LEASE_SECONDS": str(LEASE_SECONDS) for service in SERVICES}
        return leases | self.io.environment

    def delete_failed(self) -> int:
        """Deletes the servers and the disks that are left in ERROR, and gives their number."""
        servers = self.recast.servers.ListServers(
            server_service_pb2.ListServersRequest(parent=PROJECT, filter="state = SERVER_STATE_ERROR")
        ).servers
        for server in servers:
            _succeeded(work.delete_server(self, server.name.rpartition("/")[2]))
        disks = self.recast.disks.ListDisks(
            disk_service_pb2.ListDisksRequest(parent=PROJECT, filter="state = DISK_STATE_ERROR")
        ).disks
        for disk in disks:
            _succeeded(work.delete_disk(self, disk.name.rpartition("/")[2]))
        return len(servers) + len(disks)

    def bugs(self) -> list[str]:
        """The events that no fault may cause, logged since the last call."""
        found = []
        for service in SERVICES:
            with self.stack.log(service).open("rb") as log:
                log.seek(self._seen[service])
                for line in log:
                    self._seen[service] += len(line)
                    if line.startswith(b"{") and json.loads(line).get("event") in _BUGS:
                        found.append(f"{service}: {line.decode().strip()}")
        return found

    def check_deep(self) -> None:
        """As `check`, and every stored byte is read."""
        report = examine(Installation.local(self.root / "stack"), at_rest=True, deep=True)
        if report.problems:
            raise NotRecovered("; ".join(str(problem) for problem in report.problems))

    def write_news(self, disk: str) -> None:
        """Writes 64 KiB on a disk, as its guest would: bytes that no chunk store has yet.

        Near the end: an image of the disk is made, and its file system must be read.
        """
        self.number += 1
        request = disk_service_pb2.GetDiskConnectionRequest(name=f"{PROJECT}/disks/{disk}")
        path = self.recast.disks.GetDiskConnection(request).connection.path
        seed = self.root / "news"
        seed.write_bytes(self.number.to_bytes(8, "little") * 8192)
        size = self.recast.disks.GetDisk(disk_service_pb2.GetDiskRequest(name=request.name)).disk.size_bytes
        write = f"write -s {seed} {max(0, size - (10 << 20)) + (self.number % 8 << 20)} 64k"
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", write, path],
            check=True,
            capture_output=True,
            env=dict(os.environ) | self.io.environment,  # the guest's writes are recorded, too
        )

    def evict_bases(self) -> None:
        """Takes every base that no disk stands on out of the cache."""
        host = DiskHost(self.root / "stack" / "data" / "ecs")
        for base in host.base_names():
            with suppress(BaseInUse):
                host.delete_base(base)

    def close(self) -> None:
        """Stops everything."""
        super().close()
        self.io.close()


@dataclass
class Job:
    """A kind of work: `prepare` makes its resources, `act` does it, `verify` checks its result by the
    `operation` and deletes it.
    """

    name: str
    prepare: Callable[[IoRig], str]
    act: Callable[[IoRig, str], operations_pb2.Operation]
    verify: Callable[[IoRig, str, operations_pb2.Operation], None]


def build_world(rig: IoRig) -> None:
    """The world of the crash tests, and a second full-server image to change the OS to."""
    work.build_world(rig, rig.root / "disks")
    rig.write_news("web-system")
    _succeeded(work.create_backup(rig, "kept-2"))
    _succeeded(work.create_image(rig, "whole-2", "kept-2"))


def _succeeded(operation: operations_pb2.Operation) -> None:
    if operation.HasField("error"):
        raise NotRecovered(f"{operation.name} failed: {operation.error.message}")


def backup(*, full: bool) -> Job:
    """A backup of `web` with bytes that the store has not: of everything, or of the changes."""
    recent: deque[str] = deque()

    def prepare(rig: IoRig) -> str:
        for disk in ("web-system", "web-data-1"):
            rig.write_news(disk)
        return rig.new_id("full" if full else "incremental")

    def act(rig: IoRig, backup_id: str) -> operations_pb2.Operation:
        request = backup_service_pb2.CreateBackupRequest(
            parent=PROJECT,
            backup_id=backup_id,
            full=full,
            backup=backup_pb2.Backup(server=f"{PROJECT}/servers/web"),
            request_id=backup_id,
        )
        return rig.run("csbs", lambda: rig.recast.backups.CreateBackup(request))

    def verify(rig: IoRig, backup_id: str, operation: operations_pb2.Operation) -> None:
        request = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup_id}")
        found = rig.insist(lambda: rig.recast.backups.GetBackup(request)).backup
        state = (
            backup_pb2.BACKUP_STATE_ERROR
            if operation.HasField("error")
            else backup_pb2.BACKUP_STATE_AVAILABLE
        )
        if found.state != state:
            raise NotRecovered(f"{backup_id} is {backup_pb2.BackupState.Name(found.state)}")
        _is(rig, "web", server_pb2.SERVER_STATE_RUNNING)
        recent.append(backup_id)  # the last is the parent of the next incremental one
        if len(recent) > 2:
            _succeeded(work.delete_backup(rig, recent.popleft()))

    return Job("full backup" if full else "incremental backup", prepare, act, verify)


def full_backup() -> Job:
    """A backup that reads everything."""
    return backup(full=True)


def incremental_backup() -> Job:
    """A backup of the changes."""
    return backup(full=False)


def provisioning() -> Job:
    """Two servers from the full-server image, none of whose disks is in the cache."""

    def prepare(rig: IoRig) -> str:
        rig.evict_bases()
        return rig.new_id("batch")

    def act(rig: IoRig, server_id: str) -> operations_pb2.Operation:
        return work.create_servers(rig, server_id, "whole", 2)

    def verify(rig: IoRig, server_id: str, operation: operations_pb2.Operation) -> None:
        names = [f"{server_id}-{number:04d}" for number in range(2)]
        result = server_service_pb2.CreateServersResult()
        operation.response.Unpack(result)
        made = [each.server.rpartition("/")[2] for each in result.outcomes if not each.HasField("error")]
        for name in names:
            if name in made:
                _is(rig, name, server_pb2.SERVER_STATE_RUNNING)
                _succeeded(work.delete_server(rig, name))
            else:
                work.server_is_gone(rig, name)

    return Job("provisioning", prepare, act, verify)


def os_change() -> Job:
    """Another OS for `idle`; nothing of its disk is in the cache."""
    images = deque(["whole", "whole-2"])

    def prepare(rig: IoRig) -> str:
        rig.evict_bases()
        return rig.new_id("change")

    def act(rig: IoRig, request_id: str) -> operations_pb2.Operation:
        request = server_service_pb2.ChangeServerOsRequest(
            name=f"{PROJECT}/servers/idle", image=f"{PROJECT}/images/{images[0]}", request_id=request_id
        )
        return rig.run("ecs", lambda: rig.recast.servers.ChangeServerOs(request))

    def verify(rig: IoRig, _id: str, operation: operations_pb2.Operation) -> None:
        _is(rig, "idle", server_pb2.SERVER_STATE_STOPPED)
        if not operation.HasField("error"):
            images.rotate()

    return Job("OS change", prepare, act, verify)


def _is(rig: IoRig, server: str, state: server_pb2.ServerState.ValueType) -> None:
    request = server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/{server}")
    found = rig.insist(lambda: rig.recast.servers.GetServer(request)).server.state
    if found != state:
        raise NotRecovered(f"server {server} is {server_pb2.ServerState.Name(found)}")
