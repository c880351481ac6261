"""ImportImage of files that break off, are unclean, hold a guest's containers, or are made to exhaust us."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recast.faults import Kind
from tests.harness.cloud import Cloud
from tests.harness.expectations import file_digest, refused, state_of
from tests.harness.project import Tenant
from tests.unit.diskimage.untrusted import KIB, MIB, l2_table, noise, patch, put_words, qcow2, word

CONTENT = noise(6 * MIB)
BAD = Kind.INVALID_ARGUMENT


def _import(tenant: Tenant, path: Path, image_id: str) -> None:
    answer = tenant.recast.import_image(path, tenant.header(image_id, path, kind="DATA_DISK"))
    tenant.wait(answer.operation, "ims")


def _short(folder: Path) -> Path:
    path = qcow2(folder / "short.qcow2", CONTENT)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 4 * KIB)
    return path


def _flipped(folder: Path) -> Path:
    path = qcow2(folder / "flipped.qcow2", bytes(range(256)) * 4 * KIB, "-c")
    patch(path, word(path, l2_table(path)) & ((1 << 54) - 1), b"\xff" * 16)
    return path


def _one_cluster(folder: Path) -> Path:
    path = qcow2(folder / "again.qcow2", CONTENT)
    put_words(path, l2_table(path), *[word(path, l2_table(path))] * 96)
    return path


def _bomb(folder: Path) -> Path:
    return qcow2(folder / "bomb.qcow2", b"a" * 64 * MIB, "-c")


def _descriptor(folder: Path) -> Path:
    path = folder / "descriptor.raw"
    path.write_bytes(b"# a disk\nversion=1\n".ljust(MIB, b"\0"))
    return path


@pytest.mark.fault("FAULT-F10")
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_short, "ends before the data"),
        (_flipped, "error while reading"),
        (_one_cluster, "two of its entries name the cluster"),
        (_bomb, "more than 100 times"),
        (_descriptor, "that of a vmdk file"),
    ],
)
def test_a_fault_of_the_file_is_told_to_its_sender(
    main: Tenant, tmp_path: Path, make: Callable[[Path], Path], why: str
) -> None:
    """A damaged or crafted file is refused as such, wherever it is found, and nothing of it stays."""
    image_id = f"faulty{make.__name__}".replace("_", "-")
    with refused("FILE_REFUSED", BAD) as seen:
        _import(main, make(tmp_path), image_id)
    assert why in seen[0].text
    image = main.get_image(image_id)
    assert (state_of(image), image.uploaded_bytes) == ("ERROR", 0)


def _odd(folder: Path) -> tuple[Path, bytes]:
    path = qcow2(folder / "odd.qcow2", CONTENT)
    put_words(path, 24, 6 * MIB - 100)
    return path, CONTENT[:-100] + bytes(100)


def _dirty(folder: Path) -> tuple[Path, bytes]:
    path = qcow2(folder / "dirty.qcow2", CONTENT)
    put_words(path, 72, 1)
    patch(path, word(path, word(path, 48)) + 20, bytes(80))
    return path, CONTENT


def _luks(folder: Path) -> tuple[Path, bytes]:
    path = folder / "luks.raw"
    content = b"LUKS\xba\xbe\0\2".ljust(4 * MIB, b"\0")
    path.write_bytes(content)
    return path, content


def _vhd_footer(folder: Path) -> tuple[Path, bytes]:
    path = folder / "footer.raw"
    content = CONTENT[:-512] + b"conectix".ljust(512, b"\0")
    path.write_bytes(content)
    return path, content


def _packed(folder: Path) -> tuple[Path, bytes]:
    content = b"".join(CONTENT[i : i + KIB] * 4 for i in range(0, MIB, KIB))
    return qcow2(folder / "packed.qcow2", content, "-c"), content


@pytest.mark.fault("FAULT-F11", "FAULT-F12")
@pytest.mark.parametrize("make", [_odd, _dirty, _luks, _vhd_footer, _packed])
def test_a_whole_file_becomes_a_disk_of_its_bytes(
    main: Tenant, tmp_path: Path, make: Callable[[Path], tuple[Path, bytes]]
) -> None:
    """What QEMU reads without loss, and what a guest wrote, is imported byte by byte."""
    image_id = f"whole{make.__name__}".replace("_", "-")
    path, content = make(tmp_path)
    _import(main, path, image_id)
    main.create_disk(image_id, image_id=image_id)
    expected = tmp_path / "expected.raw"
    expected.write_bytes(content)
    assert main.digest(main.disk(image_id)) == file_digest(expected)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory, sources: Path) -> Iterator[Tenant]:
    """A project of services whose storage is full: all free bytes are reserved."""
    root = tmp_path_factory.mktemp("crowded")
    cloud = Cloud(root, ims_options={"reserve_bytes": 1 << 62})
    cloud.start()
    yield Tenant(cloud, "crowded", sources)
    cloud.stop()


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_an_upload_without_room_for_its_file_is_refused_at_once(crowded: Tenant, tmp_path: Path) -> None:
    """A qcow2 file that does not fit into the staging folder is refused before its bytes, and leaves no
    image.
    """
    path = qcow2(tmp_path / "large.qcow2", CONTENT)
    with refused("NOT_ENOUGH_SPACE", Kind.RESOURCE_EXHAUSTED, needed_bytes=str(path.stat().st_size)):
        crowded.recast.import_image(path, crowded.header("large", path, kind="DATA_DISK"))
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        crowded.get_image("large")


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_an_import_without_room_in_the_store_is_refused_before_it_is_written(
    crowded: Tenant, tmp_path: Path
) -> None:
    """The content of a raw file that does not fit into the store ends the import with that reason; a file of
    zeros fits.
    """
    path = tmp_path / "full.raw"
    path.write_bytes(CONTENT)
    with refused("NOT_ENOUGH_SPACE", Kind.RESOURCE_EXHAUSTED, needed_bytes=str(len(CONTENT)), free_bytes="0"):
        _import(crowded, path, "full")
    assert state_of(crowded.get_image("full")) == "ERROR"
    crowded.delete_image("full")
    path.write_bytes(bytes(MIB))
    _import(crowded, path, "zeros")
    assert state_of(crowded.get_image("zeros")) == "NORMAL"
