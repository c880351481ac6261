"""No test waits a fixed time: all polling stands in `tests.harness.expectations.until`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
# Each function that may sleep, and why waiting for a fact would not do.
EXCEPTIONS = {
    "harness/expectations.py:until": "the one function that polls",
    "faults/cancellation/cancelling.py:_pass": "the drawn instant of the cancel is under test",
    "faults/network/wires.py:_delay": "the delay of a call is the fault itself",
    "e2e/breaking.py:endure": "the length of the fault, past a lease, is the fault itself",
}
ELSEWHERE = ("bench",)  # benchmarks measure time


def waits_in(source: str) -> Iterator[tuple[str, str]]:
    """The function of each fixed wait in a module, and the wait: a sleep, a wait for an event that is never
    set, or a loop that polls by the clock or by short waits.
    """

    def visit(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if _is_fixed_wait(node) or (isinstance(node, ast.While) and _polls(node)):
            yield function, ast.unparse(node.test if isinstance(node, ast.While) else node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function)

    yield from visit(ast.parse(source), "")


def _called(node: ast.AST) -> str:
    """The last name of a call's function; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_fixed_wait(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    match node.func:
        case ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep"):
            return True
        case ast.Attribute(value=ast.Call() as made, attr="wait"):
            return _called(made) == "Event"
    return isinstance(node.func, ast.Name) and node.func.id == "sleep" and bool(node.args)


def _polls(loop: ast.While) -> bool:
    """Whether a loop goes on until a time, or waits a fixed time in its condition."""
    return any(_called(node) in {"monotonic", "perf_counter", "wait"} for node in ast.walk(loop.test))


def _modules() -> Iterator[tuple[str, str]]:
    for path in sorted(TESTS.rglob("*.py")):
        name = path.relative_to(TESTS).as_posix()
        if not name.startswith(ELSEWHERE):
            yield name, path.read_text()


def test_tests_wait_for_facts() -> None:
    """Nothing in `tests/` sleeps or polls but the functions above, and each of these does."""
    found = {f"{name}:{function}": wait for name, text in _modules() for function, wait in waits_in(text)}
    assert {place: wait for place, wait in found.items() if place not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) - set(found) == set()


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.sleep(1)",
        "from time import sleep\nsleep(0.1)",
        "async def f():\n    await asyncio.sleep(1)",
        "threading.Event().wait(0.3)",
        "while time.monotonic() < end:\n    poll()",
        "while not given_up.wait(0.005):\n    poll()",
    ],
)
def test_each_fixed_wait_is_found(text: str) -> None:
    """Each way of waiting a fixed time is noticed."""
    assert list(waits_in(text))


def test_a_wait_for_a_fact_is_none() -> None:
    """A bounded wait for an event that another thread sets is no fixed wait."""
    assert not list(waits_in("assert reached.wait(60)\nprocess.wait(20)\nuntil(lambda: done)"))
