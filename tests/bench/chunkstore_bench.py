"""Measures the chunk store against cp and qemu-img on the same disk, in the same run; prints one JSON object.

    python -m tests.bench.chunkstore_bench [--data-mib 1024] [--rounds 3] [--folder DIR]

The disk is three times as large as its data, and the same for every run: 50 % chunks like text, 35 % random,
10 % copies of earlier ones, 5 % written zeros, with holes between. Figures are medians over interleaved
rounds; everything that writes is durable at the end, and reads come from a warm page cache.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from recast.chunkstore import CHUNK_BYTES, ChunkStore, DiskIndex, project_key

EXTENT_CHUNKS = 16


class FileSource:
    """A sparse raw file as a DiskSource."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size_bytes = path.stat().st_size

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield the extents that the file system reports as data."""
        end = 0
        while end < self.size_bytes:
            try:
                start = os.lseek(self._file.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole follows
                return
            end = os.lseek(self._file.fileno(), start, os.SEEK_HOLE)
            yield start, end - start

    def pread(self, offset: int, length: int) -> bytes:
        """Read from the file."""
        return os.pread(self._file.fileno(), length, offset)


def make_disk(path: Path, data_bytes: int) -> None:
    """Write the disk, from a fixed seed."""
    rng = random.Random(20250101)
    words = [rng.randbytes(rng.randint(2, 24)) for _ in range(4096)]
    commonness = [1 / (rank + 1) for rank in range(len(words))]  # Zipf's law, as in text and in programs
    texts = [b"".join(rng.choices(words, commonness, k=CHUNK_BYTES // 8))[:CHUNK_BYTES] for _ in range(16)]
    with path.open("wb") as file:
        last = texts[0]
        for number in range(data_bytes // CHUNK_BYTES):
            kind = rng.random()
            if kind < 0.5:
                text, turn = rng.choice(texts), rng.randrange(CHUNK_BYTES)
                last = text[turn:] + text[:turn]
            elif kind < 0.85:
                last = rng.randbytes(CHUNK_BYTES)
            extent, inside = divmod(number, EXTENT_CHUNKS)
            file.seek((extent * 3 * EXTENT_CHUNKS + inside) * CHUNK_BYTES)
            file.write(bytes(CHUNK_BYTES) if kind > 0.95 else last)
        file.truncate(data_bytes * 3)


def changed_extents(data_bytes: int) -> list[tuple[int, int]]:
    """Return 64 KiB in every 32nd data chunk: 3 % of the chunks."""
    chunks = range(0, data_bytes // CHUNK_BYTES, 32)
    return [
        ((n // EXTENT_CHUNKS * 3 * EXTENT_CHUNKS + n % EXTENT_CHUNKS) * CHUNK_BYTES, 1 << 16) for n in chunks
    ]


def copy_synced(source: Path, target: Path) -> None:
    """Copy with cp, with holes, and fsync."""
    subprocess.run(["cp", "--sparse=always", "--reflink=never", source, target], check=True)
    sync_file(target)


def convert_synced(source: Path, target: Path) -> None:
    """Compress into qcow2 with qemu-img, and fsync."""
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", source, target], check=True)
    sync_file(target)


def sync_file(path: Path) -> None:
    """Make a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def restore(store: ChunkStore, index: DiskIndex, target: Path) -> None:
    """Restore into a new sparse file, and fsync."""
    with target.open("wb") as file:
        file.truncate(index.size_bytes)
        store.restore_disk(index, file.fileno())
        os.fsync(file.fileno())


def run_round(folder: Path, disk: Path, data_bytes: int, took: dict[str, list[float]]) -> dict[str, int]:
    """Do everything once; add seconds to `took`, return the figures that are the same in every round."""

    def timed(name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        took[name].append(time.perf_counter() - start)

    source, key = FileSource(disk), project_key(bytes(32), "bench")
    with ChunkStore.open(f"file://{folder}/store", project="bench", key=key) as store:
        start = time.perf_counter()
        first = store.write_disk(source, "first")
        took["write_first"].append(time.perf_counter() - start)
        index = store.read_index(first.ref)
        timed("write_unchanged", lambda: store.write_disk(source, "again", parent=index))
        changed = changed_extents(data_bytes)
        timed(
            "write_3_percent_changed",
            lambda: store.write_disk(source, "inc", parent=index, changed=changed),
        )
        timed("write_without_parent", lambda: store.write_disk(source, "found"))
        timed("read_index", lambda: store.read_index(first.ref))
        timed("restore", lambda: restore(store, index, folder / "restored"))
        timed("verify_deep", lambda: store.verify_disk(first.ref, deep=True))
        timed("collect", lambda: store.collect([first.ref]))
    timed("cp_fsync", lambda: copy_synced(disk, folder / "copy"))
    timed("qemu_img_convert_c", lambda: convert_synced(disk, folder / "converted"))
    facts = {"stored_bytes": first.stored_bytes, "qcow2_bytes": (folder / "converted").stat().st_size}
    subprocess.run(["cmp", disk, folder / "restored"], check=True)
    for name in ("restored", "copy", "converted"):
        (folder / name).unlink()
    shutil.rmtree(folder / "store")
    os.sync()  # or the next round would pay for this one's deletions
    return facts


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    data_bytes = arguments.data_mib << 20
    took: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        disk = folder / "disk"
        # In a child, so that the memory it takes is not counted as the store's.
        code = os.fork()
        if code == 0:
            make_disk(disk, data_bytes)
            os._exit(0)
        os.waitpid(code, 0)
        os.sync()
        rss_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(arguments.rounds):
            facts = run_round(folder, disk, data_bytes, took)
        rss_after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {action: statistics.median(times) for action, times in took.items()}
    moving = {action: s for action, s in seconds.items() if action not in ("read_index", "collect")}
    report = {
        "data_mib": arguments.data_mib,
        "cores": os.cpu_count(),
        "rounds": arguments.rounds,
        "seconds": {action: round(s, 4) for action, s in seconds.items()},
        "mib_per_second": {action: round(arguments.data_mib / s) for action, s in moving.items()},
        "peak_memory_mib_above_start": round((rss_after - rss_before) / 1024, 1),
        **facts,
    }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
