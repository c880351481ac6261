"""Following an operation to its end."""

import io
from typing import Any

import pytest
from rich.console import Console

from recast.client import WaitTimedOut, metadata_of
from recast.client.cli.progress import upload_bar, work_bars
from recast.csbs.v1.backup_pb2 import Backup
from recast.faults import Conflict, OperationNotFound, RemoteRefusal, TooManyWaits, Unavailable
from recast.longrunning.v1.operation_metadata_pb2 import DiskProgress, OperationMetadata, OperationState

NAME = "projects/demo/operations/op-1"
DONE = Backup(name="projects/demo/backups/nightly")


class SteppingClock:
    """A clock that is `step` seconds later at each call."""

    def __init__(self, step: float) -> None:
        self._step, self._now = step, 0.0

    def __call__(self) -> float:
        """The time."""
        self._now += self._step
        return self._now


def test_wait_returns_the_end(recast: Any, services: Any, operation: Any, in_turn: Any) -> None:
    """An operation is waited for until it is done, and its metadata can be read."""
    services.answers["Operations.WaitOperation"] = in_turn(
        [operation(), operation(), operation(response=DONE)]
    )
    ended = recast.wait(NAME, "csbs")
    assert (ended.done, metadata_of(ended).verb) == (True, "CreateBackup")
    assert [call.service for call in services.calls] == ["csbs", "csbs", "csbs"]


def test_progress_is_reported(recast: Any, services: Any, operation: Any, in_turn: Any) -> None:
    """Each answer's progress is reported, the last one's too."""
    steps = [operation(metadata=OperationMetadata(progress_percent=each)) for each in (0, 50)]
    last = operation(metadata=OperationMetadata(progress_percent=100), response=DONE)
    services.answers["Operations.WaitOperation"] = in_turn([*steps, last])
    seen: list[int] = []
    recast.wait(operation(), "ims", lambda work: seen.append(work.progress_percent))
    assert seen == [0, 50, 100]
    assert services.calls[0].sent["timeout"] == "0.500s"


def test_failed_operation_is_a_refusal(recast: Any, services: Any, operation: Any) -> None:
    """An operation that ended with an error raises it, with its facts."""
    services.answers["Operations.WaitOperation"] = operation(
        error=Conflict(resource="projects/demo/backups/b")
    )
    with pytest.raises(RemoteRefusal) as refused:
        recast.wait(NAME, "csbs")
    assert refused.value.reason == "CONFLICT"
    assert refused.value.facts["resource"] == "projects/demo/backups/b"


def test_wait_outlives_a_restart(recast: Any, services: Any, operation: Any, in_turn: Any) -> None:
    """A service that is UNAVAILABLE for a while is waited for, because its work goes on after a restart."""
    unavailable = Unavailable(problem="restarting")
    services.answers["Operations.WaitOperation"] = in_turn([unavailable] * 6 + [operation(response=DONE)])
    assert recast.wait(NAME, "csbs").done


def test_wait_gives_up_on_a_service_that_stays_unavailable(recast: Any, services: Any) -> None:
    """A service that stays UNAVAILABLE for a minute ends the wait with that refusal."""
    recast._clock = SteppingClock(61.0)
    services.answers["Operations.WaitOperation"] = Unavailable(problem="gone")
    with pytest.raises(RemoteRefusal, match="gone"):
        recast.wait(NAME, "csbs")


def test_unknown_operation_ends_the_wait_at_once(recast: Any, services: Any) -> None:
    """Any other refusal ends the wait."""
    services.answers["Operations.WaitOperation"] = OperationNotFound(operation=NAME)
    with pytest.raises(RemoteRefusal, match="there is no operation"):
        recast.wait(NAME, "csbs")
    assert len(services.calls) == 1


def test_too_many_waits_become_polls(recast: Any, services: Any, operation: Any) -> None:
    """Where the server's limit of waits is reached, the operation is polled instead."""
    services.answers["Operations.WaitOperation"] = TooManyWaits(limit=24)
    services.answers["Operations.GetOperation"] = operation(response=DONE)
    assert recast.wait(NAME, "csbs").done


def test_wait_ends_after_its_time(recast: Any, services: Any, operation: Any) -> None:
    """A wait with a timeout ends with WaitTimedOut, and no single call waits longer than the rest of it."""
    recast._clock = SteppingClock(2.0)
    services.answers["Operations.WaitOperation"] = operation()
    with pytest.raises(WaitTimedOut, match=r"op-1 did not end within 5 s; the work goes on"):
        recast.wait(NAME, "csbs", timeout_seconds=5)
    assert services.calls[0].sent["timeout"] == "3s"


def test_bars_show_bytes_and_disks() -> None:
    """On a terminal the bar has work, bytes and step, and each disk when there are several."""
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    disks = [
        DiskProgress(disk=f"projects/demo/disks/{name}", done_bytes=1, total_bytes=4) for name in ("a", "b")
    ]
    work = OperationMetadata(
        verb="CreateBackup",
        target="projects/demo/backups/nightly",
        done_bytes=1 << 30,
        total_bytes=4 << 30,
        step="copying",
        disks=disks,
        retries=1,
        last_retry_reason="ecs is unavailable",
    )
    with work_bars(console) as update:
        assert update is not None
        update(work)
        work.state = OperationState.OPERATION_STATE_UNDOING
        update(work)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "CreateBackup nightly",
        "25%",
        "1.0/4.0 GiB",
        "being undone (tried again: ecs is unavailable)",
        "  a",
        "  b",
    ):
        assert part in printed


def test_bar_of_work_without_bytes_is_percent_alone() -> None:
    """Work that moves no bytes has a percentage, and no bytes."""
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with work_bars(console) as update:
        assert update is not None
        update(OperationMetadata(verb="StopServer", target="projects/demo/servers/web", progress_percent=40))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "40%" in printed
    assert "bytes" not in printed


def test_no_bars_without_a_terminal() -> None:
    """Where stderr is no terminal nothing is drawn, and no progress is polled for."""
    console = Console(file=io.StringIO())
    with work_bars(console) as update, upload_bar(console, "file") as on_bytes:
        assert (update, on_bytes) == (None, None)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
