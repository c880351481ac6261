"""The main job: a server's backup becomes an image, and the image servers."""

import pytest

from recast.ecs.v1 import server_service_pb2 as ecs
from recast.faults import Kind
from tests.e2e.container_project import Guest, digest_of, lists_of
from tests.harness.expectations import refused, state_of

COUNT = 4
OFFSET = 3 << 20


@pytest.mark.together
class MainJobSuite:
    """Subclass it with a `guest` that has nothing. The tests go on from each other, in their order."""

    @pytest.fixture(scope="class")
    @classmethod
    def guest(cls) -> Guest:
        """The project that does it."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def originals(cls, guest: Guest) -> list[str]:
        """The digests of the source's disks, as they were imported."""
        return [digest_of(guest.sources / name) for name in ("sys.raw", "media.raw")]

    def test_files_become_images_and_images_a_server(self, guest: Guest, originals: list[str]) -> None:
        """A server made of two imported files has every byte of them."""
        guest.import_image("sys", "sys.raw")
        guest.import_image("old", "old.raw")
        guest.import_image("media", "media.raw", kind="DATA_DISK")
        guest.create_server("web", data_disks=[ecs.DataDiskSpec(image=guest.image("media"))])
        assert guest.digests("web") == originals

    @pytest.mark.rule("R01", "R15")
    def test_a_backup_becomes_an_image_and_cannot_be_deleted(self, guest: Guest) -> None:
        """A backup is AVAILABLE, an image is made of it, and then it is refused to be deleted."""
        assert state_of(guest.create_backup("nightly", "web")) == "AVAILABLE"
        assert state_of(guest.create_image("web", "nightly")) == "NORMAL"
        with refused("BACKUP_HAS_IMAGE", image=guest.image("web"), rule="R15"):
            guest.delete_backup("nightly")

    @pytest.mark.rule("R12", "R13")
    def test_the_image_becomes_servers(self, guest: Guest, originals: list[str]) -> None:
        """Servers of the image have the bytes of the backup, on every host, after later
        writes to the source.
        """
        for disk in guest.get_server("web").disks:
            guest.write(disk.disk, offset=OFFSET)
        guest.wait(guest.start_servers("shop", "web", count=COUNT).operation, "ecs")
        made = [guest.get_server(f"shop-{number:04}") for number in range(COUNT)]
        assert [guest.digests(f"shop-{number:04}") for number in range(COUNT)] == [originals] * COUNT
        assert {server.host for server in made} == self.hosts()
        assert guest.digests("web") != originals

    def hosts(self) -> set[str]:
        """The hosts that the servers are spread over."""
        return {"local"}

    @pytest.mark.rule("R35")
    def test_an_os_change_writes_the_system_disk_alone(self, guest: Guest, originals: list[str]) -> None:
        """After an OS change the system disk is the new image's, and the data disk is as it was."""
        guest.stop_server("shop-0001")
        request = ecs.ChangeServerOsRequest(name=guest.server("shop-0001"), image=guest.image("old"))
        guest.wait(guest.recast.servers.ChangeServerOs(request).operation, "ecs")
        assert guest.digests("shop-0001") == [digest_of(guest.sources / "old.raw"), originals[1]]

    def test_a_restore_gives_every_byte_back(self, guest: Guest, originals: list[str]) -> None:
        """A restored server is as it was when it was backed up."""
        guest.stop_server("web")
        guest.restore("nightly")
        assert guest.digests("web") == originals

    @pytest.mark.rule("R15", "R45")
    def test_all_goes_in_the_right_order(self, guest: Guest) -> None:
        """The image goes, then its backup, then servers and disks, and nothing is left."""
        guest.delete_image("web")
        with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
            guest.get_image("web")
        guest.delete_backup("nightly")
        for server in lists_of(guest)["servers"]:
            guest.delete_server(server.name.rpartition("/")[2])
        for name in ("sys", "old", "media"):
            guest.delete_image(name)
        assert lists_of(guest) == {"backups": [], "images": [], "servers": [], "disks": []}
