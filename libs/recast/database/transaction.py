"""A write under way."""

from collections.abc import Callable

from sqlalchemy import Connection
from sqlmodel import Session

from recast.faultpoints import reach

FAILED = "statement_failed"
"""The mark that a failed statement leaves in its connection's `info`."""


class Transaction:
    """A write: nothing has happened until `commit` returns, and nothing follows it."""

    def __init__(self, connection: Connection) -> None:
        """Begins on the connection, which its owner closes."""
        connection.info.pop(FAILED, None)
        self._connection = connection
        self._outer = connection.begin()
        self._session = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        self._has_ended = False
        self.is_committed = False
        self.actions: list[Callable[[], None]] = []
        """What runs after the commit."""

    @property
    def session(self) -> Session:
        """The session of this transaction; RuntimeError after the commit."""
        self._check_open()
        return self._session

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the commit is durable.

        For hints such as waking a worker, never for what must happen: the process may end before.
        """
        self.actions.append(action)

    def commit(self) -> None:
        """Makes everything written durable.

        RuntimeError when a statement failed or the session was rolled back: a part of the write is missing,
        and PostgreSQL would undo the transaction at its commit without an error.
        """
        self._check_open()
        reach("commit")
        self._check_whole()
        self._session.flush()
        self._check_whole()
        self._end_session()
        self._outer.commit()
        reach("committed")
        self.is_committed = True

    def close(self) -> None:
        """Undoes what was not committed."""
        if not self._has_ended:
            self._end_session()
        if self._outer.is_active:
            self._outer.rollback()

    def _end_session(self) -> None:
        """The connection is the next transaction's: a session that somebody kept must not reach it."""
        self._has_ended = True
        self._session.close()  # which leaves the outer transaction as it is
        self._session.bind = None

    def _check_open(self) -> None:
        if self._has_ended:
            raise RuntimeError("the write is over: a commit is its last step")

    def _check_whole(self) -> None:
        if FAILED in self._connection.info or not self._outer.is_active:
            raise RuntimeError("a statement failed or was rolled back: the rest of the write must not happen")
