"""Whether images can be made of backups: every rule in the way, for people and for IMS."""

import pytest

from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind
from recast.imagelock.v1 import image_eligibility_service_pb2 as pb
from recast.imagelock.v1 import image_lock_service_pb2 as lock_pb
from recast.rpc.status import refusal_from_status
from tests.harness.expectations import refused
from tests.harness.project import Tenant


def check(tenant: Tenant, *backups: str) -> list[pb.ImageEligibility]:
    """The answer of CheckImageEligibility for backups, by their ids."""
    request = pb.CheckImageEligibilityRequest(
        parent=tenant.parent, backups=[tenant.backup(each) for each in backups]
    )
    return list(tenant.recast.eligibility.CheckImageEligibility(request).results)


@pytest.fixture(scope="module")
def shared_disk(main: Tenant) -> str:
    """A backup of a server with a shared disk: no image can be made of it."""
    main.create_server("check", data_disks=[ecs_pb.DataDiskSpec(size_bytes=512, shared=True)])
    main.create_backup("check", "check")
    return "check"


@pytest.mark.rule("R02", "R07", "R08", "R09")
def test_the_check_names_every_rule_in_the_way(main: Tenant, shared_disk: str) -> None:
    """Every rule in the way is a refusal of its own; CreateImage gives all of them as one refusal."""
    (before,) = check(main, shared_disk)
    assert [refusal_from_status(each).reason for each in before.violations] == ["BACKUP_HAS_SHARED_DISK"]
    shown = main.get_backup(shared_disk)
    del shown.disks[0]
    main.cloud.execute(
        "csbs",
        "UPDATE backup SET state = 'ERROR', image = :image, disks = :disks WHERE name = :name",
        image=main.image("holder"),
        disks=type(shown)(disks=shown.disks).SerializeToString(),
        name=main.backup(shared_disk),
    )
    (answer,) = check(main, shared_disk)
    assert not answer.eligible
    found = [refusal_from_status(each) for each in answer.violations]
    assert [(each.reason, each.rule, each.violation().resource) for each in found] == [
        ("BACKUP_ALREADY_HAS_IMAGE", "R09", main.image("holder")),
        ("BACKUP_NOT_IMAGE_READY", "R02", main.backup(shared_disk)),
        ("BACKUP_WITHOUT_SYSTEM_DISK", "R07", main.backup(shared_disk)),
        ("BACKUP_HAS_SHARED_DISK", "R08", main.disk("check-data-1")),
    ]
    assert {each.domain for each in found} == {"csbs.recast"}
    lock = lock_pb.LockBackupRequest(
        backup=main.backup(shared_disk), image=main.image("other"), request_id="eligibility"
    )
    with refused("BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS) as by_lock:
        main.as_service("ims").locks.LockBackup(lock)
    with refused("BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS) as by_image:
        main.start_image("check", shared_disk)
    for refusal in (by_lock[0], by_image[0]):
        assert refusal.violations == tuple(each.violation() for each in found)
        assert (refusal.metadata(), refusal.text) == (found[0].metadata(), found[0].text)


@pytest.mark.rule("R02")
def test_many_backups_are_checked_in_one_call(main: Tenant, shared_disk: str) -> None:
    """Each backup gets its own answer, in the order of the request; one that is not there is not eligible."""
    main.create_server("eligible")
    main.create_backup("eligible", "eligible")
    absent, eligible, shared = check(main, "absent", "eligible", shared_disk)
    assert [refusal_from_status(each).reason for each in absent.violations] == ["BACKUP_NOT_FOUND"]
    assert (absent.backup, absent.eligible, absent.server) == (main.backup("absent"), False, "")
    assert eligible == pb.ImageEligibility(
        backup=main.backup("eligible"), eligible=True, server=main.server("eligible"), sealed=True
    )
    assert (shared.backup, shared.eligible) == (main.backup(shared_disk), False)


@pytest.mark.rule("R61")
def test_backups_of_another_project_are_refused(main: Tenant) -> None:
    """A backup of another project is not there, whether it exists or not."""
    request = pb.CheckImageEligibilityRequest(
        parent=main.parent, backups=[main.backup("eligible"), "projects/elsewhere/backups/b"]
    )
    with refused("PROJECT_NOT_FOUND", Kind.NOT_FOUND, project="projects/elsewhere"):
        main.recast.eligibility.CheckImageEligibility(request)


@pytest.mark.parametrize("count", [0, 101])
def test_a_request_names_1_to_100_backups(main: Tenant, count: int) -> None:
    """A request without a backup, or with more than 100, is refused by its field."""
    request = pb.CheckImageEligibilityRequest(
        parent=main.parent, backups=[main.backup(f"b{number}") for number in range(count)]
    )
    with refused("REQUEST_INVALID", Kind.INVALID_ARGUMENT) as seen:
        main.recast.eligibility.CheckImageEligibility(request)
    assert [each.field for each in seen[0].fields] == ["backups"]
