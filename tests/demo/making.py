"""The first half of the demo: disks, a server, its backup, the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from recast.content.v1.content_pb2 import DISK_ROLE_DATA, DISK_ROLE_SYSTEM
from recast.csbs.v1.backup_pb2 import Backup
from recast.ecs.v1 import server_pb2
from recast.ecs.v1.server_service_pb2 import DataDiskSpec
from recast.faults import RemoteRefusal
from recast.ims.v1 import image_pb2
from tests.demo import guest
from tests.demo.fingerprints import fingerprint_of_file
from tests.demo.scene import BuiltDisk, Scene, allocated_bytes, sized
from tests.demo.screen import human_size
from tests.demo.tenant import name_of
from tests.demo.watching import BackupWatch, Sight
from tests.harness import disks

WEB = name_of("servers", "web")
NIGHTLY = name_of("backups", "nightly")
WEB_IMAGE = name_of("images", "web-image")
LOGS, MEDIA = "logs", "media"

AFTER_FREEZE = guest.Write(offset=4 << 20, length=1 << 20)
"""The guest's write on the disk `media` after the backup's content is decided."""


def build(scene: Scene) -> None:
    """Builds the disks, and takes their fingerprints before anything else sees them."""
    scale = scene.scale
    system, logs, media = (scene.folder / "built" / f"{name}.raw" for name in ("system", LOGS, MEDIA))
    makers: dict[Path, tuple[str, Callable[[], object]]] = {
        system: (
            "GPT, ext4: a prepared Debian, and files of this machine",
            lambda: disks.make_system_disk(system, scale.system_bytes, scale.system_content_bytes),
        ),
        logs: ("ext4: text", lambda: disks.make_text_disk(logs, scale.data_bytes, scale.data_content_bytes)),
        media: (
            "no file system: noise that does not compress",
            lambda: disks.make_incompressible_disk(media, scale.data_bytes, scale.data_content_bytes),
        ),
    }
    system.parent.mkdir()
    for path, (content, make) in makers.items():
        with scene.screen.busy(f"building {path.name}"):
            make()
            size = path.stat().st_size
            role = "system" if path == system else f"data-{len(scene.built)}"
            scene.built.append(BuiltDisk(role, path, size, fingerprint_of_file(path)))
        data = path.stat().st_blocks * 512
        scene.screen.say(path.stem, sized((size, f"with {human_size(data)} in it, {content}")))
    with scene.screen.busy("converting the system disk to qcow2"):
        disks.to_qcow2(system, system.with_suffix(".qcow2"), compressed=False)
    scene.record.measures.logical = scene.logical = sum(disk.size_bytes for disk in scene.built)


def import_disks(scene: Scene) -> None:
    """Makes an image of each disk."""
    system, logs, media = (disk.path for disk in scene.built)
    uploads = (
        (
            system.with_suffix(".qcow2"),
            "system",
            image_pb2.IMAGE_KIND_SYSTEM_DISK,
            image_pb2.DISK_FORMAT_QCOW2,
        ),
        (logs, LOGS, image_pb2.IMAGE_KIND_DATA_DISK, image_pb2.DISK_FORMAT_RAW),
        (media, MEDIA, image_pb2.IMAGE_KIND_DATA_DISK, image_pb2.DISK_FORMAT_RAW),
    )
    images = [scene.tenant.import_image(*upload) for upload in uploads]
    for image, (path, *_) in zip(images, uploads, strict=True):
        kind = image_pb2.ImageKind.Name(image.kind).removeprefix("IMAGE_KIND_")
        scene.screen.say(path.name, f"{image.name}  {kind}  {_state(image)}  {image.os_name}".rstrip())
    scene.check(
        "R47", "three files were imported, and each image is NORMAL", {*map(_state, images)} == {"NORMAL"}
    )
    scene.logical = sum(image.size_bytes for image in images)


def create_source(scene: Scene) -> None:
    """Makes the source server of all later steps."""
    tenant = scene.tenant
    specs = [DataDiskSpec(image=name_of("images", name), display_name=name) for name in (LOGS, MEDIA)]
    tenant.create_servers("web", name_of("images", "system"), data_disks=specs, leave_stopped=True)
    was = tenant.server(WEB).state
    tenant.start(WEB)
    scene.source = tenant.server(WEB)
    for disk in scene.source.disks:
        scene.screen.say(disk.device, sized((disk.size_bytes, f" {disk.display_name}  {disk.disk}")))
    states = [server_pb2.ServerState.Name(state) for state in (was, scene.source.state)]
    scene.check(
        "R50",
        "a system image and two data images made one server: STOPPED as requested, RUNNING once started",
        states == ["SERVER_STATE_STOPPED", "SERVER_STATE_RUNNING"]
        and [disk.role for disk in scene.source.disks] == [DISK_ROLE_SYSTEM, DISK_ROLE_DATA, DISK_ROLE_DATA],
    )
    found = scene.fingerprints("reading the source's disks", tenant.disk_paths(scene.source))
    scene.check("R50", "its disks are, byte for byte, those that were built", found == scene.wanted)
    scene.logical = sum(disk.size_bytes for disk in scene.source.disks)


def back_up(scene: Scene) -> None:
    """Backs the server up, while its guest writes on and a restore of the backup comes too early."""
    tenant, screen = scene.tenant, scene.screen
    paths = tenant.disk_paths(scene.source)
    beneath = [guest.backing_file(path) for path in paths]
    frozen: list[bool] = []
    refusals: dict[str, RemoteRefusal | None] = {}

    def restore(when: str) -> None:
        question = f"Restoring it {when}:"
        refusals[when] = tenant.refused(question, lambda: tenant.request_restore(NIGHTLY))

    def on_change(sight: Sight, backup: Backup) -> None:
        screen.say(f"{sight.seconds:6.2f} s", sight.text)
        if sight.image_ready and not frozen:
            # A frozen disk stands on another file than before.
            frozen.extend(guest.backing_file(path) != old for path, old in zip(paths, beneath, strict=True))
            if sight.state == "CREATING":
                restore("as soon as it is marked")
            guest.write(paths[2], AFTER_FREEZE)

    answer = tenant.request_backup("nightly", WEB)
    first = tenant.backup(NIGHTLY)
    with BackupWatch(answer.backup, lambda: tenant.backup(NIGHTLY), on_change) as watch:
        restore("at once")
        tenant.wait(answer.operation, "csbs")
    backup = tenant.backup(NIGHTLY)
    data, stored = sum(disk.data_bytes for disk in backup.disks), backup.stored_bytes
    screen.say("content", sized((backup.size_bytes, "of disks"), (data, "of data"), (stored, "stored")))
    scene.record.measures.stored = allocated_bytes(scene.stack_folder / "store" / "csbs")
    scene.logical = backup.size_bytes
    _check_backup(scene, first, watch.sights, frozen, refusals)


def _check_backup(
    scene: Scene,
    first: Backup,
    sights: list[Sight],
    frozen: list[bool],
    refusals: Mapping[str, RemoteRefusal | None],
) -> None:
    seen = [(sight.state, sight.image_ready) for sight in sights]
    scene.check(
        "R03",
        "the backup showed CREATING in the answer, and when it was read right after it",
        seen[0] == ("CREATING", False) and _state(first) == "CREATING",
    )
    scene.check(
        "R04",
        'it showed CREATING, then CREATING with "Image can be created", then AVAILABLE, and nothing else',
        seen == [("CREATING", False), ("CREATING", True), ("AVAILABLE", True)],
    )
    scene.check(
        "R04", "every disk of the server was frozen when the mark was first seen", frozen == [True] * 3
    )
    for when in ("at once", "as soon as it is marked"):
        scene.check_refusal(
            "R05", f"restoring it {when} was refused", refusals.get(when), "BACKUP_NOT_RESTORABLE", NIGHTLY
        )


def write_on(scene: Scene) -> None:
    """Proves that the guest's write, made after the freeze, is on the source."""
    media = scene.tenant.disk_paths(scene.source)[2]
    where = f"of {human_size(AFTER_FREEZE.length)} at {human_size(AFTER_FREEZE.offset)} of {MEDIA}"
    scene.screen.say("qemu-io", f"a write {where}, when the mark was seen")
    [found] = scene.fingerprints("reading the source's disk", [media])
    scene.check(
        "R13",
        "the source's disk has the write, and differs from its content at the freeze",
        guest.holds(media, AFTER_FREEZE) and found != scene.built[2].fingerprint,
    )


def make_image(scene: Scene) -> None:
    """Makes the full-server image, and tries the calls that must be refused."""
    tenant, screen = scene.tenant, scene.screen
    images_before = tenant.image_names()
    refusal = tenant.refused(
        "Making an image of it without agreeing to the Image Disclaimer:",
        lambda: tenant.request_image("web-image", NIGHTLY, disclaimer_accepted=False),
    )
    scene.check_refusal("R59", "that was refused", refusal, "DISCLAIMER_NOT_ACCEPTED")
    nothing_new = tenant.image_names() == images_before and not tenant.backup(NIGHTLY).image
    scene.check("R59", "and left nothing: no image, no lock on the backup", nothing_new)

    stored_before = allocated_bytes(scene.stack_folder / "store")
    answer = tenant.request_image("web-image", NIGHTLY)
    tenant.wait(answer.operation, "ims")
    image = tenant.image(WEB_IMAGE)
    stored = allocated_bytes(scene.stack_folder / "store") - stored_before
    as_should_be = sum(each.verdict == image_pb2.PREPARATION_VERDICT_OK for each in image.preparation)
    screen.say("web-image", f"{_state(image)}  {image.os_name}  {image.disk_count} disks")
    screen.say(
        "preparation", f"{as_should_be} of {len(image.preparation)} checks of the source came out well"
    )
    scene.check("R37", "with the agreement it is made: the image is NORMAL", _state(image) == "NORMAL")
    scene.check(
        "R52", f"making it copied nothing: the chunk stores grew by {human_size(stored)}", stored < 1 << 20
    )
    _check_default_disks(scene)

    _try_again(scene)
    scene.logical = image.size_bytes


def _check_default_disks(scene: Scene) -> None:
    defaults = scene.tenant.default_disks(WEB_IMAGE)
    for disk in defaults:
        scene.screen.say(disk.id, sized((disk.size_bytes, disk.display_name)))
    expected = [
        (built.role, disk.role, disk.position, disk.display_name, built.size_bytes)
        for built, disk in zip(scene.built, scene.source.disks, strict=True)
    ]
    found = [(disk.id, disk.role, disk.position, disk.display_name, disk.size_bytes) for disk in defaults]
    scene.check("R39", "the image's default disks are the source's, in its order", found == expected)


def _try_again(scene: Scene) -> None:
    tenant = scene.tenant
    second = tenant.refused(
        "Making a second image of the same backup:", lambda: tenant.request_image("second-image", NIGHTLY)
    )
    scene.check_refusal(
        "R09",
        "that was refused, and the refusal names the first",
        second,
        "BACKUP_ALREADY_HAS_IMAGE",
        WEB_IMAGE,
    )
    deletion = tenant.refused("Deleting the backup:", lambda: tenant.request_deletion_of_backup(NIGHTLY))
    scene.check_refusal(
        "R15", "that was refused, and the refusal names the image", deletion, "BACKUP_HAS_IMAGE", WEB_IMAGE
    )
    scene.check("R15", "the backup is still AVAILABLE", _state(tenant.backup(NIGHTLY)) == "AVAILABLE")


def _state(message: Backup | image_pb2.Image) -> str:
    """The state of a backup or an image, as a console prints it."""
    kind = message.DESCRIPTOR.fields_by_name["state"].enum_type
    name = str(kind.values_by_number[message.state].name)
    return name.partition("_STATE_")[2]
