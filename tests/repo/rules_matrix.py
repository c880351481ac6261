"""The 68 rules: the place where each is kept, and the tests that prove it.

`make rules` prints it; test_rules.py holds the build to it.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.markup import escape

ROOT = Path(__file__).resolve().parents[2]
_ROW = re.compile(r"^\| (R\d\d) \| (kept|pending) \| (.*?) \| [^|]* \| [^|]* \| ")
_MOST_TESTS = 3
# A function begins its docstring with the rules that it keeps; a refusal has its rule as an attribute.
_HOME = re.compile(r"(R\d\d(?:, R\d\d)*):")


@dataclass
class Rule:
    """One rule: its text and state as RULES.md has them, the definitions that keep it, the tests that prove
    it.
    """

    number: str
    state: str
    text: str
    homes: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


@cache
def read_rules() -> dict[str, Rule]:
    """All rules, with the code and the tests that cite them."""
    found = (_ROW.match(line) for line in (ROOT / "RULES.md").read_text().splitlines())
    rules = {row.group(1): Rule(*row.groups()) for row in found if row}
    for path, tree in _modules("services", "libs"):
        for name, number in _homes(tree):
            rules[number].homes.append(f"{path.relative_to(ROOT)}:{name}")
    for path, tree in _modules("tests"):
        for test, numbers in _marks(tree):
            for number in numbers:
                rules[number].tests.append(f"{path.relative_to(ROOT)}::{test}")
    return rules


def _modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "contracts" not in path.parts:
                yield path, ast.parse(path.read_text())


def _homes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every definition that keeps a rule, with the rule's number.

    A refusal that takes its rule from another, `rule = Other.rule`, is no home: the other is.
    """
    for name, docstring in _docstrings(tree):
        if home := _HOME.match(docstring):
            yield from ((name, number) for number in home.group(1).split(", "))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                match statement:
                    case ast.Assign([ast.Name("rule")], ast.Constant(str(number))):
                        yield node.name, number


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every docstring, also those of attributes, with the name of its subject."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            for statement in node.body[1:]:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield node.name, str(statement.value.value)


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Every test, with the rules that it or its class is marked with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            numbers = _numbers(node)
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name.startswith("test_"):
                    yield f"{node.name}::{inner.name}", numbers
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, _numbers(node)


def _numbers(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    return [
        str(argument.value)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule"
        for argument in decorator.args
        if isinstance(argument, ast.Constant)
    ]


class _Output(Console):
    """A console whose reader may end first: `make rules | head` is no error."""

    def on_broken_pipe(self) -> None:
        """Ends the program with 0."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise SystemExit(0)


def main() -> None:
    """Prints the matrix, a block a rule."""
    console = _Output(highlight=False, soft_wrap=True)
    rules = read_rules().values()
    for rule in rules:
        colour = "green" if rule.state == "kept" else "dim"
        console.print(f"[{colour}]{rule.number} {rule.state:8}[/]{escape(rule.text)}")
        for home in rule.homes:
            console.print(f"             kept in    {home}")
        for test in rule.tests[:_MOST_TESTS]:
            console.print(f"             proven by  {test}", markup=False)
        if len(rule.tests) > _MOST_TESTS:
            console.print(f"             and by     {len(rule.tests) - _MOST_TESTS} more")
    kept = sum(rule.state == "kept" for rule in rules)
    console.print(f"{kept} kept and proven, {len(rules) - kept} pending")


if __name__ == "__main__":
    main()
