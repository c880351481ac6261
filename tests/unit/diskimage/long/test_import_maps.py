"""The map of a qcow2 file is what QEMU reads, and a file that names bytes twice is refused."""

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recast.diskimage import (
    ExpandsTooMuch,
    ImportRefused,
    IsDamaged,
    IsTooFragmented,
    OutOfSpace,
    claims,
    inspect_image,
    qcow2_map,
    space,
)
from tests.unit.diskimage.untrusted import (
    CLUSTER,
    IS_COMPRESSED,
    KIB,
    LIMIT,
    MIB,
    OFFSET,
    imported,
    l1_table,
    l2_table,
    noise,
    patch,
    put_words,
    qcow2,
    qemu_img,
    word,
)

OPTIONS = [
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=2M",
    "cluster_size=4k,refcount_bits=1",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "preallocation=metadata",
    "preallocation=falloc",
    "compression_type=zstd",
    "lazy_refcounts=on",
]


SEEDS = 2
KINDS = ["write -P {}", "write -P {}", "write -z", "write -z -u", "discard", "write -c -P {}"]


def history(draw: random.Random, size_bytes: int) -> list[str]:
    """Commands of qemu-io: writes, compressed writes of whole clusters, zeros, discards."""
    commands = []
    for _ in range(30):
        offset = draw.randrange(size_bytes // 512) * 512
        length = min(draw.choice([512, 2 * KIB, 64 * KIB, 300 * KIB]), size_bytes - offset)
        at = f"{offset} {length}"
        kind = draw.choice(
            ["write -P {}", "write -P {}", "write -z", "write -z -u", "discard", "write -c -P {}"]
        )
        if "-c" in kind:
            at = f"{offset // (2 * MIB) * 2 * MIB} {min(2 * MIB, size_bytes)}" if draw.random() < 0.2 else at
        commands += ["-c", f"{kind.format(draw.randrange(1, 255))} {at}"]
    return commands


@pytest.mark.parametrize("options", OPTIONS)
def test_an_import_equals_qemus_reading(tmp_path: Path, options: str) -> None:
    """After a drawn history of writes, the disk of the import equals QEMU's, in every kind of qcow2."""
    for seed in range(SEEDS):
        draw = random.Random(f"{options} {seed}")
        size_bytes = draw.choice([MIB, 5 * MIB + 512, 40 * MIB])
        path, seen = tmp_path / f"{seed}.qcow2", tmp_path / f"{seed}.raw"
        qemu_img("create", "-f", "qcow2", "-o", options, path, str(size_bytes))
        # Compressed writes that are no whole clusters fail: they are part of the history as well.
        subprocess.run(
            ["qemu-io", "-f", "qcow2", *history(draw, size_bytes), path], check=False, capture_output=True
        )
        qemu_img("convert", "-f", "qcow2", "-O", "raw", path, seen)
        assert inspect_image(path, "qcow2", LIMIT).virtual_size_bytes == size_bytes
        assert imported(path, tmp_path) == seen.read_bytes()


def name_one_cluster(path: Path) -> None:
    """Every entry of a plain disk names the first one's cluster."""
    put_words(path, l2_table(path), *[word(path, l2_table(path))] * 16)


def name_one_cluster_as_zeros(path: Path) -> None:
    """An entry that reads as zeros names the cluster of another one."""
    put_words(path, l2_table(path) + 8, word(path, l2_table(path)) | 1)


def name_the_l1_table(path: Path) -> None:
    """An entry names the cluster of a table."""
    put_words(path, l2_table(path), l1_table(path))


def name_the_refcounts(path: Path) -> None:
    """An entry names the cluster of the reference counts."""
    put_words(path, l2_table(path), word(path, word(path, 48)))


def name_the_l2_table(path: Path) -> None:
    """An entry names the table that it is in."""
    put_words(path, l2_table(path), l2_table(path))


def name_an_l2_table_twice(path: Path) -> None:
    """The disk has a second half, which has the first half's table."""
    put_words(path, 24, 1 << 30)
    patch(path, 36, (2).to_bytes(4, "big"))
    put_words(path, l1_table(path) + 8, word(path, l1_table(path)))


def name_counts_of_two(path: Path) -> None:
    """As the first, with reference counts that agree: `qemu-img check` finds nothing."""
    name_one_cluster(path)
    table, block = l2_table(path), word(path, word(path, 48))
    put_words(path, table, *[word(path, table) & OFFSET] * 16)
    patch(path, block + 2 * ((word(path, table) & OFFSET) // CLUSTER), (16).to_bytes(2, "big"))


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
@pytest.mark.parametrize(
    "spoil",
    [
        name_one_cluster,
        name_one_cluster_as_zeros,
        name_the_l1_table,
        name_the_refcounts,
        name_the_l2_table,
        name_an_l2_table_twice,
        name_counts_of_two,
    ],
)
def test_two_entries_that_name_one_cluster_are_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Each byte of the file is named once: a small file cannot hold a large disk of data."""
    path = qcow2(tmp_path / "again.qcow2", noise(MIB))
    spoil(path)
    with pytest.raises(IsDamaged, match="two of its entries name"):
        inspect_image(path, "qcow2", LIMIT)


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
@pytest.mark.parametrize("shift", [0, 1, 100])
def test_two_entries_that_name_one_compressed_cluster_are_refused(tmp_path: Path, shift: int) -> None:
    """Compressed clusters begin at any byte: the same one, or one within another's sectors, is refused."""
    content = b"".join(noise(600 + i) + bytes(CLUSTER - 600 - i) for i in range(16))
    path = qcow2(tmp_path / "again.qcow2", content, "-c")
    inspect_image(path, "qcow2", LIMIT)
    entry = word(path, l2_table(path))
    assert entry & IS_COMPRESSED
    put_words(path, l2_table(path) + 5 * 8, entry + shift)
    with pytest.raises(IsDamaged, match="two of its entries name"):
        inspect_image(path, "qcow2", LIMIT)


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_a_compressed_file_may_expand_to_a_multiple_of_its_length(tmp_path: Path) -> None:
    """A compressed file that holds more than the allowed multiple is refused; a plain one never does."""
    path = qcow2(tmp_path / "bomb.qcow2", b"a" * 64 * MIB, "-c")
    times = 64 * MIB // path.stat().st_size
    assert times > 100
    with pytest.raises(ExpandsTooMuch, match="more than 100 times"):
        inspect_image(path, "qcow2", LIMIT)
    found = inspect_image(path, "qcow2", LIMIT, max_expansion=times + 1)
    assert (found.data_bytes, found.scratch_bytes) == (64 * MIB, 64 * MIB)
    plain = qcow2(tmp_path / "plain.qcow2", b"a" * 4 * MIB)
    assert inspect_image(plain, "qcow2", LIMIT, max_expansion=1).scratch_bytes == 0


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_the_space_of_a_compressed_disk_is_reserved_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the free bytes for its content a file is not decompressed, and nothing stays behind."""
    path, scratch = qcow2(tmp_path / "packed.qcow2", b"a" * 4 * MIB, "-c"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(space, "free_bytes", lambda _: 4 * MIB - 1)
    with pytest.raises(OutOfSpace, match="4194304 bytes are needed, and 4194303 are free"):
        imported(path, scratch)
    assert list(scratch.iterdir()) == []
    monkeypatch.setattr(space, "free_bytes", lambda _: 4 * MIB)
    assert imported(path, scratch) == b"a" * 4 * MIB


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_the_number_of_pieces_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory for a file's map is bounded; one cluster named over and over is still called that."""
    many = qcow2(
        tmp_path / "many.qcow2", b"".join(bytes([i]) * CLUSTER + bytes(CLUSTER) for i in range(1, 12))
    )
    packed = qcow2(tmp_path / "packed.qcow2", b"a" * MIB, "-c")
    again = qcow2(tmp_path / "again.qcow2", noise(MIB))
    name_one_cluster(again)
    for module, name in ((claims, "MOST_CLAIMS"), (qcow2_map, "MOST_EXTENTS")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, 10)
            with pytest.raises(IsTooFragmented, match="rewrite it: qemu-img convert"):
                inspect_image(many if module is qcow2_map else packed, "qcow2", LIMIT)
            with pytest.raises(IsDamaged, match="two of its entries name"):
                inspect_image(again, "qcow2", LIMIT)
            neighbours = qcow2(tmp_path / "neighbours.qcow2", noise(4 * MIB))
            assert inspect_image(neighbours, "qcow2", LIMIT).data_bytes == 4 * MIB


class GivenUp(Exception):
    """The caller has cancelled the work."""


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_a_map_of_many_tables_is_ended_by_its_watch(tmp_path: Path) -> None:
    """Reading a large map calls the watch, whose exception ends it."""
    path = tmp_path / "large.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=4k", path, "1G")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -z 0 1G", path], check=True, capture_output=True)

    def give_up() -> None:
        raise GivenUp

    with pytest.raises(GivenUp):
        inspect_image(path, "qcow2", LIMIT, give_up)


@pytest.mark.fault("FAULT-F11")
@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_map_is_refused_or_read_as_qemu_reads_it(tmp_path: Path, seed: int) -> None:
    """With drawn bytes of its header and its tables overwritten, a file is refused, or read as QEMU does."""
    draw = random.Random(seed)
    path, seen = tmp_path / "damaged.qcow2", tmp_path / "seen.raw"
    qemu_img("create", "-f", "qcow2", "-o", draw.choice(OPTIONS), path, str(MIB + 512))
    subprocess.run(
        ["qemu-io", "-f", "qcow2", *history(draw, MIB + 512), path], check=False, capture_output=True
    )
    places = [draw.randrange(112), l1_table(path) + draw.randrange(16), l2_table(path) + draw.randrange(320)]
    patch(path, draw.choice(places), bytes([draw.randrange(256)]))
    done = subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, seen], check=False, capture_output=True
    )
    try:
        inspect_image(path, "qcow2", LIMIT)
        content = imported(path, tmp_path)
    except ImportRefused:
        return
    assert done.returncode == 0
    expected = seen.read_bytes()
    assert content[: len(expected)] == expected
    assert len(content) - len(expected) < 512
