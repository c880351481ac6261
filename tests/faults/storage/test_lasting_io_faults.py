"""A disk or a chunk store that stays broken, or full, while work is done on it."""

from collections.abc import Callable, Mapping

import pytest

from tests.faults.storage import io_matrix, io_rig
from tests.faults.storage.faulty_io import Class
from tests.harness.thirds import Third

_SECONDS = 1200  # a quarter of it on two quiet cores
# By class, the part of its operations after which all fail. Decided work is tried for a minute: few.
_OF_BACKUPS = {Class.WRITE: 0.0, Class.READ: 0.5}
_OF_SERVERS = dict.fromkeys((Class.READ, Class.WRITE, Class.SYNC, Class.RENAME, Class.MAKE), 0.0)


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize(
    ("make_job", "lasting"),
    [
        pytest.param(io_rig.incremental_backup, _OF_BACKUPS, id="backup"),
        pytest.param(io_rig.provisioning, _OF_SERVERS, id="provisioning"),
        pytest.param(io_rig.os_change, _OF_SERVERS | {Class.UNLINK: 0.0}, id="os-change"),
    ],
)
def test_work_ends_though_the_fault_stays(
    faulty_rig: io_rig.IoRig,
    make_job: Callable[[], io_rig.Job],
    lasting: Mapping[Class, float],
    third: Third,
    figure: Callable[[str], None],
) -> None:
    """Work on broken storage ends with a reason, within two minutes; after a repair a repeat succeeds, and
    nothing is left over.
    """
    tally = io_matrix.Tally()
    job = make_job()
    operations = io_matrix.count(faulty_rig, job, tally)
    faults = third.part(io_matrix.lasting_faults(operations, lasting))
    io_matrix.run(faulty_rig, job, faults, tally).close()
    figure(f"{job.name}: {tally}")
    assert not tally.violations
    assert sum(tally.failed.values()) == tally.injected == len(faults)
