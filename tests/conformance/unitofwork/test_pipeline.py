"""Compare-and-sets on PostgreSQL that wait for one another share a round trip and a commit, no more."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from sqlalchemy import bindparam, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Field, SQLModel, select

from recast.faults import Unavailable
from recast.unitofwork import CompareAndSet, Database, kept_statements, pipeline
from recast.unitofwork.baton import Turn
from tests.conformance.unitofwork.turns import until, waiting  # found by the line above


class Door(SQLModel, table=True):
    """A row with a version."""

    __tablename__ = "pipeline_door"

    name: str = Field(primary_key=True)
    version: int = 1


class Visit(SQLModel, table=True):
    """A row that comes with a change of a door."""

    __tablename__ = "pipeline_visit"

    key: str = Field(primary_key=True)
    note: str


DOOR: Any = Door.__table__
VISIT: Any = Visit.__table__
OPEN = CompareAndSet(
    changed=update(DOOR)
    .where(DOOR.c.name == bindparam("of"), DOOR.c.version == bindparam("seen"))
    .values(version=bindparam("seen") + 1),
    added=VISIT,
)
DOORS = "abcdefgh"
# What a note asks of the server: to refuse it at the commit, to end the connection, to take its time.
ON_VISIT = """
CREATE FUNCTION pipeline_visited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.note = TG_ARGV[0] AND NEW.note = 'refuse' THEN RAISE EXCEPTION 'refused at the end'; END IF;
    IF NEW.note = TG_ARGV[0] AND NEW.note = 'end' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    IF NEW.note = TG_ARGV[0] AND NEW.note = 'sleep' THEN PERFORM pg_sleep(1.2); END IF;
    RETURN NEW;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON pipeline_visit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pipeline_visited('refuse');
CREATE TRIGGER ends BEFORE INSERT ON pipeline_visit FOR EACH ROW EXECUTE FUNCTION pipeline_visited('end');
CREATE TRIGGER sleeps BEFORE INSERT ON pipeline_visit FOR EACH ROW EXECUTE FUNCTION pipeline_visited('sleep');
"""


@pytest.fixture
def database(postgresql_database: Database) -> Database:
    """A database with the tables."""
    with postgresql_database.write() as tx:
        connection = tx.session.connection()
        SQLModel.metadata.create_all(connection, tables=[DOOR, VISIT])
        connection.execute(text(ON_VISIT))
        tx.session.add_all([Door(name=name) for name in DOORS])
        tx.commit()
    return postgresql_database


def asked(of: str, seen: int = 1, note: str | None = "", key: str | None = None) -> dict[str, object]:
    """The values of a visit to a door."""
    return {"of": of, "seen": seen, "key": key or f"{of}{seen}", "note": note}


def visited(database: Database) -> set[str]:
    """The doors that were opened, as everybody sees it; each has its visit."""
    with database.read() as session:
        doors = set(session.exec(select(Door.name).where(Door.version > 1)))
        assert len(session.exec(select(Visit.key)).all()) == len(doors)
    return doors


def commits(database: Database) -> int:
    """How many transactions the visits came by."""
    with database.read() as session:
        counted = text("SELECT count(DISTINCT xmin::text) FROM pipeline_visit")
        return int(session.connection().execute(counted).scalar_one())


Ask = Callable[[dict[str, object]], "Future[bool]"]


@contextmanager
def together(database: Database) -> Iterator[Ask]:
    """What is asked within goes in one round trip when the block ends."""
    baton = database._writes._pipeline._baton
    assert baton.take(Turn(), 1)
    pool = ThreadPoolExecutor(16)

    def ask(values: dict[str, object]) -> "Future[bool]":
        before = waiting(baton)
        given = pool.submit(database.compare_and_set, OPEN, values)
        until(lambda: waiting(baton) == before + 1)
        return given

    try:
        yield ask
    finally:
        baton.put_down()
        pool.shutdown(wait=False)


def test_what_waits_shares_a_commit(database: Database) -> None:
    """Eight go together, each is told its own result; one by one, each has a commit of its own."""
    with together(database) as ask:
        given = [ask(asked(name)) for name in "abcd"]
        late = [ask(asked("a", key="late")), ask(asked("x"))]
        again = ask(asked("b", seen=2))
    assert [each.result(20) for each in given] == [True] * 4
    assert [each.result(20) for each in late] == [False, False]
    assert again.result(20) is True  # it comes after the first, in the same transaction
    assert commits(database) == 1
    assert database.compare_and_set(OPEN, asked("e"))
    assert database.compare_and_set(OPEN, asked("f"))
    assert commits(database) == 3


@pytest.mark.parametrize(
    ("problem", "values"),
    [
        (IntegrityError, asked("b", note=None)),
        (DBAPIError, asked("b", note="a\0b")),
        (DBAPIError, asked("b", note="refuse")),
        (DBAPIError, {"of": "b", "seen": object(), "key": "b", "note": ""}),
        (DBAPIError, asked("b", note="\ud800")),
        (None, asked("b", key="a1")),
    ],
    ids=["rule", "driver", "commit", "type", "text", "key"],
)
def test_what_is_refused_is_refused_alone(
    database: Database, problem: type[Exception] | None, values: dict[str, object]
) -> None:
    """By a rule, the driver, the commit itself, or as its key is taken: those beside it are done."""
    with together(database) as ask:
        before, refused, after = ask(asked("a")), ask(values), ask(asked("c"))
    assert before.result(20) is True
    assert after.result(20) is True
    if problem is None:
        assert refused.result(20) is False
    else:
        with pytest.raises(problem):
            refused.result(20)
    assert visited(database) == {"a", "c"}
    with together(database) as ask:  # and the connection is as good as before
        given = [ask(asked(name)) for name in "def"]
    assert all(each.result(20) for each in given)
    assert visited(database) == set("acdef")


def test_what_libpq_would_send_in_parts_goes_in_several(database: Database) -> None:
    """The server must not hold rows for a half of a group; what is too long for any group goes alone."""
    with together(database) as ask:
        small = [ask(asked(name, note="x" * 2_000)) for name in "abcde"]
        large = [ask(asked(name, note="x" * 300_000)) for name in "fgh"]
    assert all(each.result(20) for each in [*small, *large])
    assert visited(database) == set(DOORS)
    assert commits(database) == 2 + 3


def test_no_more_go_together_than_answers_fit_the_socket(database: Database) -> None:
    """The server must not wait, with rows in hand, for this process to read: eight is the most."""
    with together(database) as ask:
        given = [ask(asked("abcdefgh"[number % 8], number // 8 + 1)) for number in range(14)]
    assert all(each.result(20) for each in given)
    assert commits(database) == 2


def test_who_waits_for_a_row_waits_alone(database: Database) -> None:
    """Somebody holds a row: who wants another is not held up, and who comes later neither."""
    with database.write() as tx:
        tx.session.exec(select(Door).where(Door.name == "a").with_for_update()).one()
        with together(database) as ask:
            first, held_up, other = (ask(asked(name)) for name in "bac")
        assert first.result(20) is True
        assert other.result(20) is True
        assert database.compare_and_set(OPEN, asked("d"))
        assert not held_up.done()
        assert visited(database) == set("bcd")
    assert held_up.result(20) is True
    assert visited(database) == set("abcd")


def test_a_server_that_ends_is_nobodys_success(database: Database) -> None:
    """The connection ends in the middle: each is told that it is not known, and here nothing was written."""
    with together(database) as ask:
        given = [ask(asked("a")), ask(asked("b", note="end")), ask(asked("c"))]
    for each in given:
        with pytest.raises(Unavailable, match="did not answer"):
            each.result(20)
    assert visited(database) == set()
    assert database.compare_and_set(OPEN, asked("a"))


def test_a_server_that_takes_long_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was sent does not know, who was not has written nothing; in the end all that was sent is there."""
    monkeypatch.setattr(pipeline, "WAIT_SECONDS", 0.4)
    with together(database) as ask:
        slow, sent = ask(asked("a", note="sleep")), ask(asked("b"))
    until(lambda: waiting(database._writes._pipeline._baton) == 0)
    with pytest.raises(Unavailable, match="busy"):
        database.compare_and_set(OPEN, asked("c"))
    with pytest.raises(Unavailable, match="not known"):
        sent.result(20)
    assert slow.result(20) is True
    assert visited(database) == {"a", "b"}


def test_a_server_that_is_silent_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that froze: nobody knows, and whoever comes next has another connection."""
    monkeypatch.setattr(kept_statements, "_PATIENCE_MS", 200)
    with together(database) as ask:
        given = [ask(asked("a", note="sleep")), ask(asked("b"))]
    for each in given:
        with pytest.raises(Unavailable, match=r"did not answer: .*nothing came"):
            each.result(20)
    assert database.compare_and_set(OPEN, asked("c"))


def test_groups_of_two_processes_do_not_hold_each_other(
    database: Database, opened: Callable[[str], Database]
) -> None:
    """Each has a row that the other wants: one has each, and everybody is told the truth."""
    url = database.engine.url.render_as_string(hide_password=False)
    both = [database, opened(url)]
    chance = Random(4)
    for number in range(1, 11):
        with together(both[0]) as one, together(both[1]) as two:
            orders = [chance.sample(DOORS, len(DOORS)) for _ in both]
            given = [
                [
                    (door, ask(asked(door, number, key=f"{door}{number}-{order is orders[0]}")))
                    for door in order
                ]
                for ask, order in zip((one, two), orders, strict=True)
            ]
        won = [door for each in given for door, done in each if done.result(20)]
        assert sorted(won) == sorted(DOORS)
    with database.read() as session:
        assert set(session.exec(select(Door.version))) == {11}
