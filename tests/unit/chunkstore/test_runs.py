"""Runs of positions, against sets of positions."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.chunkstore.runs import Run, runs_in_both, runs_touched

EXTENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=8)


def positions(runs: list[Run]) -> set[int]:
    """Return the positions of runs."""
    return {position for first, end in runs for position in range(first, end)}


def positions_touched(extents: list[tuple[int, int]], chunk: int, size: int) -> set[int]:
    """Return, byte by byte, the positions that extents touch."""
    return {byte // chunk for offset, length in extents for byte in range(offset, min(offset + length, size))}


@given(EXTENTS, st.sampled_from([1, 4, 16]), st.integers(0, 320))
def test_runs_touched_are_the_positions_of_the_bytes(
    extents: list[tuple[int, int]], chunk: int, size: int
) -> None:
    """A position is in the runs exactly when a byte of it, within the disk, is in an extent."""
    runs = runs_touched(extents, chunk, size)
    assert positions(runs) == positions_touched(extents, chunk, size)
    assert all(left[1] < right[0] for left, right in pairwise(runs))


@given(EXTENTS, EXTENTS)
def test_runs_in_both_are_the_intersection(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    """The runs in both hold exactly the positions that both hold."""
    a, b = runs_touched(left, 4, 400), runs_touched(right, 4, 400)
    assert positions(list(runs_in_both(a, b))) == positions(a) & positions(b)


@pytest.mark.parametrize("extent", [(-1, 5), (0, -1)])
def test_negative_extents_are_refused(extent: tuple[int, int]) -> None:
    """An extent with a negative offset or length is a mistake of the caller's."""
    with pytest.raises(ValueError, match="extent of"):
        runs_touched([extent], 4, 100)
