"""Times as they are stored."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import DateTime
from sqlalchemy.dialects import sqlite

from recast.unitofwork import UtcDateTime

DIALECT = sqlite.dialect()
TIMES = [
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
    datetime(987, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
]


@pytest.mark.parametrize("time", TIMES)
def test_sqlite_has_the_text_that_it_always_had(time: datetime) -> None:
    """Databases of earlier versions are compared and sorted with what is written now."""
    ours = UtcDateTime().dialect_impl(DIALECT).bind_processor(DIALECT)
    before = DateTime().dialect_impl(DIALECT).bind_processor(DIALECT)
    assert ours is not None
    assert before is not None
    assert ours(time) == before(time.astimezone(UTC).replace(tzinfo=None))
    assert ours(None) is None


def test_a_time_without_a_zone_is_a_bug() -> None:
    """Nobody knows what it means."""
    ours = UtcDateTime().dialect_impl(DIALECT).bind_processor(DIALECT)
    assert ours is not None
    with pytest.raises(ValueError, match="zone"):
        ours(datetime(2026, 3, 1))  # noqa: DTZ001
