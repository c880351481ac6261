"""What every test may be asked with."""

import pytest

pytest.register_assert_rewrite("tests.harness")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--prove R35`: the tests that prove that rule. `--databases postgresql`: tests/system on PostgreSQL."""
    parser.addoption("--prove", metavar="RULE", default="", help="only the tests that prove a rule, like R35")
    parser.addoption(
        "--databases",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="what the services of tests/system keep their rows in",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of the rule that was asked for."""
    rule = config.getoption("--prove")
    if rule:
        kept = [item for item in items if any(rule in mark.args for mark in item.iter_markers("rule"))]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
