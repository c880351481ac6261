"""Whether a source was prepared is read from the backup's own bytes (R20 to R22)."""

import pytest

from recast.faults import RemoteRefusal
from recast.ims.v1 import image_pb2
from tests.harness.expectations import refused, state_of
from tests.harness.project import Tenant


@pytest.fixture(scope="module")
def sources_of(main: Tenant) -> Tenant:
    """The project with a backed-up server of each source: `old`, `win` and `win-prepared`."""
    for name in ("old", "win", "win-prepared"):
        main.import_image(name, f"{name}.raw")
        main.create_server(name, name)
        main.create_backup(name, name)
    return main


@pytest.mark.rule("R20", "R22", "R10")
def test_an_unprepared_linux_source_is_refused_with_every_missing_item(sources_of: Tenant) -> None:
    """The creation fails with each missing item as a violation, the image is in ERROR, and its lock is given
    back.
    """
    operation = sources_of.start_image("old-image", "old").operation
    with refused("SOURCE_NOT_CONFIGURED", backup=sources_of.backup("old")) as seen:
        sources_of.wait(operation, "ims")
    missing = {each.reason for each in seen[0].violations}
    assert {"CLOUD_INIT_INSTALLED", "FSTAB_BY_UUID"} <= missing
    image = sources_of.get_image("old-image")
    assert state_of(image) == "ERROR"
    assert image.error.message == seen[0].text
    assert sources_of.get_backup("old").image == ""
    with pytest.raises(RemoteRefusal) as again:
        sources_of.wait(sources_of.start_image("old-image-2", "old").operation, "ims")
    assert again.value.reason == "SOURCE_NOT_CONFIGURED"  # the lock was free: the same rule refuses again
    sources_of.delete_backup("old")


@pytest.mark.rule("R20")
def test_a_prepared_linux_source_is_accepted_and_the_checks_stand_on_the_image(sources_of: Tenant) -> None:
    """An image of a prepared Linux server names its system and has no required check missing."""
    sources_of.create_server("ready")
    sources_of.create_backup("ready", "ready")
    image = sources_of.create_image("ready", "ready")
    verdicts = {each.check: each.verdict for each in image.preparation}
    assert verdicts["CLOUD_INIT_INSTALLED"] == image_pb2.PREPARATION_VERDICT_OK
    assert not [
        each
        for each in image.preparation
        if each.required and each.verdict == image_pb2.PREPARATION_VERDICT_MISSING
    ]
    assert image.os_name == "Debian GNU/Linux 12 (bookworm)"


@pytest.mark.rule("R21", "R22")
def test_a_windows_source_without_cloudbase_init_is_refused(sources_of: Tenant) -> None:
    """A Windows server needs Cloudbase-Init; without it the creation fails with that item."""
    with refused("SOURCE_NOT_CONFIGURED", backup=sources_of.backup("win")) as seen:
        sources_of.wait(sources_of.start_image("win-image", "win").operation, "ims")
    assert [each.reason for each in seen[0].violations] == ["CLOUDBASE_INIT_INSTALLED"]


@pytest.mark.rule("R21")
def test_a_windows_source_with_cloudbase_init_is_accepted(sources_of: Tenant) -> None:
    """An image of a Windows server with Cloudbase-Init becomes NORMAL."""
    image = sources_of.create_image("win-prepared-image", "win-prepared")
    assert (state_of(image), image.os_name) == ("NORMAL", "Windows")


@pytest.mark.rule("R22")
def test_where_preparation_is_not_enforced_the_findings_stand_on_the_image(strict: Tenant) -> None:
    """With RECAST_IMS_PREPARATION=warn the image of an unprepared server becomes NORMAL,
    with its missing items.
    """
    strict.import_image("warned", "old.raw")
    strict.create_server("warned", "warned")
    strict.create_backup("warned", "warned")
    image = strict.create_image("warned-image", "warned")
    assert state_of(image) == "NORMAL"
    missing = {
        each.check for each in image.preparation if each.verdict == image_pb2.PREPARATION_VERDICT_MISSING
    }
    assert {"CLOUD_INIT_INSTALLED", "FSTAB_BY_UUID"} <= missing
