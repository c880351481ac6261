"""Each read, write, sync and name of a provisioning and of an OS change fails once."""

from collections.abc import Callable

import pytest

from tests.faults.storage import io_matrix, io_rig
from tests.harness.thirds import Third

_SECONDS = 1200  # a quarter of it on two quiet cores


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize("make_job", [io_rig.provisioning, io_rig.os_change])
def test_a_server_survives_a_fault_at_each_operation(
    faulty_rig: io_rig.IoRig,
    make_job: Callable[[], io_rig.Job],
    third: Third,
    figure: Callable[[str], None],
) -> None:
    """After any single fault the servers are made or changed, or nothing is left but a reason, and a repeat
    succeeds.
    """
    tally = io_matrix.Tally()
    job = make_job()
    operations = io_matrix.count(faulty_rig, job, tally)
    io_matrix.run(faulty_rig, job, third.part(io_matrix.every_fault(operations)), tally).close()
    figure(f"{job.name}: {tally}")
    assert not tally.violations
    assert tally.injected > third.share(50)
