"""Progress bars on stderr, only on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from recast.client.cli.escaping import escaped
from recast.client.upload import OnBytes
from recast.client.waiting import OnProgress
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata, OperationState


class _OfBytes(ProgressColumn):
    """A column for tasks measured in bytes; empty for tasks measured in percent."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """The column, or nothing."""
        return self._column.render(task) if task.fields["bytes"] else Text()


class _WorkBars:
    """One bar for an operation, and one for each of its disks when there are several."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._whole = progress.add_task("waiting", total=None, step="", bytes=False)
        self._disks: dict[str, TaskID] = {}

    def show(self, work: OperationMetadata) -> None:
        """Updates the bars."""
        step = "being undone" if work.state == OperationState.OPERATION_STATE_UNDOING else work.step
        if work.retries and work.last_retry_reason:
            step = f"{step} (tried again: {work.last_retry_reason})"
        done, total, measured = amount(work)
        if not measured and len(work.parts) > 1:
            step = f"{done} of {total}  {step}"
        self._progress.update(
            self._whole,
            description=f"{work.verb} {work.target.rpartition('/')[2]}",
            total=total,
            completed=done,
            step=escaped(step),
            bytes=measured,
        )
        for disk in work.disks if len(work.disks) > 1 else ():
            name = disk.disk.rpartition("/")[2]
            if name not in self._disks:
                self._disks[name] = self._progress.add_task(
                    f"  {name}", total=disk.total_bytes, step="", bytes=True
                )
            self._progress.update(self._disks[name], completed=disk.done_bytes, total=disk.total_bytes)


def amount(work: OperationMetadata) -> tuple[int, int, bool]:
    """How much is done, of how much, and whether these are bytes.

    An operation with bytes is measured in bytes, so that the bar has size and speed. A batch first brings the
    bytes of its image, once for all its parts, if they are not there; then it is measured in parts.
    """
    if len(work.parts) > 1 and work.done_bytes >= work.total_bytes:
        return work.parts_done, len(work.parts), False
    if work.total_bytes > 0:
        return work.done_bytes, work.total_bytes, True
    return work.progress_percent, 100, False


def _progress(console: Console, *columns: TextColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        _OfBytes(DownloadColumn(binary_units=True)),
        _OfBytes(TransferSpeedColumn()),
        TimeElapsedColumn(),
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def work_bars(console: Console) -> Iterator[OnProgress | None]:
    """Yields the callback for each OperationMetadata; None without a terminal: waits take fewer calls."""
    if not console.is_terminal:
        yield None
        return
    with _progress(console, TextColumn("{task.fields[step]}", style="dim")) as progress:
        yield _WorkBars(progress).show


@contextmanager
def upload_bar(console: Console, what: str) -> Iterator[OnBytes | None]:
    """Yields the callback for bytes sent and bytes in all."""
    if not console.is_terminal:
        yield None
        return
    with _progress(console) as progress:
        task = progress.add_task(what, total=None, bytes=True)
        yield lambda sent, total: progress.update(task, completed=sent, total=total)
