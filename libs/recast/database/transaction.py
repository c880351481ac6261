"""A write transaction."""

from collections.abc import Callable

from sqlalchemy import Connection
from sqlmodel import Session

from recast.faultpoints import reach

FAILED = "statement_failed"
"""The mark that a failed statement leaves in its connection's `info`."""


class Transaction:
    """A write: without effect until `commit` returns, which is the last step."""

    def __init__(self, connection: Connection) -> None:
        """Begins on the connection, which the caller closes."""
        connection.info.pop(FAILED, None)
        self._connection = connection
        self._outer = connection.begin()
        self._session = Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only")
        self._has_ended = False
        self.is_committed = False
        self.actions: list[Callable[[], None]] = []
        """Callbacks to run after the commit."""

    @property
    def session(self) -> Session:
        """The session of this transaction; RuntimeError after the commit."""
        self._check_open()
        return self._session

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the commit is durable.

        For hints such as waking a worker, never for required effects: the process may end before.
        """
        self.actions.append(action)

    def commit(self) -> None:
        """Makes the write durable.

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
        """Rolls back an uncommitted write."""
        if not self._has_ended:
            self._end_session()
        if self._outer.is_active:
            self._outer.rollback()

    def _end_session(self) -> None:
        """Detaches the session from the connection, which the next transaction uses."""
        self._has_ended = True
        self._session.close()  # without effect on the outer transaction
        self._session.bind = None

    def _check_open(self) -> None:
        if self._has_ended:
            raise RuntimeError("the write is over: a commit is its last step")

    def _check_whole(self) -> None:
        if FAILED in self._connection.info or not self._outer.is_active:
            raise RuntimeError("a statement failed or was rolled back: the rest of the write must not happen")
