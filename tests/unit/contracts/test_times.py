"""Times in messages: as protobuf itself would write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from recast.contracts.times import put_time

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day from either end, as protobuf's own way goes by UTC.
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001


@given(before=MOMENTS, moment=MOMENTS)
def test_a_moment_is_written_as_protobuf_writes_it(before: datetime, moment: datetime) -> None:
    """Over any earlier value, in any zone, before 1970 too."""
    ours, theirs = Timestamp(), Timestamp()
    put_time(ours, before)
    put_time(ours, moment)
    theirs.FromDatetime(moment)
    assert ours == theirs
    assert ours.ToDatetime(UTC) == moment


def test_a_moment_without_a_zone_is_a_bug() -> None:
    """Its instant would be ambiguous."""
    with pytest.raises(TypeError):
        put_time(Timestamp(), datetime(2026, 1, 1))  # noqa: DTZ001
