"""The lock of an image on a backup: one at a time, fenced by its token, never brought back (R09, R10)."""

from collections.abc import Callable

import pytest

from recast.faults import Kind
from recast.imagelock.v1 import image_lock_service_pb2 as pb
from tests.harness.expectations import refused
from tests.harness.project import Tenant


class Locks:
    """The lock calls on one backup, as IMS makes them."""

    def __init__(self, tenant: Tenant, backup_id: str) -> None:
        self._stub = tenant.as_service("ims").locks
        self._image = tenant.image
        self.backup = tenant.backup(backup_id)

    def take(self, image: str, request_id: str) -> pb.ImageLock:
        """LockBackup."""
        request = pb.LockBackupRequest(backup=self.backup, image=self._image(image), request_id=request_id)
        return self._stub.LockBackup(request).lock

    def confirm(self, image: str, token: int) -> pb.ImageLock:
        """ConfirmLock."""
        request = pb.ConfirmLockRequest(backup=self.backup, image=self._image(image), token=token)
        return self._stub.ConfirmLock(request).lock

    def release(self, image: str, token: int = 0, request_id: str = "") -> pb.ImageLock:
        """ReleaseLock."""
        request = pb.ReleaseLockRequest(
            backup=self.backup, image=self._image(image), token=token, request_id=request_id
        )
        return self._stub.ReleaseLock(request).lock

    def content(self, image: str, token: int) -> pb.GetBackupContentResponse:
        """GetBackupContent."""
        request = pb.GetBackupContentRequest(backup=self.backup, image=self._image(image), token=token)
        return self._stub.GetBackupContent(request)


@pytest.fixture(scope="module")
def locks_on(main: Tenant) -> Callable[[str], Locks]:
    """Gives the locks of a new backup, by its id."""
    main.create_server("locked")

    def make(backup_id: str) -> Locks:
        main.create_backup(backup_id, "locked")
        return Locks(main, backup_id)

    return make


@pytest.mark.rule("R09", "R10")
def test_a_lock_is_one_images_until_it_is_released(main: Tenant, locks_on: Callable[[str], Locks]) -> None:
    """One image holds a backup; another is refused, by name of the holder, until the lock is given back."""
    locks = locks_on("lock-one")
    lock = locks.take("first", "r1")
    assert pb.LockState.Name(lock.state) == "LOCK_STATE_HELD"
    assert main.get_backup("lock-one").image == main.image("first")
    with refused("BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS, image=main.image("first"), rule="R09"):
        locks.take("second", "r2")
    assert pb.LockState.Name(locks.confirm("first", lock.token).state) == "LOCK_STATE_CONFIRMED"
    assert pb.LockState.Name(locks.release("first", lock.token).state) == "LOCK_STATE_RELEASED"
    assert main.get_backup("lock-one").image == ""
    assert locks.take("second", "r3").token > lock.token


def test_a_lock_is_no_change_of_its_backup(main: Tenant, locks_on: Callable[[str], Locks]) -> None:
    """But for who holds it: its owner, who has read it, may still write by its etag."""
    locks = locks_on("lock-unchanged")
    before = main.get_backup("lock-unchanged")
    token = locks.take("first", "r1").token
    held = main.get_backup("lock-unchanged")
    assert (held.image, before.image) == (main.image("first"), "")
    held.image = ""
    assert held == before
    locks.release("first", token)
    assert main.get_backup("lock-unchanged") == before


@pytest.mark.rule("R09")
def test_a_row_of_an_earlier_version_is_locked_alike(main: Tenant, locks_on: Callable[[str], Locks]) -> None:
    """A row without a serialized message is read by its columns."""
    locks = locks_on("lock-earlier")
    before = main.get_backup("lock-earlier")
    earlier = "UPDATE backup SET serialized = '' WHERE name = :name"
    main.cloud.execute("csbs", earlier, name=locks.backup)
    assert locks.take("first", "r1").token == 1
    held = main.get_backup("lock-earlier")
    assert held.image == main.image("first")
    held.image = ""
    assert held == before
    with refused("BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS, image=main.image("first"), rule="R09"):
        locks.take("second", "r2")


@pytest.mark.rule("R10")
def test_the_same_request_gets_the_same_lock(locks_on: Callable[[str], Locks]) -> None:
    """A LockBackup repeated gets the lock that it has."""
    locks = locks_on("lock-same")
    assert locks.take("first", "r1") == locks.take("first", "r1")


@pytest.mark.rule("R10")
def test_a_late_duplicate_does_not_bring_a_lock_back(main: Tenant, locks_on: Callable[[str], Locks]) -> None:
    """A LockBackup that comes after its lock was released is refused for ever, though the backup is free."""
    locks = locks_on("lock-late")
    locks.release("first", locks.take("first", "r1").token)
    with refused("LOCK_RELEASED", Kind.ABORTED, backup=locks.backup):
        locks.take("first", "r1")
    assert main.get_backup("lock-late").image == ""


@pytest.mark.rule("R10")
def test_a_release_that_overtakes_its_lock_refuses_it(locks_on: Callable[[str], Locks]) -> None:
    """A ReleaseLock that comes before its LockBackup leaves the tombstone that refuses it; other requests are
    free.
    """
    locks = locks_on("lock-overtaken")
    assert pb.LockState.Name(locks.release("first", request_id="r1").state) == "LOCK_STATE_RELEASED"
    with refused("LOCK_RELEASED", Kind.ABORTED):
        locks.take("first", "r1")
    assert locks.take("first", "r2").token == 1


@pytest.mark.rule("R10")
def test_a_stale_token_is_refused(locks_on: Callable[[str], Locks]) -> None:
    """The owner of a lock that was released, or another's, can neither confirm with its token nor read."""
    locks = locks_on("lock-stale")
    stale = locks.take("first", "r1").token
    locks.release("first", stale)
    token = locks.take("second", "r2").token
    for image, wrong in (("first", stale), ("second", stale), ("first", token), ("second", token + 1)):
        with refused("LOCK_TOKEN_STALE", token=str(wrong), rule="R10"):
            locks.confirm(image, wrong)
        with refused("LOCK_TOKEN_STALE", token=str(wrong), rule="R10"):
            locks.content(image, wrong)
    assert len(locks.content("second", token).content.disks) == 1


@pytest.mark.rule("R10")
def test_a_token_that_nobody_can_have_is_stale(locks_on: Callable[[str], Locks]) -> None:
    """However large: it is refused by its rule, and a release by it changes nothing."""
    locks = locks_on("huge-token")
    held = locks.take("huge", "huge-1")
    for token in (1 << 31, (1 << 63) - 1):
        with refused("LOCK_TOKEN_STALE", Kind.FAILED_PRECONDITION):
            locks.confirm("huge", token)
        with refused("LOCK_TOKEN_STALE", Kind.FAILED_PRECONDITION):
            locks.content("huge", token)
        assert locks.release("huge", token, f"huge-{token}").state == pb.LOCK_STATE_RELEASED
    assert locks.confirm("huge", held.token).state == pb.LOCK_STATE_CONFIRMED


def test_a_release_is_of_the_backup_that_is_there(main: Tenant, locks_on: Callable[[str], Locks]) -> None:
    """A backup that is made anew under its name counts tokens from the beginning: what the one before left
    behind is not what a release of this one finds.
    """
    for life in ("first", "second"):
        locks = locks_on("two-lives")
        held = locks.take("lives", f"lives-{life}")
        assert locks.release("lives", held.token, f"lives-{life}").token == held.token
        main.delete_backup("two-lives")  # refused while an image holds it


def test_a_late_release_leaves_anothers_lock_alone(main: Tenant, locks_on: Callable[[str], Locks]) -> None:
    """A release repeated after another image has locked the backup is no error, and does not free that
    lock.
    """
    locks = locks_on("lock-repeated")
    first = locks.take("first", "r1").token
    locks.release("first", first)
    locks.take("second", "r2")
    locks.release("first", first)
    locks.release("first", first, "r1")
    locks.release("first", request_id="r2")  # not its own request: another image's
    assert main.get_backup("lock-repeated").image == main.image("second")
