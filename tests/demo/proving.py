"""The second half of the demo: servers from the image, a changed OS, and the rebuild without the source."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from recast.csbs.v1.backup_pb2 import BACKUP_STATE_AVAILABLE
from recast.ecs.v1 import server_pb2
from recast.ims.v1.image_pb2 import IMAGE_STATE_NORMAL
from tests.demo import guest
from tests.demo.making import AFTER_FREEZE, NIGHTLY, WEB, WEB_IMAGE
from tests.demo.scene import Scene, allocated_bytes, sized
from tests.demo.tenant import name_of

COUNT = 10
# Of the ten: the server that --break-byte damages, the one whose OS is changed, the one that QEMU compares.
_BROKEN, _CHANGED, _COMPARED = 2, 4, 9
REBUILT = name_of("servers", "rebuilt")
SECOND_IMAGE = name_of("images", "second-image")


def provision(scene: Scene) -> None:
    """Makes ten servers in one request, and proves every byte of their disks."""
    tenant, screen = scene.tenant, scene.screen
    begin = time.monotonic()
    batch = tenant.create_servers("shop", WEB_IMAGE, count=COUNT)
    seconds = time.monotonic() - begin
    made = [outcome.server for outcome in batch.outcomes if not outcome.HasField("error")]
    scene.servers = [tenant.server(name) for name in made]
    paths = [path for server in scene.servers for path in tenant.disk_paths(server)]
    own = sum(allocated_bytes(path.parent) for path in paths)
    bases = {base for path in paths if (base := guest.backing_file(path))}
    scene.shared_bytes = sum(base.stat().st_blocks * 512 for base in bases)
    scene.record.measures.provisioned = own
    scene.logical = sum(disk.size_bytes for server in scene.servers for disk in server.disks)
    screen.say(
        "shop-0000 …", f"{len(made)} servers with {len(paths)} disks in {seconds:.2f} s, all in one request"
    )
    screen.say(
        "on the host",
        sized((scene.logical, "of disks"), (own, "of their own"), (scene.shared_bytes, "of bases, shared")),
    )
    scene.check(
        "R14",
        f"one request made {COUNT} servers, each reported, in its order",
        [outcome.server for outcome in batch.outcomes] == list(batch.announced) == made
        and len(made) == COUNT,
    )
    are_running = [server.state == server_pb2.SERVER_STATE_RUNNING for server in scene.servers]
    scene.check(
        "R01", "a backup became an image, and the image RUNNING servers", are_running == [True] * COUNT
    )
    if scene.break_byte:
        _break(scene)
    _prove(scene, paths)


def _break(scene: Scene) -> None:
    """Damages a byte for --break-byte: the proof must find it."""
    server = scene.servers[_BROKEN]
    offset = scene.scale.data_content_bytes // 2 + 12345
    guest.flip_byte(scene.tenant.disk_path(server.disks[2].disk), offset)
    scene.screen.say("--break-byte", f"byte {offset} of {server.disks[2].disk} is another now")


def _prove(scene: Scene, paths: list[Path]) -> None:
    found = scene.fingerprints(f"proving {len(paths)} disks", paths)
    of_server = [found[at : at + 3] for at in range(0, len(found), 3)]
    places = [[_place(disk) for disk in server.disks] for server in scene.servers]
    wanted_places = [_place(disk) for disk in scene.source.disks]
    scene.check(
        "R12",
        f"all {COUNT * 3} disks are, byte for byte, those that were built, each in its role and order",
        of_server == [scene.wanted] * COUNT and places == [wanted_places] * COUNT,
    )
    _print_differences(scene, paths, found)
    compared = paths[_COMPARED * 3 : _COMPARED * 3 + 3]
    pairs = zip((disk.path for disk in scene.built), compared, strict=True)
    differences = [guest.difference(raw, path) for raw, path in pairs]
    scene.check(
        "R12",
        "QEMU's own comparison finds no difference on the last server's three disks",
        differences == [""] * 3,
    )
    scene.check(
        "R13",
        f"the {COUNT} servers are equal to one another",
        len(of_server) == COUNT and len({tuple(digests) for digests in of_server}) == 1,
    )
    media = scene.tenant.disk_path(scene.source.disks[2].disk)
    is_there = scene.each(lambda path: guest.holds(path, AFTER_FREEZE), [media, *paths[2::3]])
    scene.check(
        "R13",
        f"the write after the freeze is on the source and on none of the {COUNT}",
        is_there == [True] + [False] * COUNT,
    )


def _place(disk: server_pb2.AttachedDisk) -> tuple[int, int, str, int]:
    return disk.role, disk.position, disk.device, disk.size_bytes


def _print_differences(scene: Scene, paths: list[Path], found: list[str]) -> None:
    """Prints the disks that differ from the expected ones, and the offsets."""
    for index, (path, digest) in enumerate(zip(paths, found, strict=True)):
        server, place = divmod(index, 3)
        if digest != scene.wanted[place]:
            disk = scene.servers[server].disks[place].disk
            scene.screen.say(f"  {disk}: {guest.difference(scene.built[place].path, path)}")


def change_os(scene: Scene) -> None:
    """Gives one of the ten, on whose disks a guest wrote, a new system disk."""
    tenant = scene.tenant
    name = scene.servers[_CHANGED].name
    before = tenant.server(name)
    paths = tenant.disk_paths(before)
    for path in paths:
        guest.write(path, guest.Write(offset=8 << 20, length=64 << 10, pattern=0x5A))
    tenant.stop(name)
    old = scene.fingerprints("reading its disks", paths)
    old_files = [_file(path) for path in paths[1:]]

    tenant.change_os(name, WEB_IMAGE)
    after = tenant.server(name)
    new_paths = tenant.disk_paths(after)
    new = scene.fingerprints("reading its disks", new_paths)
    was, now = before.disks[0].disk, after.disks[0].disk
    scene.screen.say(name.rpartition("/")[2], f"system disk {was} is {now} now")
    scene.check(
        "R35",
        "the system disk is a new one, and the old one is gone",
        was != now and tenant.is_gone(tenant.disk, was) and not paths[0].exists(),
    )
    scene.check(
        "R35",
        "the new one is the image's, byte for byte; the old one had been written on",
        new[0] == scene.wanted[0] != old[0],
    )
    scene.check(
        "R35",
        "the data disks have the guest's content bit for bit, in the same untouched files",
        new[1:] == old[1:]
        and [_file(path) for path in new_paths[1:]] == old_files
        and all(digest != built for digest, built in zip(new[1:], scene.wanted[1:], strict=True)),
    )
    data_disks = [disk.disk for disk in before.disks[1:]]
    scene.check(
        "R35",
        "and there are as many as before, in the same order",
        [disk.disk for disk in after.disks[1:]] == data_disks,
    )
    scene.logical = after.disks[0].size_bytes


def _file(path: Path) -> tuple[Path, int, int, int]:
    """The identity of a file, and the time of its last write, in nanoseconds."""
    found = path.stat()
    return path, found.st_dev, found.st_ino, found.st_mtime_ns


def rebuild(scene: Scene) -> None:
    """Makes the server again when its source is gone; then deletes image and backup."""
    tenant = scene.tenant
    gone: list[tuple[Callable[[str], object], str]] = [(tenant.server, WEB)]
    gone += [(tenant.disk, disk.disk) for disk in scene.source.disks]
    tenant.delete_server(WEB)
    scene.check(
        "R64",
        "the source server is deleted, with its disks",
        all(tenant.is_gone(read, name) for read, name in gone),
    )
    tenant.create_servers("rebuilt", WEB_IMAGE)
    rebuilt = tenant.server(REBUILT)
    paths = tenant.disk_paths(rebuilt)
    found = scene.fingerprints("proving the rebuilt server", paths)
    scene.check(
        "R64",
        "the image made the server again: RUNNING, and byte for byte as at the freeze",
        rebuilt.state == server_pb2.SERVER_STATE_RUNNING and found == scene.wanted,
    )
    scene.logical = sum(disk.size_bytes for disk in rebuilt.disks)
    _delete_images(scene)
    found = scene.fingerprints("reading the rebuilt server", paths)
    scene.check("V8", "the rebuilt server lives on without image and backup", found == scene.wanted)


def _delete_images(scene: Scene) -> None:
    tenant = scene.tenant
    tenant.delete_image(WEB_IMAGE, delete_backup=False)
    left = tenant.backup(NIGHTLY)
    scene.check(
        "R45",
        "the image deleted without its backup leaves the backup AVAILABLE, and free",
        tenant.is_gone(tenant.image, WEB_IMAGE) and left.state == BACKUP_STATE_AVAILABLE and not left.image,
    )
    tenant.wait(tenant.request_image("second-image", NIGHTLY).operation, "ims")
    second = tenant.image(SECOND_IMAGE)
    scene.check(
        "R45",
        "another image of it can be made then",
        second.state == IMAGE_STATE_NORMAL and tenant.backup(NIGHTLY).image == SECOND_IMAGE,
    )
    tenant.delete_image(SECOND_IMAGE, delete_backup=True)
    scene.check(
        "R44",
        "deleted together with its backup, image and backup are gone",
        tenant.is_gone(tenant.image, SECOND_IMAGE) and tenant.is_gone(tenant.backup, NIGHTLY),
    )
