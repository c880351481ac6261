"""Parts that the fault tests share. The tests take minutes, so `make test-faults` runs them and
`make test` does not.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.storage import io_rig


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Prints a line of measured figures below the results, also under xdist."""
    return lambda text: record_property("figure", text)


@pytest.fixture
def faulty_rig(tmp_path: Path) -> Iterator[io_rig.IoRig]:
    """A stack with the world of the crash tests, in whose disks and chunk stores faults can be injected."""
    started = io_rig.IoRig(tmp_path / "rig")
    try:
        io_rig.build_world(started)
        yield started
    finally:
        started.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the figures of all tests."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    ]
    figures = [
        (report.nodeid.rpartition("::")[2], text)
        for report in reports
        for name, text in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
    for test, text in figures:
        terminalreporter.write_line(f"{test}: {text}")
