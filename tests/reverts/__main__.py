"""Takes each fix of a known fault back, alone, and shows that a test with the fault's id fails.

`fixes.toml` has the fixes: the text that mends the fault, and the text without the mending. Each is applied
to a copy of the tree, where the tests that carry the id must fail; they pass here, in `make test`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.harness.thirds import Third

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 300
_TESTS_FAILED = 1  # pytest's exit code


@dataclass(frozen=True)
class Fix:
    """One fix: `with_fix` stands in `file`, once, and `without` in its place brings the fault back."""

    fault: str
    file: str
    with_fix: str
    without: str

    def revert(self, tree: Path) -> None:
        """Brings the fault back into a copy of the tree."""
        path = tree / self.file
        text = path.read_text()
        if text.count(self.with_fix) != 1:
            sys.exit(
                f"{self.fault}: its fix stands {text.count(self.with_fix)} times in {self.file}; it moved"
            )
        path.write_text(text.replace(self.with_fix, self.without))


def main() -> None:
    """Reverts the fixes that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.reverts", description=__doc__)
    parser.add_argument("faults", metavar="FAULT", nargs="*", help="FAULT-F08; all by default")
    parser.add_argument("--third", type=Third.parse, default=Third(), metavar="K/3", help="a third of them")
    options = parser.parse_args()
    fixes = [fix for fix in read_fixes() if not options.faults or fix.fault in options.faults]
    console = Console(highlight=False)
    kept = 0
    with tempfile.TemporaryDirectory(prefix="recast-reverts-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        for fix in options.third.part(fixes):
            begun = time.monotonic()
            problem = revert(tree, fix)
            kept += problem is not None
            seconds = time.monotonic() - begun
            console.print(f"{fix.fault:9}  {seconds:5.1f} s  {problem or 'red without its fix'}  {fix.file}")
    if kept:
        sys.exit(f"{kept} fixes can be taken back without a test that fails")


def read_fixes() -> list[Fix]:
    """The fixes of the table."""
    table = tomllib.loads((Path(__file__).parent / "fixes.toml").read_text())
    return [
        Fix(each["fault"], each["file"], each["with"].strip("\n"), each["without"].strip("\n"))
        for each in table["fix"]
    ]


def copy_tree(target: Path) -> None:
    """Copies every file of the tree that Git knows, as it is now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def revert(tree: Path, fix: Fix) -> str | None:
    """None when a test with the fault's id fails without the fix; else what happened instead."""
    tests = sorted(_tests_of(tree, fix.fault))
    if not tests:
        return "no test has its id"
    before = (tree / fix.file).read_text()
    fix.revert(tree)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "--fault", fix.fault, *tests],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(_sources(tree))},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    finally:
        (tree / fix.file).write_text(before)
    if done.returncode == _TESTS_FAILED:
        return None
    return f"pytest ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _tests_of(tree: Path, fault: str) -> Iterator[str]:
    """The test files that name a fault."""
    for path in (tree / "tests").rglob("test_*.py"):
        if f'"{fault}"' in path.read_text():
            yield str(path.relative_to(tree))


def _sources(tree: Path) -> list[str]:
    """The folders of the copy's own packages; they stand before those of the environment."""
    return [str(tree / "libs"), str(tree / "libs/contracts"), *map(str, (tree / "services").glob("*/src"))]


if __name__ == "__main__":
    main()
