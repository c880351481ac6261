"""Lists: filters, orders and pages, on both engines."""

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, delete, insert
from sqlmodel import Field, SQLModel

from recast.database import Database, UtcDateTime
from recast.faults import FilterInvalid, PageTokenInvalid
from recast.migrations.migrate import collate_texts
from recast.resources import Field as ListField
from recast.resources import Listing, Page, boolean, choice
from recast.resources.listing import DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
FUZZ = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=80,
    # The fixture is only read; each subclass runs the test on its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class Colour(StrEnum):
    """An enumeration, as states are."""

    RED = "RED"
    BLUE = "BLUE"


class Note(SQLModel, table=True):
    """A row to be listed."""

    __tablename__ = "conformance_note"

    id: str = Field(primary_key=True)
    project: str = "demo"
    title: str = ""
    colour: str = Colour.RED
    done: bool = False
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    create_time: datetime = Field(default=BEGIN, sa_type=UtcDateTime)
    serialized: bytes = b""


def bytes_of(row: Note) -> bytes:
    """Bytes as a message has them: with zeros, and not of any text."""
    return b"\0\xff\x80" + row.title.encode() + b"\xc3\0,;" * len(row.id)


LISTING: Listing[Note] = Listing(
    Note,
    {
        "title": ListField(Note.title, sortable=True),
        "colour": choice(Note.colour, Colour, "COLOUR_"),
        "done": boolean(Note.done),
        "size_bytes": ListField(Note.size_bytes, parse=int, sortable=True),
        "create_time": ListField(Note.create_time, parse=datetime.fromisoformat, sortable=True),
    },
)
ROWS = [
    Note(id="a", title="Night", colour="RED", done=True, size_bytes=10, create_time=BEGIN),
    Note(id="b", title="night 100%", colour="BLUE", size_bytes=20, create_time=BEGIN + timedelta(hours=1)),
    Note(id="c", title='say "x"', colour="RED", size_bytes=2**62, create_time=BEGIN + timedelta(hours=2)),
    Note(id="d", title="night_1", colour="BLUE", done=True, create_time=BEGIN + timedelta(hours=3)),
]

literals = st.one_of(
    st.text(max_size=8), st.integers().map(str), st.datetimes().map(str), st.floats().map(str)
)
conditions = st.builds(
    "{} {} {}".format,
    st.sampled_from(["title", "colour", "done", "size_bytes", "create_time", "nothing", ""]),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":", "~", ""]),
    st.one_of(
        literals,
        literals.map(json.dumps),
        st.text(alphabet='\\"*ux d8', max_size=8).map('"{}"'.format),
        st.sampled_from(["RED", "true", "false", "2026-03-01", "2026-03-01T00:00:00Z", '"*"', "1e5", "1_0"]),
        st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", str(2**63), '"\\ud800"']),
    ),
)
filters = st.one_of(st.text(), st.lists(conditions, max_size=4).map(" AND ".join))
orders = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(["title", "size_bytes desc", "create_time asc", "colour", " title  desc ", "", "x"]),
        max_size=3,
    ).map(",".join),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("\0")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["time", "x"]), inner, max_size=2),
    ),
    max_leaves=4,
)


def page_of(database: Database, project: str = "demo", **wanted: Any) -> Page[Note]:
    """One page of a project's notes, which is the same page when only some columns are read."""
    requested = {"filter_text": "", "order_by": "", "page_size": 0, "page_token": "", "scope": "notes/demo"}
    requested |= wanted
    with database.read() as session:
        page = LISTING.page(session, Note.project == project, **requested)
        columns = LISTING.page(session, Note.project == project, columns=(Note.serialized,), **requested)
    assert [(row[0], row[-1]) for row in columns.rows] == [(bytes_of(row), row.id) for row in page.rows]
    assert columns.next_token == page.next_token
    return page


def ids(page: Page[Note]) -> list[str]:
    """The ids of a page, in its order."""
    return [row.id for row in page.rows]


def fill(database: Database, rows: Sequence[Note]) -> None:
    """Writes rows; the same may be written again and again."""
    for row in rows:
        row.serialized = bytes_of(row)
    with database.write() as tx:
        tx.session.connection().execute(insert(Note.__table__), [row.model_dump() for row in rows])
        tx.commit()


def forged(token: str, change: Any) -> str:
    """A token of the same query with another content: anybody can write one."""
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps(change(content)).encode()).decode().rstrip("=")


class ListingSuite:
    """Subclass it with a `database` that is empty. Tests that write have their own project."""

    @pytest.fixture(scope="class")
    @classmethod
    def database(cls) -> Iterator[Database]:
        """The database under test."""
        raise NotImplementedError

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _tables(cls, database: Database) -> None:
        with database.write() as tx:
            SQLModel.metadata.create_all(tx.session.connection(), tables=[Note.__table__])
            if not database.is_sqlite:
                collate_texts(tx.session.connection())  # as every migration does
            tx.commit()
        fill(database, ROWS)

    # Filters.

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "abcd"),
            ("   ", "abcd"),
            ('title = "Night"', "a"),
            ("title=Night", "a"),
            ('title : "Night"', "a"),
            ('title = "night*"', "bd"),
            ('title = "Night*"', "a"),
            ('title = "night 100%*"', "b"),
            ('title = "night_*"', "d"),
            ('title = "*"', "abcd"),
            ('title != "Night"', "bcd"),
            ('title != "n*"', "ac"),
            ('title != "*"', ""),
            ('title != "x*"', "abcd"),
            ('title = "say \\"x\\""', "c"),
            ('title = "na\\u00efve"', ""),
            ("colour = RED", "ac"),
            ("colour != COLOUR_RED", "bd"),
            ('colour = "RED" AND done = true', "a"),
            ('colour = "RED"AND done=true', "a"),
            ("  done = false   AND colour : BLUE  ", "b"),
            ("done != true", "bc"),
            ("size_bytes >= 20", "bc"),
            ("size_bytes < 20 AND size_bytes > 0", "a"),
            ("size_bytes <= 9223372036854775807", "abcd"),
            ("create_time > 2026-03-01T01:00:00Z", "cd"),
            ('create_time <= "2026-03-01T02:00:00+01:00"', "ab"),
        ],
    )
    @pytest.mark.fault("FAULT-F14")
    def test_a_filter_selects(self, database: Database, text: str, expected: str) -> None:
        """A filter selects the rows that meet all of its conditions, the same rows on every engine."""
        assert "".join(ids(page_of(database, filter_text=text, order_by="create_time"))) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "nothing = 1",
            "title",
            "title =",
            "= x",
            "title = a b",
            "title = a AND",
            "title = a AND ",
            "title = a ANDtitle = b",
            "title = a OR title = b",
            "NOT title = a",
            "(title = a)",
            'title = "open',
            'title = "\\x"',
            'title = "a\nb"',
            'title = "\\u0000"',
            'title = "\\ud800"',
            'title = "\\ud800*"',
            "title = a\0b",
            "colour = GREEN",
            "done = yes",
            "done < true",
            'title < "n*"',
            'title >= "n*"',
            "size_bytes = many",
            "size_bytes = 9223372036854775808",
            "size_bytes = -9223372036854775809000",
            "create_time > yesterday",
            "create_time > 2026-03-01",
            "create_time > 2026-03-01T00:00:00",
            "create_time > 0001-01-01T00:00:00+23:59",
            " AND ".join(["done = true"] * 1500),
        ],
    )
    def test_a_filter_that_cannot_be_read_is_refused(self, database: Database, text: str) -> None:
        """A filter that is not of this list's grammar, fields and values is refused, with the fields."""
        with pytest.raises(FilterInvalid) as refused:
            page_of(database, filter_text=text)
        assert refused.value.facts["allowed"] == "colour, create_time, done, size_bytes, title"
        assert len(refused.value.text) < 300

    @pytest.mark.parametrize(
        ("text", "known"),
        [("colour = red", "RED, BLUE"), ("colour = 1", "RED, BLUE"), ("done = yes", "true, false")],
    )
    @pytest.mark.fault("FAULT-N18")
    def test_a_refused_value_names_the_known_ones(self, database: Database, text: str, known: str) -> None:
        """The refusal of a value names the values of the field, where they are few."""
        with pytest.raises(FilterInvalid) as refused:
            page_of(database, filter_text=text)
        assert f"write one of {known};" in refused.value.text

    @pytest.mark.parametrize("order", ["colour", "done desc", "nothing"])
    @pytest.mark.fault("FAULT-F14")
    def test_a_refused_order_names_the_sortable_fields(self, database: Database, order: str) -> None:
        """The refusal of an order names the fields that sort, not those that filter."""
        with pytest.raises(FilterInvalid) as refused:
            page_of(database, order_by=order)
        assert refused.value.facts["allowed"] == "create_time, size_bytes, title"

    # Pages that fit into an answer.

    @pytest.mark.parametrize(
        ("sizes", "counts"),
        [
            ([1, 1, 1, 1], [4]),
            ([MAX_PAGE_BYTES // 2, MAX_PAGE_BYTES // 2, MAX_PAGE_BYTES // 2, 1], [1, 1, 2]),
            ([MAX_PAGE_BYTES * 2, 1, 1, MAX_PAGE_BYTES * 2], [1, 2, 1]),
            ([MAX_PAGE_BYTES - 100, 1, 1, 1], [4]),
        ],
    )
    @pytest.mark.fault("FAULT-F15")
    def test_a_page_is_bounded_in_bytes(
        self, database: Database, sizes: list[int], counts: list[int]
    ) -> None:
        """A page holds as many messages as fit into 3 MiB, at least one; every row is on one page."""
        messages = dict(zip("abcd", (BytesValue(value=bytes(size)) for size in sizes), strict=True))
        token, seen, lengths = "", [], []
        while not seen or token:
            page = page_of(database, order_by="create_time", page_token=token)
            listed, token = page.answer([messages[row.id] for row in page.rows])
            seen += listed
            lengths.append(len(listed))
        assert (seen, lengths) == (list(messages.values()), counts)

    def test_an_empty_page_is_an_answer(self, database: Database) -> None:
        """A page without rows has no messages, and no token."""
        assert page_of(database, filter_text="title = none").answer([]) == ([], "")

    # Orders.

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            ("", "dcba"),
            ("create_time", "abcd"),
            ("create_time desc", "dcba"),
            (" create_time   asc ", "abcd"),
            ("size_bytes desc, title", "cbad"),
            ("size_bytes, create_time desc", "dabc"),
            ("title desc, title", "cdba"),
        ],
    )
    def test_an_order_sorts(self, database: Database, order: str, expected: str) -> None:
        """Rows come in the requested order, by default newest first."""
        assert "".join(ids(page_of(database, order_by=order))) == expected

    def test_texts_are_in_the_order_of_their_bytes(self, database: Database) -> None:
        """Every database sorts, compares and pages texts alike, in any locale of its server."""
        titles = ["a-1", "a1", "B", "b", "A", "a b", "Zebra", "äpfel", "a_b", "Ab", "ab", "😀", "\uffff"]
        with database.write() as tx:
            for title in titles:
                row = Note(id=f"text {title}", project="texts", title=title)
                row.serialized = bytes_of(row)
                tx.session.add(row)
            tx.commit()
        wanted, seen, token = sorted(titles, key=str.encode), [], ""
        for _ in titles:
            page = page_of(database, "texts", order_by="title", page_size=1, page_token=token)
            seen += [row.title for row in page.rows]
            token = page.next_token
        assert (seen, token) == (wanted, "")
        for operator in ("<", "<=", ">", ">="):
            rows = page_of(database, "texts", order_by="title", filter_text=f'title {operator} "ab"').rows
            at = wanted.index("ab")
            first, last = {"<": (0, at), "<=": (0, at + 1), ">": (at + 1, None), ">=": (at, None)}[operator]
            assert [row.title for row in rows] == wanted[first:last]

    @pytest.mark.parametrize(
        "order", ["colour", "nothing", "title up", "title,", ",", " ", "title desc desc", "id\0"]
    )
    def test_an_order_that_cannot_be_had_is_refused(self, database: Database, order: str) -> None:
        """An order by a field that is not sortable is refused."""
        with pytest.raises(FilterInvalid):
            page_of(database, order_by=order)

    # Pages.

    @pytest.mark.parametrize("order", ["", "title", "size_bytes desc, title", "create_time, size_bytes desc"])
    def test_pages_hold_every_lasting_row_once(self, database: Database, order: str) -> None:
        """Rows that stay are on exactly one page, with any insertions and deletions between the pages."""
        project = f"paged by {order}"
        lasting = {f"{order}-{n:02}" for n in range(0, 40, 2)}
        fill(
            database,
            [
                Note(
                    id=f"{order}-{n:02}",
                    project=project,
                    title=f"t{n % 5}",
                    size_bytes=n % 3,
                    create_time=BEGIN + timedelta(seconds=n // 4),
                )
                for n in range(40)
            ],
        )
        seen: list[str] = []
        token, number = "", 0
        while token or not seen:
            page = page_of(database, project, order_by=order, page_size=3, page_token=token)
            seen += ids(page)
            token = page.next_token
            with database.write() as tx:
                doomed = [
                    f"{order}-{number * 2 + 1:02}",
                    *(name for name in seen[-1:] if name not in lasting),
                ]
                tx.session.connection().execute(delete(Note.__table__).where(Note.__table__.c.id.in_(doomed)))
                tx.commit()
            new = Note(id=f"{order}+{number}", project=project, title=f"t{number % 5}", size_bytes=number % 3)
            fill(database, [new])
            number += 1
        assert len(seen) == len(set(seen))
        assert lasting <= set(seen)

    @pytest.mark.parametrize(
        ("requested", "given"), [(0, DEFAULT_PAGE), (-1, DEFAULT_PAGE), (7, 7), (5000, MAX_PAGE)]
    )
    def test_a_page_has_at_most_so_many_rows(self, database: Database, requested: int, given: int) -> None:
        """A page has as many rows as requested, 50 where the request is not positive,
        and never above 1000.
        """
        fill(
            database, [Note(id=f"{requested} {n}", project=f"many {requested}") for n in range(MAX_PAGE + 1)]
        )
        page = page_of(database, f"many {requested}", page_size=requested)
        assert len(page.rows) == given
        assert page.next_token

    def test_the_last_page_has_no_token(self, database: Database) -> None:
        """A page that ends exactly with the last row has no token of a next page."""
        first = page_of(database, page_size=2)
        assert page_of(database, page_size=2, page_token=first.next_token).next_token == ""

    # Tokens.

    @pytest.mark.parametrize(
        "other", [{"filter_text": "done = true"}, {"order_by": "create_time"}, {"scope": "notes/other"}]
    )
    def test_a_token_belongs_to_its_query(self, database: Database, other: dict[str, str]) -> None:
        """A token of one list, filter and order is refused by every other."""
        token = page_of(database, page_size=1).next_token
        with pytest.raises(PageTokenInvalid, match="another list"):
            page_of(database, page_size=1, page_token=token, **other)

    @pytest.mark.parametrize(
        "values",
        [
            None,
            "ab",
            [],
            ["d"],
            [{"time": "2026-03-01T00:00:00+00:00"}],
            [{"time": "2026-03-01T00:00:00+00:00"}, "d", "d"],
            ["2026-03-01T00:00:00+00:00", "d"],
            [{"time": "2026-03-01T00:00:00"}, "d"],
            [{"time": "0001-01-01T00:00:00+23:59"}, "d"],
            [{"time": "soon"}, "d"],
            [{"time": None}, "d"],
            [{"other": 1}, "d"],
            [{"time": "2026-03-01T00:00:00+00:00"}, None],
            [{"time": "2026-03-01T00:00:00+00:00"}, True],
            [{"time": "2026-03-01T00:00:00+00:00"}, 7],
            [{"time": "2026-03-01T00:00:00+00:00"}, "\0"],
            [{"time": "2026-03-01T00:00:00+00:00"}, "\ud800"],
            [[[]], {}],
        ],
    )
    def test_a_forged_position_is_refused(self, database: Database, values: Any) -> None:
        """A token of this very query that names no possible position is refused, not a bug."""
        token = page_of(database, page_size=1).next_token
        with pytest.raises(PageTokenInvalid):
            page_of(database, page_size=1, page_token=forged(token, lambda content: [content[0], values]))

    @pytest.mark.parametrize("value", [True, "x", 1.5, 2**63, None])
    def test_a_forged_number_is_refused(self, database: Database, value: Any) -> None:
        """A token whose value is no number of this column is refused, not a bug."""
        token = page_of(database, page_size=1, order_by="size_bytes").next_token
        with pytest.raises(PageTokenInvalid):
            page_of(
                database,
                page_size=1,
                order_by="size_bytes",
                page_token=forged(token, lambda content: [content[0], [value, "d"]]),
            )

    @pytest.mark.parametrize(
        "token", ["x", "é", "eyJ9", "W10", "bnVsbA", "WzFd", "/+=", "=", "W1" * 4000, "Ww" * 2000]
    )
    def test_a_token_that_is_none_is_refused(self, database: Database, token: str) -> None:
        """A text that is no token is refused."""
        with pytest.raises(PageTokenInvalid):
            page_of(database, page_token=token)

    def test_deeply_nested_json_in_a_token_is_refused(self, database: Database) -> None:
        """A token that would exhaust the reader's stack is refused."""
        token = base64.urlsafe_b64encode(b"[" * 100_000).decode()
        with pytest.raises(PageTokenInvalid):
            page_of(database, page_token=token)

    # Anything.

    @FUZZ
    @given(text=filters, order=orders, size=st.integers(-(2**31), 2**31 - 1))
    def test_any_filter_and_order_is_answered_or_refused(
        self, database: Database, text: str, order: str, size: int
    ) -> None:
        """Any text as filter and order gets rows or FILTER_INVALID, and never a bug."""
        with contextlib.suppress(FilterInvalid):
            page_of(database, filter_text=text, order_by=order, page_size=size)

    @FUZZ
    @given(content=json_values, order=st.sampled_from(["", "title", "size_bytes, title desc"]))
    def test_any_token_is_answered_or_refused(self, database: Database, content: Any, order: str) -> None:
        """Any position forged into a token of this query gets rows or PAGE_TOKEN_INVALID."""
        token = page_of(database, page_size=1, order_by=order).next_token
        for change in (
            lambda _: content,
            lambda given: [given[0], content],
            lambda given: [given[0], [content] * 2],
        ):
            with contextlib.suppress(PageTokenInvalid):
                page_of(database, order_by=order, page_token=forged(token, change))


class TestSqliteListing(ListingSuite):
    """A SQLite file."""

    @pytest.fixture(scope="class")
    @classmethod
    def database(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
        """The database under test."""
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('listing')}/test.db")
        yield database
        database.close()


class TestPostgresqlListing(ListingSuite):
    """A PostgreSQL server."""

    @pytest.fixture(scope="class")
    @classmethod
    def database(cls, postgresql: Any) -> Iterator[Database]:
        """The database under test."""
        database = Database(postgresql.emptied())
        yield database
        database.close()
