"""The common columns of resource rows: a version, and an etag made of it."""

from datetime import UTC, datetime, timedelta

import pytest

from recast.faults import EtagMismatch
from recast.resources import ResourceRow

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Thing(ResourceRow):
    """A resource."""


def thing(name: str = "projects/demo/things/a", create_time: datetime = NOW) -> Thing:
    """A new one."""
    return Thing(name=name, project="demo", create_time=create_time, update_time=create_time)


def test_an_etag_changes_with_the_row() -> None:
    """Every change of a row gives it another etag, and its time."""
    row = thing()
    before = row.etag
    row.touch(NOW + timedelta(seconds=1))
    assert row.etag != before
    assert row.update_time == NOW + timedelta(seconds=1)


def test_a_row_made_anew_has_another_etag() -> None:
    """A resource that was deleted and made again under its name is not the one that was read."""
    assert thing().etag != thing(create_time=NOW + timedelta(microseconds=1)).etag


def test_a_stale_etag_is_refused() -> None:
    """An etag that is not the row's is refused by the resource's name; none, or the current one, is not."""
    row = thing()
    stale = row.etag
    row.touch(NOW)
    row.check_etag("")
    row.check_etag(row.etag)
    with pytest.raises(EtagMismatch) as refused:
        row.check_etag(stale)
    assert refused.value.facts == {"resource": row.name, "etag": stale}
