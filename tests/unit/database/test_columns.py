"""Times as they are stored."""

from datetime import datetime

import pytest
from sqlalchemy.dialects import sqlite

from recast.database import UtcDateTime

DIALECT = sqlite.dialect()


def test_a_time_without_a_zone_is_a_bug() -> None:
    """Its instant would be ambiguous."""
    with pytest.raises(ValueError, match="zone"):
        UtcDateTime().process_bind_param(datetime(2026, 3, 1), DIALECT)  # noqa: DTZ001
