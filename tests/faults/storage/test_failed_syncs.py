"""After a failed fsync nothing is called durable: its bytes are lost; the next succeeds."""

import errno
from collections.abc import Callable

import pytest

from tests.faults.storage import io_matrix, io_rig
from tests.faults.storage.faulty_io import Class
from tests.faults.storage.losing import Losing

_SECONDS = 1200  # a quarter of it on two quiet cores


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize("make_job", [io_rig.incremental_backup, io_rig.provisioning, io_rig.os_change])
def test_bytes_that_a_failed_sync_lost_are_not_called_durable(
    faulty_rig: io_rig.IoRig, make_job: Callable[[], io_rig.Job], figure: Callable[[str], None]
) -> None:
    """Each sync fails once and loses its bytes: they are written anew or the work FAILED, and all reported
    results survive a power cut.
    """
    job = make_job()
    tally = io_matrix.Tally()
    syncs = io_matrix.count(faulty_rig, job, tally)[Class.SYNC]
    violations: list[str] = []
    failed = hits = 0
    faulty_rig.wait_until_idle()
    with Losing(faulty_rig) as losing:
        for number in range(1, syncs + 1):
            subject = job.prepare(faulty_rig)
            faulty_rig.wait_until_idle()
            losing.arm(number, errno.EIO)
            operation = job.act(faulty_rig, subject)
            faulty_rig.wait_until_idle()
            losing.disarm()
            where, hits = faulty_rig.io.where, hits + faulty_rig.io.hits
            failed += operation.HasField("error")
            faulty_rig.check_deep()
            violations += [f"sync {number} at {where}: {problem}" for problem in losing.problems()]
            job.verify(faulty_rig, subject, operation)
            faulty_rig.wait_until_idle()
        figure(
            f"{job.name}: syncs failed: {hits} of {syncs}; {losing.lost_bytes} bytes lost "
            f"of {losing.lost_files} files; {failed} FAILED, {syncs - failed} SUCCEEDED"
        )
        assert losing.lost_bytes
    assert not violations
    assert hits > syncs // 2
