"""Times in rows of work that a clock which was ahead has written."""

from typing import Any

from sqlalchemy import ColumnElement, and_, literal_column, or_, select, text, update

from recast.database import Database
from recast.operations.tables import OperationRow

_TABLE: Any = OperationRow.__table__  # type: ignore[attr-defined]
# More than any lease, and any delay before work is claimed again, by the settings of any process.
_LONGEST_SECONDS = 120.0


def shorten_leases(database: Database, lease_seconds: float) -> None:
    """Ends leases, and delays, that last longer from now than any can: their clock was ahead.

    A lease is cut to a whole one from now, and not to nothing: its owner may live, and renews it meanwhile.
    """
    now: ColumnElement[float] = literal_column(database.now_sql())
    horizon = now + max(_LONGEST_SECONDS, 10 * lease_seconds)
    is_far = and_(
        _TABLE.c.ended.is_(False), or_(_TABLE.c.lease_until > horizon, _TABLE.c.not_before > horizon)
    )
    # Most often there is none: no write lock is taken.
    with database.read() as session:
        if session.connection().execute(select(_TABLE.c.id).where(is_far).limit(1)).first() is None:
            return
    with database.write() as tx:
        connection = tx.session.connection()
        until = text(f"{database.now_sql()} + {lease_seconds}")
        far_lease = and_(_TABLE.c.ended.is_(False), _TABLE.c.lease_until > horizon)
        far_delay = and_(_TABLE.c.ended.is_(False), _TABLE.c.not_before > horizon)
        connection.execute(update(_TABLE).where(far_lease).values(lease_until=until))
        connection.execute(update(_TABLE).where(far_delay).values(not_before=0.0))
        tx.commit()
