"""Runs of chunk positions: pure arithmetic on sorted, disjoint, half-open (first, end) pairs."""

from collections.abc import Iterable, Iterator

Run = tuple[int, int]


def runs_touched(extents: Iterable[tuple[int, int]], chunk_bytes: int, size_bytes: int) -> list[Run]:
    """Return the positions that (offset, length) extents touch; extents are cut at the disk's end."""
    touched: list[Run] = []
    for offset, length in sorted(extents):
        end_byte = min(offset + length, size_bytes)
        if offset < 0 or length < 0:
            raise ValueError(f"extent of {length} bytes at {offset}")
        if offset >= end_byte:
            continue
        first, end = offset // chunk_bytes, -(-end_byte // chunk_bytes)
        if touched and first <= touched[-1][1]:
            touched[-1] = (touched[-1][0], max(touched[-1][1], end))
        else:
            touched.append((first, end))
    return touched


def count_bytes(runs: Iterable[Run], chunk_bytes: int, size_bytes: int) -> int:
    """Return the bytes of a disk that the runs cover."""
    return sum(min(end * chunk_bytes, size_bytes) - first * chunk_bytes for first, end in runs)


def runs_in_both(left: list[Run], right: list[Run]) -> Iterator[Run]:
    """Yield the runs of positions in both."""
    i = j = 0
    while i < len(left) and j < len(right):
        first, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first < end:
            yield first, end
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
