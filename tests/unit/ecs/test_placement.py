"""The placement of new servers."""

import pytest

from ecs.domain.placement import Candidate, place
from ecs.domain.refusals import HostNotFound, HostUnreachable, NoHost

GIB = 1 << 30


def hosts(*free_gib: int) -> list[Candidate]:
    """Hosts a, b, c... with so much left."""
    return [Candidate(name, free * GIB, True) for name, free in zip("abcdef", free_gib, strict=False)]


@pytest.mark.parametrize(
    ("free", "count", "expected"),
    [
        ((10, 10), 4, "abab"),
        ((10, 10, 10), 3, "abc"),
        ((12, 10), 4, "aaab"),
        ((100, 1), 3, "aaa"),
        ((1, 1), 4, "abab"),
        ((5,), 2, "aa"),
    ],
)
def test_each_goes_where_the_most_is_left(free: tuple[int, ...], count: int, expected: str) -> None:
    """Servers of 1 GiB go to the host with the most left, counting those before; equals by name.

    Disks are thin: a host whose free space is all promised still gets its share.
    """
    assert "".join(place(count, GIB, hosts(*free))) == expected


def test_an_unreachable_host_gets_none() -> None:
    """An unreachable host gets no server, with any free space."""
    assert place(2, GIB, [Candidate("a", 99 * GIB, False), *hosts(0, 5)[1:]]) == ["b", "b"]
    with pytest.raises(NoHost):
        place(1, GIB, [Candidate("a", GIB, False)])


def test_a_named_host_gets_all() -> None:
    """A named host gets all if it is known and reachable; else the refusal names the failed condition."""
    assert place(2, GIB, hosts(9, 1), "b") == ["b", "b"]
    with pytest.raises(HostNotFound, match="there are: a, b"):
        place(1, GIB, hosts(1, 1), "c")
    with pytest.raises(HostUnreachable):
        place(1, GIB, [Candidate("a", GIB, False)], "a")
