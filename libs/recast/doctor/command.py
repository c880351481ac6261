"""The command line: `python -m recast.doctor` and `recast doctor`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recast.doctor.examination import examine
from recast.doctor.findings import Counts, Report
from recast.doctor.installation import Installation, Unreadable

CLEAN, PROBLEMS, UNREADABLE = 0, 1, 2
# Without a terminal each problem is one line of any length.
_UNLIMITED_WIDTH = 10_000


def run(root: Path, *, deep: bool, at_rest: bool, as_json: bool, out: Console | None = None) -> int:
    """Examines the installation under a root, prints the report, and returns the exit code."""
    out = out or Console(width=None if sys.stdout.isatty() else _UNLIMITED_WIDTH)
    if not as_json:
        # Flushed before the examination, which may take long.
        out.print(f"examining {root.absolute()}", style="dim", markup=False, highlight=False, soft_wrap=True)
    try:
        report = examine(Installation.local(root), deep=deep, at_rest=at_rest)
    except Unreadable as problem:
        Console(stderr=True).print(
            f"cannot read: {problem}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        return UNREADABLE
    if as_json:
        out.print(_json(root, report), markup=False, highlight=False, soft_wrap=True)
    else:
        _print(report, out)
    return PROBLEMS if report.problems else CLEAN


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the arguments; see `run`."""
    parser = argparse.ArgumentParser(
        prog="python -m recast.doctor",
        description="Checks a whole installation and reports its problems. It changes nothing.",
        epilog="Exit codes: 0 no problems, 1 problems, 2 unreadable installation.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(".recast"), help="the folder of keys, data and stores"
    )
    parser.add_argument("--deep", action="store_true", help="read every stored byte, not only names")
    parser.add_argument(
        "--at-rest", action="store_true", help="all work has ended: nothing may be in progress"
    )
    parser.add_argument(
        "--output", "-o", choices=("table", "json"), default="table", help="the output format"
    )
    given = parser.parse_args(arguments)
    return run(given.root, deep=given.deep, at_rest=given.at_rest, as_json=given.output == "json")


def _json(root: Path, report: Report) -> str:
    problems = [asdict(problem) | {"remedy": problem.remedy} for problem in report.problems]
    in_progress = [asdict(each) for each in report.in_progress]
    counts = asdict(report.counts)
    found = {"root": str(root.absolute()), "problems": problems, "in_progress": in_progress, "counts": counts}
    return json.dumps(found, indent=2)


def _print(report: Report, out: Console) -> None:
    if report.in_progress:
        progress = _table("IN PROGRESS", "WHAT")
        for each in report.in_progress:
            progress.add_row(Text(each.resource, style="cyan"), Text(each.what))
        out.print(progress)
    if report.problems:
        problems = _table("PROBLEM", "WITH", "WHAT IS WRONG", "WHAT TO DO")
        for problem in report.problems:
            cells = (problem.what, problem.remedy)
            code, resource = Text(problem.code, style="bold red"), Text(problem.resource, style="cyan")
            problems.add_row(code, resource, *map(Text, cells))
        out.print(problems)
    number = len(report.problems)
    verdict = Text("nothing is wrong", style="bold green")
    if number:
        verdict = Text("1 problem" if number == 1 else f"{number} problems", style="bold red")
    out.print(verdict.append(f": {_summary(report.counts)}", style="default not bold"), soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _summary(counts: Counts) -> str:
    waiting = (
        f"{_count(counts.collectable_indexes, 'index', 'indexes')} and "
        f"{_count(counts.collectable_chunks, 'chunk')} await collection"
    )
    if not counts.collectable_indexes and not counts.collectable_chunks:
        waiting = "nothing awaits collection"
    elif counts.collectable_bytes:
        waiting += f" ({_size(counts.collectable_bytes)})"
    return (
        f"{_count(counts.backups, 'backup')}, {_count(counts.images, 'image')}, "
        f"{_count(counts.servers, 'server')}, {_count(counts.disks, 'disk')}; "
        f"{_count(counts.chunks, 'chunk')} of {_size(counts.stored_bytes)} stored, {waiting}"
    )


def _count(number: int, noun: str, plural: str = "") -> str:
    """`1 disk`, `2 disks`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def _size(number: int) -> str:
    """`10.0 GiB`."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
