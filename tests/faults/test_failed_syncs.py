"""After a failed fsync nothing is called durable: what it should have saved is lost, and the next succeeds."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import io_matrix
import io_rig
from faulty_io import Class
from losing import Losing

_SECONDS = 600


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[io_rig.IoRig]:
    """A stack with the world of the crash tests."""
    started = io_rig.IoRig(tmp_path / "rig")
    try:
        io_rig.build_world(started)
        yield started
    finally:
        started.close()


@pytest.mark.timeout(_SECONDS)
def test_what_a_failed_sync_lost_is_not_called_durable(
    rig: io_rig.IoRig, figure: Callable[[str], None]
) -> None:
    """Each sync of an incremental backup fails once and loses what was not synced: the backup is written anew
    or FAILED, and all that is said to be there survives a power cut.
    """
    job = io_rig.backup(full=False)
    tally = io_matrix.Tally()
    syncs = io_matrix.count(rig, job, tally)[Class.SYNC]
    violations: list[str] = []
    failed = hits = 0
    rig.settle()
    with Losing(rig) as losing:
        for number in range(1, syncs + 1):
            subject = job.prepare(rig)
            rig.settle()
            losing.arm(number, errno.EIO)
            operation = job.act(rig, subject)
            rig.settle()
            losing.disarm()
            where, hits = rig.io.where, hits + rig.io.hits
            failed += operation.HasField("error")
            rig.check_deep()
            violations += [f"sync {number} at {where}: {problem}" for problem in losing.problems()]
            job.verify(rig, subject, operation)
            rig.settle()
        figure(
            f"syncs failed: {hits} of {syncs}; {losing.lost_bytes} bytes lost of {losing.lost_files} files; "
            f"{failed} backups FAILED, {syncs - failed} SUCCEEDED"
        )
        assert losing.lost_bytes
    assert not violations
    assert hits > syncs // 2
