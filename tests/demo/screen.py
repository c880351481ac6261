"""The output of the demo: colours and bars in a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from recast.client.cli.failure import as_text
from recast.client.cli.progress import upload_bar, work_bars
from recast.client.cli.render import human_size
from recast.client.upload import OnBytes
from recast.client.waiting import OnProgress
from recast.faults import Refusal
from tests.demo.record import Check

__all__ = ["Screen", "human_size"]

_PLAIN_WIDTH = 120
_INDENT = 4


class Screen:
    """The one console of the demo. Threads may share it."""

    def __init__(self, request_id: str) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            # A terminal without check marks prints question marks; it does not end the demo.
            sys.stdout.reconfigure(errors="replace")
        is_terminal = sys.stdout.isatty()
        self.console = Console(highlight=False, width=None if is_terminal else _PLAIN_WIDTH)
        self.request_id = request_id

    # Lines.

    def title(self, name: str, sentences: Sequence[str]) -> None:
        """The first lines."""
        self.console.print()
        self._line(Text.assemble((name, "bold cyan"), "  ", sentences[0]), 0)
        for sentence in sentences[1:]:
            self._line(Text(sentence, "dim"), len(name) + 2)

    def begin(self, number: int, title: str) -> None:
        """A step begins."""
        self.console.print()
        self._line(Text.assemble((f"{number:2}  ", "bold cyan"), (title, "bold")), 0)

    def end(self, seconds: float, failed: int) -> None:
        """A step ended, and `failed` of its checks do not hold."""
        problem = f", {failed} of its checks failed" if failed else ""
        self._line(Text(f"done in {seconds:.2f} s{problem}", "bold red" if failed else "cyan"))

    def say(self, subject: str, text: str = "") -> None:
        """A line: its subject, and a text about it."""
        self._line(Text.assemble((f"{subject:<13} ", "dim"), text) if text else Text(subject))

    def check(self, check: Check) -> None:
        """The result of a check."""
        mark, style = ("✓", "green") if check.ok else ("✗", "bold red")
        self._line(Text.assemble((f"{mark} {check.rule:<4}", style), (check.name, "" if check.ok else style)))

    def refusal(self, question: str, refusal: Refusal) -> None:
        """A refusal as the product's command line prints it."""
        self.say(question)
        # Without its last line, the request id: it is the same for the whole run.
        for line in as_text(refusal, self.request_id).split("\n")[:-1]:
            self._line(Text.assemble(("│ ", "red"), line), _INDENT + 2)

    def problem(self, headline: str, text: str) -> None:
        """A problem."""
        self.console.print()
        self._line(Text.assemble((headline, "bold red")), 0)
        for line in text.splitlines():
            self._line(Text(line))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], last: Sequence[str]) -> None:
        """A table whose first column is text and whose others are numbers; `last` is its sum."""
        shape = box.SIMPLE_HEAD if self.console.is_terminal else None
        table = Table(*headings, box=shape, header_style="bold", pad_edge=False, show_footer=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        table.add_row(*last, style="bold")
        self.console.print()
        self.console.print(table)

    def verdict(self, text: str, ok: bool) -> None:
        """The last line."""
        self.console.print()
        self._line(Text(text, "bold green" if ok else "bold red"), 0)

    def _line(self, text: Text, indent: int = _INDENT) -> None:
        # Soft wrap: the output can be copied, and a log has one line a fact.
        self.console.print(Text(" " * indent).append_text(text), soft_wrap=True)

    # Bars, for a terminal alone.

    def work(self) -> AbstractContextManager[OnProgress | None]:
        """The product's own bars of an operation: give it to `Recast.wait`."""
        return work_bars(self.console)

    def upload(self, label: str) -> AbstractContextManager[OnBytes | None]:
        """The product's own bar of an upload: give it to `Recast.import_image`."""
        return upload_bar(self.console, label)

    @contextmanager
    def busy(self, label: str) -> Iterator[None]:
        """A spinner."""
        if self.console.is_terminal:
            with self.console.status(label):
                yield
        else:
            yield

    @contextmanager
    def reading(self, label: str, count: int) -> Iterator[Callable[[], object]]:
        """A bar over `count` disks; gives the function to call when one more was read."""
        progress = Progress(
            TextColumn(" " * _INDENT + "{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            task = progress.add_task(label, total=count)
            yield lambda: progress.advance(task)
