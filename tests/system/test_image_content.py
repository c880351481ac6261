"""The content of an import is of its kind (R66) and judged (R67); a refused image is listed until deleted."""

import random
from pathlib import Path

import pytest

from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from tests.harness import disks
from tests.harness.expectations import refused, state_of
from tests.harness.project import Tenant

MIB = 1 << 20
NOISE = random.Random(5).randbytes(2 * MIB)
SWAP = bytes(4086) + b"SWAPSPACE2" + bytes(2 * MIB - 4096)
XFS = b"XFSB" + bytes(2 * MIB - 4)
VOLUME_GROUP = bytes(512) + b"LABELONE" + bytes(2 * MIB - 520)


def send(
    tenant: Tenant, folder: Path, image_id: str, content: bytes, kind: str, request_id: str = ""
) -> image_pb2.Image:
    """Imports a raw file of the content."""
    path = folder / "content.raw"
    path.write_bytes(content)
    header = tenant.header(image_id, path, kind=kind, request_id=request_id or f"content-{image_id}")
    header.image.display_name = f"the disk {image_id}"
    answer = tenant.recast.import_image(path, header)
    return tenant.result(answer.operation, "ims", image_pb2.Image)


@pytest.mark.fault("FAULT-W10", "FAULT-W07")
@pytest.mark.rule("R66", "R63")
@pytest.mark.parametrize(
    ("name", "content", "kind", "reason"),
    [
        ("noise", NOISE, "SYSTEM_DISK", "no known file system"),
        ("empty", bytes(2 * MIB), "SYSTEM_DISK", "holds nothing"),
        ("swap", SWAP, "SYSTEM_DISK", "holds swap"),
        ("iso-of-noise", NOISE, "ISO", "ISO 9660"),
        ("iso-of-zeros", bytes(2 * MIB), "ISO", "ISO 9660"),
        ("iso-of-xfs", XFS, "ISO", "ISO 9660"),
    ],
)
def test_content_of_another_kind_is_refused_and_listed(
    main: Tenant, tmp_path: Path, name: str, content: bytes, kind: str, reason: str
) -> None:
    """The operation fails and names the file by its display name; the image is listed in ERROR, with the same
    reason, and its id is used again.
    """
    with refused("IMAGE_CONTENT_MISMATCH", rule="R66") as seen:
        send(main, tmp_path, name, content, kind)
    assert f"the disk {name}" in seen[0].text
    assert reason in seen[0].text
    image = main.get_image(name)
    assert (state_of(image), image.error.message) == ("ERROR", seen[0].text)
    failed = f'state = "ERROR" AND display_name = "the disk {name}"'
    request = ims_pb.ListImagesRequest(parent=main.parent, filter=failed)
    listed = main.recast.images.ListImages(request)
    assert [each.name for each in listed.images] == [image.name]
    again = send(main, tmp_path, name, content, "DATA_DISK", request_id=f"again-{name}")
    assert (again.name, state_of(again), again.HasField("error")) == (image.name, "NORMAL", False)


@pytest.mark.fault("FAULT-W10", "FAULT-W05")
@pytest.mark.rule("R67", "R22")
@pytest.mark.parametrize(
    ("name", "content", "found"),
    [("xfs", XFS, "xfs, which is not read"), ("lvm", VOLUME_GROUP, "lvm2, which is not read")],
)
def test_what_is_not_read_is_imported_with_a_warning_and_makes_no_image(
    main: Tenant, tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    """A system disk that is not read is taken, with a warning in words; an image of its server is refused."""
    image = send(main, tmp_path, f"unread-{name}", content, "SYSTEM_DISK")
    required = [each for each in image.preparation if each.required]
    assert [(each.check, each.remedy) for each in required] == [("SYSTEM_READABLE", "")]
    assert [found in warning for warning in image.warnings] == [True]
    main.create_server(f"unread-{name}", f"unread-{name}", leave_stopped=True)
    main.create_backup(f"unread-{name}", f"unread-{name}")
    with refused("SOURCE_NOT_CONFIGURED", rule="R22") as seen:
        main.create_image(f"of-unread-{name}", f"unread-{name}")
    assert found in seen[0].text
    assert main.get_image(f"of-unread-{name}").error.message == seen[0].text


@pytest.mark.fault("FAULT-W05")
@pytest.mark.rule("R67")
def test_an_import_is_judged_like_a_backup(main: Tenant) -> None:
    """A system disk of an unprepared server is imported with the findings and a warning, in words."""
    image = main.import_image("judged", "old.raw")
    missing = {
        each.check for each in image.preparation if each.verdict == image_pb2.PREPARATION_VERDICT_MISSING
    }
    assert {"CLOUD_INIT_INSTALLED", "FSTAB_BY_UUID"} <= missing
    assert image.warnings[-1].startswith("3 required checks are not met: CLOUD_INIT_INSTALLED (")
    assert list(main.get_image("sys").warnings) == []


@pytest.mark.fault("FAULT-W10")
@pytest.mark.rule("R66")
def test_a_data_disk_with_a_system_is_taken_with_a_warning(main: Tenant) -> None:
    """A data disk is for data alone: one with an operating system is imported with a warning."""
    image = main.import_image("data-with-system", "old.raw", kind="DATA_DISK")
    (warning,) = image.warnings
    assert "Debian GNU/Linux 12" in warning
    assert (image.os_name, list(image.preparation)) == ("", [])
    assert list(main.get_image("logs").warnings) == []


@pytest.mark.fault("FAULT-W05")
@pytest.mark.rule("R22")
def test_what_is_partly_unknown_is_a_warning_on_the_image(main: Tenant, tmp_path: Path) -> None:
    """An image of a server of which one required check is unknown is made, and carries the warning."""
    path = tmp_path / "partly.raw"
    disks.make_system_disk(path, 32 * MIB, 0, files={"/etc/fstab": "#" * (2 * MIB)})
    answer = main.recast.import_image(path, main.header("partly", path))
    main.result(answer.operation, "ims", image_pb2.Image)
    main.create_server("partly", "partly", leave_stopped=True)
    main.create_backup("partly", "partly")
    image = main.create_image("of-partly", "partly")
    (warning,) = image.warnings
    assert warning.startswith("1 required check is unknown: FSTAB_BY_UUID (/etc/fstab")


@pytest.mark.fault("FAULT-N01", "FAULT-W07")
@pytest.mark.rule("R09")
def test_an_image_stands_though_its_lock_was_lost(main: Tenant) -> None:
    """IMS itself refuses a second image of a backup, also when CSBS has no lock of the first any more."""
    main.create_server("twofold", leave_stopped=True)
    main.create_backup("twofold", "twofold")
    main.create_image("twofold", "twofold")
    main.cloud.execute(
        "csbs", "UPDATE backup SET image = '', serialized = :none WHERE name = :name",
        name=main.backup("twofold"), none=b"",
    )  # fmt: skip
    main.cloud.execute(
        "csbs", "UPDATE image_lock SET state = 'RELEASED' WHERE backup = :name", name=main.backup("twofold")
    )
    with refused("BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS, image=main.image("twofold"), rule="R09"):
        main.start_image("twofold-2", "twofold")
    with pytest.raises(RemoteRefusal, match="there is no image"):
        main.get_image("twofold-2")
    main.delete_image("twofold")
