"""Checks of servers, their disks, freezes and holds."""

from collections import defaultdict

from recast.doctor.findings import Code, Findings
from recast.doctor.rows import Attachment, Disk, Freeze, Operation
from recast.doctor.snapshots import Snapshots

_HAVING_PLACES = {"IN_USE", "ATTACHING", "DETACHING"}


def check_servers(seen: Snapshots, findings: Findings) -> None:
    """A server has one system disk, at position 0, and is frozen only by an existing freeze."""
    ecs = seen.ecs
    findings.counts.servers = len(ecs.servers)
    system: dict[str, list[int]] = defaultdict(list)
    for place in ecs.attachments:
        if place.disk in ecs.disks and ecs.disks[place.disk].role == "SYSTEM":
            system[place.server].append(place.position)
    live = {(freeze.server, freeze.freeze_id): freeze.backup for freeze in ecs.freezes if freeze.is_live}
    for server in ecs.servers.values():
        # A server that is being deleted has detached its disks.
        if system[server.name] != [0] and server.state != "DELETING":
            positions = ", ".join(map(str, system[server.name])) or "none"
            what = f"a server has one system disk, at position 0; this one has them at: {positions}"
            findings.add(Code.SERVER_SYSTEM_DISK_WRONG, server.name, what, ecs.work.on(server.name))
        key = (server.name, server.freeze_id)
        if server.freeze_id and live.get(key) != server.frozen_for:
            known = f"is for {live[key]}" if key in live else "is not known, or over"
            what = f"it is frozen for {server.frozen_for} by {server.freeze_id}, a freeze that {known}"
            findings.add(Code.SERVER_FREEZE_WRONG, server.name, what)


def check_freezes(seen: Snapshots, findings: Findings) -> None:
    """A freeze that has not ended is recorded at its server, and is of a backup that is being made."""
    for freeze in seen.ecs.freezes:
        if not freeze.is_live:
            continue
        work = work_of_freeze(seen, freeze)
        server = seen.ecs.servers.get(freeze.server)
        if server is None:
            what = f"freeze {freeze.freeze_id} is {freeze.state}, and its server is gone"
            findings.add(Code.FREEZE_WITHOUT_SERVER, freeze.server, what, work)
        elif server.freeze_id != freeze.freeze_id:
            what = f"freeze {freeze.freeze_id} is {freeze.state}, and the server does not know of it"
            findings.add(Code.SERVER_FREEZE_WRONG, freeze.server, what, work)
        what = f"it is frozen for {freeze.backup}" + ("" if work else ", which no work is making")
        findings.add(Code.FREEZE_WITHOUT_WORK, freeze.server, what, work)


def work_of_freeze(seen: Snapshots, freeze: Freeze) -> Operation | None:
    """The work that will end a freeze: its backup's (the freeze has the operation's id), or a thaw."""
    thaw = seen.ecs.work.on(freeze.server)
    if thaw is not None and thaw.verb == "ThawServer":
        return thaw
    return seen.csbs.work.unended.get(freeze.freeze_id)


def check_holds(seen: Snapshots, findings: Findings) -> None:
    """A server is held for an image that is being made."""
    for hold in seen.ecs.holds:
        work = seen.ims.work.on(hold.image)
        by = f" by hold {hold.hold_id}" if hold.hold_id else ""
        what = f"it is held for {hold.image}{by}" + ("" if work else ", which no work is making")
        findings.add(Code.HOLD_WITHOUT_WORK, hold.server, what, work)


def check_attachments(seen: Snapshots, findings: Findings) -> None:
    """A disk is in use if and only if it is attached."""
    ecs = seen.ecs
    findings.counts.disks = len(ecs.disks)
    places: dict[str, list[Attachment]] = defaultdict(list)
    for place in ecs.attachments:
        places[place.disk].append(place)
        missing = [
            name
            for name, known in ((place.server, ecs.servers), (place.disk, ecs.disks))
            if name not in known
        ]
        if missing:
            what = f"it is attached to {place.server}; {missing[0]} is gone"
            findings.add(Code.ATTACHMENT_DANGLING, place.disk, what)
    for disk in ecs.disks.values():
        _check_use(disk, [place.server for place in places[disk.name]], ecs.work.on(disk.name), findings)


def _check_use(disk: Disk, servers: list[str], work: Operation | None, findings: Findings) -> None:
    if disk.awaits_deletion:
        return
    if servers and disk.state not in {*_HAVING_PLACES, "CREATING"}:
        what = f"it is {disk.state}, and attached to {', '.join(servers)}"
        findings.add(Code.DISK_USE_WRONG, disk.name, what, work)
    elif not servers and disk.state in _HAVING_PLACES:
        what = f"it is {disk.state}, and attached to no server"
        findings.add(Code.DISK_USE_WRONG, disk.name, what, work)
    elif not servers and disk.role == "SYSTEM" and disk.state in {"AVAILABLE", "ERROR"}:
        what = f"a system disk without a server, {disk.state}"
        findings.add(Code.SYSTEM_DISK_WITHOUT_SERVER, disk.name, what, work)
    if len(servers) > 1 and not disk.shared:
        findings.add(
            Code.DISK_SHARED_WRONG, disk.name, f"it is not shared, and attached to {', '.join(servers)}"
        )
