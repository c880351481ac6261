"""Checks of one ECS host's files against its rows: every disk has its files, and every file its disk."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recast.diskimage import DiskHost, DiskImageError
from recast.diskimage.chain import Chain, read_chain
from recast.doctor.findings import Code, Findings
from recast.doctor.rows import Disk, Freeze, Operation
from recast.doctor.server_checks import work_of_freeze
from recast.doctor.snapshots import Snapshots

# Each disk waits for one run of qemu-img for each of its layers.
_AT_ONCE = 4
_HAVING_FILES = {"AVAILABLE", "IN_USE", "ATTACHING", "DETACHING"}


@dataclass(frozen=True)
class FoundDisk:
    """A disk of this host whose chain can be read. `work` is the running work on it, or on its server."""

    row: Disk
    chain: Chain
    freeze: Freeze | None
    work: Operation | None


class Disks:
    """The disks of one host. `folder` is its data folder."""

    def __init__(self, seen: Snapshots, folder: Path, host: str) -> None:
        self._seen = seen
        self._folder = folder
        self._rows = {disk.folder: disk for disk in seen.ecs.disks.values() if disk.host == host}
        self._freezes = {
            disk: freeze for freeze in seen.ecs.freezes if freeze.is_live for disk in freeze.disks
        }
        self._servers: Mapping[str, list[str]] = defaultdict(list)
        for place in seen.ecs.attachments:
            self._servers[place.disk].append(place.server)

    def check(self, findings: Findings) -> list[FoundDisk]:
        """Compares rows and folders; returns the readable disks."""
        folders = self._folder / "disks"
        self._check_names(folders, findings)
        found = []
        for row in self._rows.values():
            is_there = (folders / row.folder).is_dir()
            if row.state == "ERROR" and is_there and not row.awaits_deletion:
                what = f"it is in ERROR, and holds files: {folders / row.folder}"
                findings.add(Code.DISK_FILES_LEFT, row.name, what, self._work(row))
            elif row.state in _HAVING_FILES and not is_there:
                what = f"its folder {folders / row.folder} is not there"
                findings.add(Code.DISK_FILES_MISSING, row.name, what, self._work(row))
            elif row.state in _HAVING_FILES:
                found.append(row)
        host = DiskHost(self._folder)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            problems = pool.map(lambda row: host.disk(row.folder).check(), found)
        for row, sentences in zip(found, problems, strict=True):
            for sentence in sentences:
                what = sentence.removeprefix(f"disk {row.folder}: ")
                findings.add(Code.DISK_FILES_UNSOUND, row.name, what, self._work(row))
        return [disk for row in found for disk in self._checked(row, findings)]

    def _check_names(self, folders: Path, findings: Findings) -> None:
        for path in sorted(folders.iterdir()):
            row = self._rows.get(path.name.removeprefix(".new-").removeprefix(".gone-"))
            is_left = path.name.startswith((".new-", ".gone-"))
            if row is not None and row.awaits_deletion:
                continue
            if row is None or (is_left and row.folder != path.name):
                what = "left over by a killed action" if is_left else "no disk has this folder"
                findings.add(Code.FILE_UNOWNED, str(path), what, self._work(row) if row else None)

    def _checked(self, row: Disk, findings: Findings) -> Iterator[FoundDisk]:
        try:
            chain = read_chain(self._folder / "disks" / row.folder)
        except DiskImageError:
            return  # reported by its check
        disk = FoundDisk(row, chain, self._freezes.get(row.name), self._work(row))
        _check_chain(disk, self._is_in_doubt(row), findings)
        self._check_freeze(disk, findings)
        if disk.freeze is None and disk.work is None and row.tracked_backup:
            self._check_tracked(disk, findings)
        yield disk

    def _work(self, row: Disk) -> Operation | None:
        """The running work on a disk, on a server that has it, or on its freeze."""
        for name in (row.name, *self._servers[row.name]):
            if work := self._seen.ecs.work.on(name):
                return work
        freeze = self._freezes.get(row.name)
        return work_of_freeze(self._seen, freeze) if freeze else None

    def _is_in_doubt(self, row: Disk) -> bool:
        """Whether its server is in ERROR, as after a failed restore."""
        servers = [self._seen.ecs.servers.get(name) for name in self._servers[row.name]]
        return any(server is not None and server.state == "ERROR" for server in servers)

    def _check_freeze(self, disk: FoundDisk, findings: Findings) -> None:
        """A layer is unmerged if and only if there is a freeze that has not ended."""
        frozen = disk.chain.unmerged_freeze
        freeze_id = disk.freeze.freeze_id if disk.freeze else None
        if frozen == freeze_id:
            return
        if frozen is None:
            # A running freeze has not reached this disk, or the thaw already has.
            work = disk.work if disk.freeze and disk.freeze.state == "FREEZING" else None
            thaw = self._seen.ecs.work.on(disk.freeze.server) if disk.freeze else None
            what = f"it is frozen by {freeze_id}, and its files are not"
            findings.add(Code.DISK_FREEZE_WRONG, disk.row.name, what, work or thaw)
        else:
            what = f"its files are frozen by {frozen}, a freeze that is over or unknown"
            findings.add(Code.DISK_FREEZE_WRONG, disk.row.name, what, disk.work)

    def _check_tracked(self, disk: FoundDisk, findings: Findings) -> None:
        """The layer beneath the active one is of the backup that the row names.

        The backup may be deleted, and a newer one may have its name.
        """
        name = disk.row.tracked_backup
        layer = disk.chain.freeze_ids[0] if disk.chain.freeze_ids else ""
        freeze = next((each for each in self._seen.ecs.freezes if each.freeze_id == layer), None)
        backup = self._seen.csbs.backups.get(name)
        what = ""
        if not layer:
            what = "and no layer is beneath its active one"
        elif freeze is not None and freeze.backup != name:
            what = f"and the layer beneath its active one is of {freeze.backup}"
        elif backup and freeze and backup.create_time <= freeze.create_time:
            if not backup.contents:
                what = f"which is {backup.state} and has no content"
            elif disk.row.name not in {each.disk for each in backup.described}:
                what = "which has no content of this disk"
        if what:
            findings.add(
                Code.TRACKED_BACKUP_WRONG, disk.row.name, f"its changes are known since {name}, {what}"
            )


def _check_chain(disk: FoundDisk, is_in_doubt: bool, findings: Findings) -> None:
    row, chain = disk.row, disk.chain
    if chain.size_bytes != row.size_bytes:
        what = f"it has {row.size_bytes} bytes, its files {chain.size_bytes}"
        findings.add(Code.DISK_SIZE_WRONG, row.name, what, disk.work)
    if (chain.base or "") != row.base and not is_in_doubt:
        what = f"it stands on {row.base or 'no base'}, its files on {chain.base or 'none'}"
        findings.add(Code.DISK_BASE_WRONG, row.name, what, disk.work)
