"""CreateImage: its sources, its refusals, and the leftovers of a failed creation."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from recast.longrunning.v1.operation_metadata_pb2 import OPERATION_STATE_SUCCEEDED
from tests.harness.expectations import metadata_of, refused, state_of
from tests.harness.project import Tenant


@pytest.fixture(scope="module")
def backed(main: Tenant) -> Tenant:
    """The project with the server `made` of two disks, and its backup `made`, of which every refused test
    makes no image.
    """
    main.create_server("made", data_disks=[ecs_pb.DataDiskSpec(image=main.image("media-1"))])
    main.create_backup("made", "made")
    return main


@pytest.mark.rule("R01", "R37", "R63")
def test_an_image_is_listed_at_once_and_normal_at_the_end(backed: Tenant) -> None:
    """The answer has the image CREATING, the list has it from then on, and its
    operation ends with it NORMAL.
    """
    backed.create_backup("listed", "made")
    answer = backed.start_image("listed", "listed")
    assert state_of(answer.image) == "CREATING"
    request = ims_pb.ListImagesRequest(parent=backed.parent, filter='display_name = "listed"')
    assert [image.name for image in backed.recast.images.ListImages(request).images] == [answer.image.name]
    image = backed.result(answer.operation, "ims", image_pb2.Image)
    assert state_of(image) == "NORMAL"
    assert image.source_backup == backed.backup("listed")
    assert image.source_server == backed.server("made")
    assert (image.disk_count, image.min_disk_bytes) == (2, (64 << 20) + 2560)
    assert image.size_bytes == (64 << 20) + 2560 + (5 << 20) + 1536
    metadata = metadata_of(backed.get_operation(answer.operation, "ims"))
    assert (metadata.state, metadata.progress_percent) == (OPERATION_STATE_SUCCEEDED, 100)
    assert (metadata.verb, metadata.target) == ("CreateImage", image.name)
    assert backed.get_backup("listed").image == image.name


@pytest.mark.rule("R01")
def test_an_image_is_made_without_writing_a_chunk(backed: Tenant) -> None:
    """Making a full-server image adds nothing to any chunk store: it is its backup's content."""
    backed.create_backup("copies", "made")
    before = [backed.cloud.chunks(service, "main") for service in ("csbs", "ims")]
    backed.create_image("copies", "copies")
    assert [backed.cloud.chunks(service, "main") for service in ("csbs", "ims")] == before


@pytest.mark.rule("R38", "R39")
def test_the_defaults_are_every_disk_of_the_image(backed: Tenant) -> None:
    """GetProvisioningDefaults has the system disk and each data disk, and a request that names none gets
    these.
    """
    backed.create_backup("defaults", "made")
    backed.create_image("defaults", "defaults")
    request = ims_pb.GetProvisioningDefaultsRequest(name=backed.image("defaults"))
    defaults = backed.recast.images.GetProvisioningDefaults(request).disks
    assert [(disk.id, disk.position) for disk in defaults] == [("system", 0), ("data-1", 1)]
    made = backed.create_server("defaults", "defaults")
    assert [disk.size_bytes for disk in made.disks] == [disk.size_bytes for disk in defaults]
    assert [disk.role for disk in made.disks] == [disk.role for disk in defaults]


@pytest.mark.rule("R37", "R38")
def test_an_image_that_is_not_normal_is_not_used(backed: Tenant) -> None:
    """Before an image is NORMAL it makes no server, has no defaults, and serves no change of OS."""
    backed.create_server("impatient", leave_stopped=True)
    change = ecs_pb.ChangeServerOsRequest(name=backed.server("impatient"), image=backed.image("soon"))
    defaults = ims_pb.GetProvisioningDefaultsRequest(name=backed.image("soon"))
    with backed.unfinished_backup("soon", "made") as backup:
        image = backed.start_image("soon", "soon")
        wanted = {
            "image": backed.image("soon"),
            "state": "CREATING",
            "rule": "R37",
            "vendor_code": "IMG.0046",
        }
        with refused("IMAGE_NOT_NORMAL", **wanted):
            backed.start_servers("impatient-2", "soon")
        with refused("IMAGE_NOT_NORMAL", **wanted):
            backed.recast.servers.ChangeServerOs(change)
        with refused("IMAGE_NOT_NORMAL", **wanted):
            backed.recast.images.GetProvisioningDefaults(defaults)
    backed.wait(backup.operation, "csbs")
    backed.wait(image.operation, "ims")
    assert len(backed.recast.images.GetProvisioningDefaults(defaults).disks) == 2


@pytest.mark.rule("R09")
def test_a_second_image_of_a_backup_is_refused_and_names_the_first(backed: Tenant) -> None:
    """A backup that an image stands on gets no other; the refusal names that image."""
    backed.create_backup("second", "made")
    backed.create_image("second", "second")
    first = backed.image("second")
    with refused(
        "BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS, image=first, rule="R09", vendor_code="IMG.0134"
    ) as seen:
        backed.start_image("second-2", "second")
    assert [(each.reason, each.resource) for each in seen[0].violations] == [
        ("BACKUP_ALREADY_HAS_IMAGE", first)
    ]
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        backed.get_image("second-2")


@pytest.mark.rule("R09", "R10")
def test_of_sixteen_images_at_once_one_stands(backed: Tenant) -> None:
    """Of sixteen callers that create an image of one backup at once, one gets it, the others are
    refused and leave no image.
    """
    backed.create_backup("race", "made")

    def race(number: int) -> str:
        try:
            answer = backed.start_image(f"race-{number}", "race")
            return state_of(backed.result(answer.operation, "ims", image_pb2.Image))
        except RemoteRefusal as refusal:
            return refusal.reason

    with ThreadPoolExecutor(16) as pool:
        ends = sorted(pool.map(race, range(16)))
    assert ends == 15 * ["BACKUP_ALREADY_HAS_IMAGE"] + ["NORMAL"]
    request = ims_pb.ListImagesRequest(
        parent=backed.parent, filter=f'source_backup = "{backed.backup("race")}"'
    )
    backed.wait_until_idle("ims")  # refused by their answers, the others are undone
    images = backed.recast.images.ListImages(request).images
    assert [state_of(image) for image in images] == ["NORMAL"]
    assert backed.get_backup("race").image == images[0].name


@pytest.mark.rule("R02")
def test_a_backup_in_error_makes_no_image(backed: Tenant) -> None:
    """A backup that is in ERROR is no source of an image."""
    with backed.unfinished_backup("failed", "made") as answer:
        backed.cancel(answer.operation, "csbs")
        assert backed.end(answer.operation, "csbs").state
    assert state_of(backed.get_backup("failed")) == "ERROR"
    with refused(
        "BACKUP_NOT_IMAGE_READY", backup=backed.backup("failed"), rule="R02", vendor_code="CSBS.8001"
    ):
        backed.start_image("failed", "failed")


@pytest.mark.rule("R07")
def test_a_backup_without_a_system_disk_makes_no_image(backed: Tenant) -> None:
    """A backup that holds no system disk is no source of an image."""
    backed.create_backup("bare", "made")
    backup = backed.get_backup("bare")
    del backup.disks[0]
    # Every server has a system disk, so no backup is without: its row is changed instead.
    lacking = type(backup)(disks=backup.disks).SerializeToString()
    backed.cloud.execute(
        "csbs", "UPDATE backup SET disks = :disks WHERE name = :name", disks=lacking, name=backup.name
    )
    with refused("BACKUP_WITHOUT_SYSTEM_DISK", backup=backup.name, rule="R07", vendor_code="CSBS.8009"):
        backed.start_image("bare", "bare")


@pytest.mark.rule("R08")
def test_a_backup_with_shared_disks_makes_no_image_and_every_one_is_named(backed: Tenant) -> None:
    """Backing up a server with shared disks is allowed; an image of that backup is refused, naming each
    shared disk.
    """
    data = [
        ecs_pb.DataDiskSpec(size_bytes=1 << 20, shared=True),
        ecs_pb.DataDiskSpec(size_bytes=1 << 20, shared=True),
    ]
    server = backed.create_server("sharing", data_disks=data)
    backup = backed.create_backup("sharing", "sharing")
    assert [disk.shared for disk in backup.disks] == [False, True, True]
    names = [disk.disk for disk in server.disks[1:]]
    with refused("BACKUP_HAS_SHARED_DISK", rule="R08") as seen:
        backed.start_image("sharing", "sharing")
    assert [each.resource for each in seen[0].violations] == names
    backed.detach("sharing-data-1", "sharing")
    backed.detach("sharing-data-2", "sharing")
    with refused("BACKUP_HAS_SHARED_DISK"):
        backed.start_image("sharing", "sharing")  # the role of the disk at its backup counts
    backed.create_backup("alone", "sharing")
    assert state_of(backed.create_image("alone", "alone")) == "NORMAL"


@pytest.mark.parametrize("given", [(), ("backup", "server")])
@pytest.mark.rule("R53")
@pytest.mark.fault("FAULT-W04")
def test_an_image_is_made_of_exactly_one_source(backed: Tenant, given: tuple[str, ...]) -> None:
    """Without a source, and with both, a request is refused, and no backup is made."""
    named = {"backup": backed.backup("made"), "server": backed.server("made")}
    request = ims_pb.CreateImageRequest(
        parent=backed.parent,
        image=image_pb2.Image(display_name="x"),
        disclaimer_accepted=True,
        **{source: named[source] for source in given},
    )
    before = backed.recast.backups.ListBackups(csbs_pb.ListBackupsRequest(parent=backed.parent))
    with refused("IMAGE_SOURCE_INVALID", Kind.INVALID_ARGUMENT, rule="R53") as seen:
        backed.recast.images.CreateImage(request)
    assert [each.field for each in seen[0].fields] == ["backup", "server"]
    assert backed.recast.backups.ListBackups(csbs_pb.ListBackupsRequest(parent=backed.parent)) == before


@pytest.mark.rule("R53")
def test_an_image_of_a_server_stands_on_a_new_backup_of_it(backed: Tenant) -> None:
    """For an image of a server, IMS has the server backed up first, and the image stands on that backup."""
    request = ims_pb.CreateImageRequest(
        parent=backed.parent,
        image_id="direct",
        image=image_pb2.Image(display_name="direct"),
        server=backed.server("made"),
        disclaimer_accepted=True,
    )
    image = backed.result(backed.recast.images.CreateImage(request).operation, "ims", image_pb2.Image)
    backup = backed.recast.backups.GetBackup(csbs_pb.GetBackupRequest(name=image.source_backup)).backup
    assert (state_of(image), state_of(backup)) == ("NORMAL", "AVAILABLE")
    assert (backup.server, backup.image) == (backed.server("made"), image.name)


@pytest.mark.parametrize("name", ["", " leading", "trailing ", "a" * 129, "sl/ash"])
@pytest.mark.rule("R54")
def test_an_image_needs_a_well_formed_name(backed: Tenant, name: str) -> None:
    """A name that is missing or malformed is refused, and the field is named."""
    with refused("IMAGE_NAME_INVALID", Kind.INVALID_ARGUMENT, rule="R54", vendor_code="IMG.0003") as seen:
        backed.start_image("named", "made", image=image_pb2.Image(display_name=name))
    assert [each.field for each in seen[0].fields] == ["image.display_name"]


@pytest.mark.parametrize("text", ["<b>", "two\nlines", "a" * 1025])
@pytest.mark.rule("R58")
def test_a_malformed_description_is_refused(backed: Tenant, text: str) -> None:
    """A description that is too long, or has a line break or an angle bracket, is refused."""
    image = image_pb2.Image(display_name="x", description=text)
    with refused("IMAGE_DESCRIPTION_INVALID", Kind.INVALID_ARGUMENT, rule="R58", vendor_code="IMG.0054"):
        backed.start_image("described", "made", image=image)


@pytest.mark.rule("R54", "R58")
def test_names_need_not_be_unique_and_a_description_may_be_given(backed: Tenant) -> None:
    """Two images may have one name, and the longest name and description are taken."""
    image = image_pb2.Image(display_name="n" * 128, description="d" * 1024)
    for number in (1, 2):
        backed.create_backup(f"twin-{number}", "made")
        operation = backed.start_image(f"twin-{number}", f"twin-{number}", image=image).operation
        assert backed.result(operation, "ims", image_pb2.Image).description == "d" * 1024


@pytest.mark.rule("R59")
def test_the_disclaimer_is_agreed_to_first(backed: Tenant) -> None:
    """Without the agreement to the Image Disclaimer nothing is made."""
    with refused("DISCLAIMER_NOT_ACCEPTED", rule="R59"):
        backed.start_image("silent", "made", disclaimer_accepted=False)
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        backed.get_image("silent")


@pytest.mark.rule("R59")
@pytest.mark.fault("FAULT-W11")
def test_the_disclaimer_that_is_agreed_to_is_the_one_that_is_shown(backed: Tenant) -> None:
    """The text is shown with its version; the agreement to another version is refused, that to it is not."""
    shown = backed.recast.images.GetDisclaimer(ims_pb.GetDisclaimerRequest(parent=backed.parent))
    assert shown.text.startswith("# The Image Disclaimer\n")
    for version in ("0", f"{shown.version} ", "latest"):
        with refused("DISCLAIMER_NOT_ACCEPTED", rule="R59", version=shown.version):
            backed.start_image("silent", "made", disclaimer_version=version)
    backed.create_backup("read", "made")
    backed.start_image("read", "read", disclaimer_version=shown.version, validate_only=True)


def test_an_id_that_is_taken_is_refused_and_the_backup_stays_free(backed: Tenant) -> None:
    """An image's id is used once; a refused request takes no lock."""
    with refused("IMAGE_ID_TAKEN", Kind.ALREADY_EXISTS, image=backed.image("sys")):
        backed.start_image("sys", "made")
    assert backed.get_backup("made").image == ""
