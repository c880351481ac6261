"""Comparing a disk with its content."""

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from recast.doctor.comparisons import first_difference

_WINDOW = 64
_SIZE = 3 * _WINDOW + 7


@dataclass(frozen=True)
class Bytes:
    """A disk in memory that gives its data extents in pieces of `piece_bytes`."""

    content: bytes
    piece_bytes: int

    @property
    def size_bytes(self) -> int:
        """See DiskSource."""
        return len(self.content)

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """See DiskSource."""
        for offset in range(0, len(self.content), self.piece_bytes):
            piece = self.content[offset : offset + self.piece_bytes]
            if piece.strip(b"\0"):
                yield offset, len(piece)

    def pread(self, offset: int, length: int) -> bytes:
        """See DiskSource."""
        return self.content[offset : offset + length]


@given(
    st.dictionaries(st.integers(0, _SIZE - 1), st.integers(1, 255), max_size=4),
    st.dictionaries(st.integers(0, _SIZE - 1), st.integers(0, 255), max_size=2),
    st.sampled_from([1, 32, 50, 64, 100]),
    st.sampled_from([1, 32, 50, 64, 100]),
)
def test_first_difference_is_found(
    written: dict[int, int], changed: dict[int, int], one_piece: int, other_piece: int
) -> None:
    """The window of the first byte that differs is found, for any data extents of the two disks."""
    one, other = bytearray(_SIZE), bytearray(_SIZE)
    for offset, value in written.items():
        one[offset] = other[offset] = value
    for offset, value in changed.items():
        other[offset] = value
    differing = [offset for offset in sorted({*written, *changed}) if one[offset] != other[offset]]
    expected = differing[0] // _WINDOW * _WINDOW if differing else None
    disks = Bytes(bytes(one), one_piece), Bytes(bytes(other), other_piece)
    assert first_difference(*disks, _WINDOW) == expected
    assert first_difference(*reversed(disks), _WINDOW) == expected
