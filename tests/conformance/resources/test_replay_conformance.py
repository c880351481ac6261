"""Request ids: replay, and the common end of all handlers, on both engines."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, text
from sqlmodel import Field, Session, SQLModel, select

from recast.csbs.v1 import backup_service_pb2 as pb
from recast.database import Database
from recast.faults import RequestIdReused
from recast.resources import RequestReplay, commit_change, find_replay

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class ReplayEffect(SQLModel, table=True):
    """An effect of a request."""

    __tablename__ = "conformance_replay_effect"

    name: str = Field(primary_key=True)


def count(session: Session) -> int:
    """The number of effects."""
    return session.exec(select(func.count()).select_from(ReplayEffect)).one()


class ReplaySuite:
    """Subclass it with a `database` that is empty."""

    @pytest.fixture
    def database(self) -> Database:
        """The database under test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _tables(self, database: Database) -> None:
        with database.write() as tx:
            tables = [ReplayEffect.__table__, RequestReplay.__table__]
            SQLModel.metadata.create_all(tx.session.connection(), tables=tables)
            tx.commit()

    def test_the_same_request_gets_the_same_answer(self, database: Database) -> None:
        """A request id that was seen before, with the same body, is answered with the first answer."""
        request = pb.DeleteBackupRequest(name="projects/demo/backups/a", request_id="r1")
        first = pb.DeleteBackupResponse()
        first.backup.name = "as it was"
        with database.write() as tx:
            assert find_replay(tx.session, "demo", request, pb.DeleteBackupResponse) is None
            commit_change(tx, "demo", request, first, NOW)
        with database.write() as tx:
            assert find_replay(tx.session, "demo", request, pb.DeleteBackupResponse) == first
        with database.read() as session:
            assert find_replay(session, "demo", request, pb.DeleteBackupResponse) == first

    def test_another_body_under_the_same_id_is_refused(self, database: Database) -> None:
        """A request id that was seen before with another body is refused."""
        self._remember(database, pb.DeleteBackupRequest(name="projects/demo/backups/a", request_id="r1"))
        other = pb.DeleteBackupRequest(name="projects/demo/backups/b", request_id="r1")
        with pytest.raises(RequestIdReused), database.write() as tx:
            find_replay(tx.session, "demo", other, pb.DeleteBackupResponse)

    @pytest.mark.parametrize(
        ("project", "request_"),
        [
            ("other", pb.DeleteBackupRequest(request_id="r1")),
            ("demo", pb.DeleteBackupRequest(request_id="r2")),
            ("demo", pb.CreateBackupRequest(request_id="r1")),
            ("demo", pb.DeleteBackupRequest()),
        ],
        ids=["another project", "another id", "another method", "no id"],
    )
    def test_an_answer_is_not_replayed_to_another_request(
        self, database: Database, project: str, request_: pb.DeleteBackupRequest
    ) -> None:
        """An answer belongs to one project, one method and one id, and a request without an id has none."""
        self._remember(database, pb.DeleteBackupRequest(request_id="r1"))
        self._remember(database, pb.DeleteBackupRequest())
        with database.write() as tx:
            assert find_replay(tx.session, project, request_, pb.DeleteBackupResponse) is None

    def test_an_answer_that_was_only_validated_is_not_replayed(self, database: Database) -> None:
        """With validate_only nothing is written: no change, and no answer."""
        request = pb.DeleteBackupRequest(request_id="r1", validate_only=True)
        with database.write() as tx:
            tx.session.add(ReplayEffect(name="a"))
            commit_change(tx, "demo", request, pb.DeleteBackupResponse(), NOW)
        request.validate_only = False
        with database.read() as session:
            assert find_replay(session, "demo", request, pb.DeleteBackupResponse) is None
            assert count(session) == 0

    def test_two_equal_requests_at_once_have_one_effect(self, database: Database) -> None:
        """Of equal requests that arrive together one has its effect, and all get its answer."""
        request = pb.DeleteBackupRequest(name="projects/demo/backups/a", request_id="r1")
        together = threading.Barrier(4)

        def handle(number: int) -> str:
            together.wait()
            with database.write() as tx:
                if found := find_replay(tx.session, "demo", request, pb.DeleteBackupResponse):
                    return found.backup.name
                answer = pb.DeleteBackupResponse()
                answer.backup.name = f"answer {number}"
                tx.session.add(ReplayEffect(name=f"effect {number}"))
                return commit_change(tx, "demo", request, answer, NOW).backup.name

        with ThreadPoolExecutor(4) as pool:
            answers = set(pool.map(handle, range(4)))
        with database.read() as session:
            assert count(session) == 1
        assert len(answers) == 1

    @staticmethod
    def _remember(database: Database, request: pb.DeleteBackupRequest) -> None:
        with database.write() as tx:
            commit_change(tx, "demo", request, pb.DeleteBackupResponse(), NOW)


class TestSqliteReplay(ReplaySuite):
    """A SQLite file."""

    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """The database under test."""
        return sqlite_database


class TestPostgresqlReplay(ReplaySuite):
    """A PostgreSQL server."""

    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """The database under test."""
        return postgresql_database

    def test_a_read_of_a_request_id_does_not_wait_for_its_writer(self, database: Database) -> None:
        """A read of a request id outside a write is answered while the first request is under way."""
        request = pb.DeleteBackupRequest(request_id="r1")
        with database.write() as tx:
            find_replay(tx.session, "demo", request, pb.DeleteBackupResponse)
            with database.read() as session:
                session.connection().execute(text("SET LOCAL lock_timeout = '100ms'"))
                assert find_replay(session, "demo", request, pb.DeleteBackupResponse) is None
