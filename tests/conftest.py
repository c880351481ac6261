"""The command line options of the tests, and the tests that they select."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.harness")  # before the first import of one of its modules

from tests.harness.fuzzing import seed_of_the_commit  # noqa: E402
from tests.harness.thirds import Third  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--prove R35`: the tests that prove that rule. `--databases postgresql`: tests/system on PostgreSQL.

    `--third 2/3`: a third of the slow tests; `--whole FILE` exempts a file from it. `--fuzz-seed SEED`: the
    seed of the requests made at random, by default of the commit.
    """
    parser.addoption("--prove", metavar="RULE", default="", help="only the tests that prove a rule, like R35")
    parser.addoption("--fault", metavar="FAULT", default="", help="only the tests of a fault, like FAULT-F08")
    parser.addoption(
        "--databases",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="the database of the services in tests/system",
    )
    parser.addoption(
        "--third", metavar="K/3", type=Third.parse, default=Third(), help="a third of the slow tests"
    )
    parser.addoption("--fuzz-seed", metavar="SEED", default=seed_of_the_commit(Path(__file__).parent))
    parser.addoption("--whole", metavar="FILE", type=Path, action="append", default=[], help="run it whole")


@pytest.fixture(scope="session")
def fuzz_seed(request: pytest.FixtureRequest) -> str:
    """The seed of the requests made at random."""
    return str(request.config.getoption("--fuzz-seed"))


@pytest.fixture
def third(request: pytest.FixtureRequest) -> Third:
    """The part of its own points that a test tries: it is one large matrix, and runs in every third."""
    return Third() if _is_whole(request.node) else request.config.getoption("--third")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Selects the tests that the options name."""
    selected = list(items)
    if rule := config.getoption("--prove"):
        selected = [item for item in selected if any(rule in mark.args for mark in item.iter_markers("rule"))]
    if fault := config.getoption("--fault"):
        selected = [
            item for item in selected if any(fault in mark.args for mark in item.iter_markers("fault"))
        ]
    if config.getoption("--third") != Third():
        chosen = set(_third_of(selected, config.getoption("--third")))
        selected = [item for item in selected if item in chosen]
    if len(selected) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in selected])
        items[:] = selected


def _third_of(items: list[pytest.Item], third: Third) -> Iterator[pytest.Item]:
    """A third of the tests of each folder, by test and not by file.

    Most of the time is that of the tests and not of their setup, and a file holds rows of similar tests: so
    the thirds take equally long. Tests that go on from each other stay together.
    """
    for _, there in groupby(items, key=lambda item: item.path.parent):
        units: dict[str, list[pytest.Item]] = {}
        for item in there:
            takes_third = "third" in getattr(item, "fixturenames", ())
            if takes_third or item.get_closest_marker("always") or _is_whole(item):
                yield item
            else:
                unit = item.nodeid.rpartition("::")[0] if item.get_closest_marker("together") else item.nodeid
                units.setdefault(unit, []).append(item)
        for unit in third.part(units.values()):
            yield from unit


def _is_whole(item: pytest.Item) -> bool:
    return item.path in {path.resolve() for path in item.config.getoption("--whole")}
