"""A third of the slow tests: the selection, and that three thirds are everything."""

from collections.abc import Sequence

import pytest

from tests.harness.thirds import Third

THIRDS = [Third(number, 3) for number in (1, 2, 3)]


@pytest.mark.parametrize("points", ["", "a", "abc", "abcdefg", "aaaaaaaaa"], ids=len)
def test_the_thirds_together_are_everything(points: Sequence[str]) -> None:
    """Each point is in one third; of three points or more no third is empty; the order stays."""
    places = list(enumerate(points))
    parts = [third.part(places) for third in THIRDS]
    assert sorted(place for part in parts for place in part) == places
    assert all(part == sorted(part) for part in parts)
    assert len(points) < 3 or all(parts)


def test_a_name_is_in_one_third() -> None:
    """Each name is in one third, whatever other names there are, and the thirds are of like size."""
    names = [f"point {number}" for number in range(600)]
    parts = [{name for name in names if third.has(name)} for third in THIRDS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 600
    assert all(150 < len(part) < 250 for part in parts)


def test_without_a_third_there_is_the_whole() -> None:
    """No third is the whole, and a share of it is all."""
    whole = Third.parse("")
    assert (whole.part("abc"), whole.has("x"), whole.share(500)) == (["a", "b", "c"], True, 500)
    assert Third.parse("2/3").share(500) == 167


@pytest.mark.parametrize("text", ["4/3", "0/3", "2", "x/3"])
def test_an_invalid_third_is_refused(text: str) -> None:
    """A part that does not exist is an error, and not an empty one."""
    with pytest.raises(ValueError, match=r"\d|invalid|values"):
        Third.parse(text)
