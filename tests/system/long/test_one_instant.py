"""Backups of a server whose disks are written one after the other: no backup has the later write alone."""

import subprocess
import threading
from itertools import count
from pathlib import Path

import pytest

from recast.ecs.v1 import server_service_pb2 as ecs_pb
from tests.harness.project import Tenant


@pytest.mark.rule("R65", "R13")
@pytest.mark.fault("FAULT-W01")
@pytest.mark.parametrize("disks", [2, 12])
def test_backups_of_a_written_server_are_never_torn(main: Tenant, disks: int, tmp_path: Path) -> None:
    """A writer puts n on each data disk in order; every backup has n on the first ones, n - 1 on the rest."""
    server_id = f"ordered-{disks}"
    data = disks * [ecs_pb.DataDiskSpec(size_bytes=1 << 20)]
    names = [disk.disk for disk in main.create_server(server_id, data_disks=data).disks][1:]
    stop = threading.Event()

    def write_in_order() -> None:
        for number in count(1):
            for name in names:
                while not stop.is_set():
                    try:
                        main.write(name, 0, 512, number % 256)
                    except AssertionError:
                        continue  # held off by the freeze
                    break
            if stop.is_set():
                return

    writer = threading.Thread(target=write_in_order)
    writer.start()
    try:
        for number in range(4):
            main.create_backup(f"{server_id}-{number}", server_id)
    finally:
        stop.set()
        writer.join()
    for number in range(4):
        backup_id = f"{server_id}-{number}"
        main.create_image(backup_id, backup_id)
        made = main.create_server(f"from-{backup_id}", backup_id, leave_stopped=True)
        found = [first_byte(main, disk.disk, tmp_path) for disk in made.disks[1:]]
        later = found.index(found[-1])  # the disks from here on have the same number, the earlier one more
        assert found[:later] == later * [(found[-1] + 1) % 256], found
        assert found[later:] == (disks - later) * [found[-1]], found


def first_byte(tenant: Tenant, disk: str, scratch: Path) -> int:
    """The first byte of a disk at rest."""
    target = scratch / "sector"
    copy = ["dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=1", f"if={tenant.path(disk)}", f"of={target}"]
    subprocess.run(["qemu-img", *copy], check=True, capture_output=True)
    return target.read_bytes()[0]
