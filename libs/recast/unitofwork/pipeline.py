"""Compare-and-sets that wait for one another, in one round trip and one commit: PostgreSQL.

Who comes while a round trip is under way goes with all others that did so in the next: libpq's pipeline mode,
of whose statements the server makes one transaction. It holds several rows, so it waits for none that
somebody else holds; where it would have to, and where one is refused, nothing of it has happened, and each is
done alone.
"""

import os
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from recast.unitofwork.away import busy, unanswered, unknown
from recast.unitofwork.baton import Baton, Turn
from recast.unitofwork.compare_and_set import CompareAndSet
from recast.unitofwork.connections import Connections
from recast.unitofwork.look import Row
from recast.unitofwork.transaction import DriverErrors

WAIT_SECONDS = 15.0
# libpq sends 8 KiB as soon as it has them. The server would begin, and hold rows, while this process might
# freeze before the end of it: no time limit of the server's is for that.
_MOST_BYTES = 8_000
# For the same reason the server's answers must fit its socket: the largest, of 24 disks, has 18 KB.
_MOST_TOGETHER = 8
_BYTES_OF_STATEMENT, _BYTES_OF_VALUE = 80, 8
_YIELDS = 3  # the scheduler takes each for a hint: with 8 clients, one makes groups of six, three of seven


class _Wanted(Turn):
    """A statement, and what came of it."""

    def __init__(self, text: str, parameters: Sequence[object]) -> None:
        super().__init__()
        self.sent = text, parameters
        self.bytes = _BYTES_OF_STATEMENT + sum(map(_bytes_of, parameters))  # at the most
        self.is_taken = False  # by somebody else
        self.rows: list[Row] | None = None
        self.problem: BaseException | None = None


class Pipeline:
    """One round trip at a time, for all who came before it."""

    def __init__(self, engine: Engine) -> None:
        """`engine` opens connections whose statements commit by themselves and wait for no row for long.

        It keeps none itself.
        """
        self._dialect = engine.dialect
        self._connections = Connections(engine)
        self._driver_errors = DriverErrors(engine)
        self._baton = Baton()

    def compare_and_set(self, asked: CompareAndSet, values: Mapping[str, object]) -> list[Row] | None:
        """Its row, or none; None where it did not happen, and is to be done alone."""
        wanted = _Wanted(*asked.statement(self._dialect, values))
        has_come = self._baton.take(wanted, WAIT_SECONDS)
        if not has_come:
            raise unknown() if wanted.is_taken else busy()
        if not wanted.is_taken:
            self._lead(wanted)
        elif wanted.problem is not None:
            raise unanswered(wanted.problem) from wanted.problem
        return wanted.rows

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        self._connections.close()

    def _lead(self, first: _Wanted) -> None:
        group, room = [first], _MOST_BYTES - first.bytes

        def has_room(turn: Turn) -> bool:
            return isinstance(turn, _Wanted) and turn.bytes <= room and len(group) < _MOST_TOGETHER

        try:
            for _ in range(_YIELDS):
                os.sched_yield()  # whoever is about to come, and has no core to do so, comes along
                while isinstance(turn := self._baton.following(has_room), _Wanted):
                    turn.is_taken = True
                    group.append(turn)
                    room -= turn.bytes
            self._run(group)
        except BaseException as problem:
            for each in group:
                each.problem = problem
            raise
        finally:
            self._baton.put_down()
            for each in group[1:]:
                each.come()

    def _run(self, group: Sequence[_Wanted]) -> None:
        sent = [each.sent for each in group]
        with self._driver_errors:
            found = self._connections.run(lambda cursor: cursor.execute_together(sent))
        if found is not None:
            for each, rows in zip(group, found, strict=True):
                each.rows = rows


def _bytes_of(value: object) -> int:
    if isinstance(value, str):
        return _BYTES_OF_VALUE + len(value) * (1 if value.isascii() else 4)
    return _BYTES_OF_VALUE + (len(value) if isinstance(value, bytes) else 40)
