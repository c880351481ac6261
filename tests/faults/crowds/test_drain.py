"""SIGTERM under load: begun calls are answered, the process ends in order and in time, and work
goes on at its last step.

With another replica there no call fails, for a client retries calls that a server did not take up. With one
process alone, calls fail during its restart, as UNAVAILABLE and as nothing else; accepted work is done.
"""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from google.longrunning import operations_pb2

from recast.client import SERVICES, Service
from recast.ecs.v1 import server_service_pb2 as servers_pb
from recast.faults import Kind
from tests.faults.crowds.crowd import outcome_of
from tests.faults.crowds.load import Load, calls_on, wait_for
from tests.faults.crowds.replicas import Replicas
from tests.faults.crowds.tenants import MIB, make_tenant
from tests.harness.expectations import until
from tests.harness.postgresql import running_postgresql
from tests.harness.project import Tenant

_END_SECONDS = 10.0
# A call that was on the wire when the signal came; one sent later finds a server that takes no calls.
_ON_THE_WIRE_SECONDS = 0.25
_BIG_BYTES = 600 * MIB
_AGAIN = 1.05  # the share that a resumed backup may read, of the bytes that an uninterrupted one reads


def _work(tenant: Tenant, name: str) -> list[tuple[operations_pb2.Operation, Service]]:
    """Work of all three services that is under way when the signal comes."""
    tenant.create_server(name, "sys")
    backup = tenant.start_backup(name, name, full=True)
    servers = tenant.start_servers(f"{name}-more", "sys", count=4, leave_stopped=True)
    image = tenant.recast.import_image(
        tenant.sources / "sys.raw", tenant.header(name, tenant.sources / "sys.raw")
    )
    return [(backup.operation, "csbs"), (image.operation, "ims"), (servers.operation, "ecs")]


@pytest.mark.timeout(240)
def test_no_call_fails_while_a_replica_drains(
    tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]
) -> None:
    """With two replicas under load, each in turn is ended by SIGTERM and started again: no call fails, and
    all work ends well.
    """
    root = tmp_path_factory.mktemp("drained")
    ends: list[tuple[float, int | None]] = []
    with running_postgresql() as server, Replicas(root, count=2, postgresql=server) as replicas:
        tenant = make_tenant(replicas, root / "sources")
        with Load(replicas, calls_on(tenant, "load")) as load:
            for number in replicas.numbers:
                work = _work(tenant, f"drain-{number}")
                for service in SERVICES:
                    ends.append(replicas.drain(service, number))
                    replicas.run_again(service, number)
                for operation, service in work:
                    tenant.wait(operation, service)
        failures = Counter(str(made.outcome.refusal) for made in load.failed)
        figure(f"{len(load.made)} calls, {len(load.failed)} failed; {_summary(ends)} {dict(failures)}")
        assert not [made.outcome.refusal for made in load.failed]
        assert all(code == 0 and seconds < _END_SECONDS for seconds, code in ends)
        assert replicas.problems() == []


@pytest.mark.timeout(240)
def test_one_process_drains(tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]) -> None:
    """With one process a service, calls on the wire are answered, other calls fail as UNAVAILABLE alone, and
    all accepted work is done after the restart.
    """
    root = tmp_path_factory.mktemp("alone")
    ends: list[tuple[float, int | None]] = []
    signalled: list[float] = []
    begun: list[tuple[operations_pb2.Operation, Service]] = []
    with Replicas(root) as replicas:
        tenant = make_tenant(replicas, root / "sources")
        with tenant.unfinished_backup("held", "idle") as held:
            calls = [*calls_on(tenant, "load"), wait_for(held.operation.name)]
            with Load(replicas, calls) as load:
                for service in SERVICES:
                    work = _work(tenant, f"drain-{service}")
                    signalled.append(time.monotonic())
                    ends.append(replicas.drain(service))
                    replicas.run_again(service)
                    until(partial(_answers, tenant, service), f"{service} to be reached again")
                    begun += work
        for operation, of in begun:
            tenant.wait(operation, of)
        kinds = Counter(made.outcome.refusal.kind for made in load.failed if made.outcome.refusal)
        cut = [
            made.outcome.refusal
            for made in load.failed
            if any(made.begun < moment - _ON_THE_WIRE_SECONDS < moment < made.ended for moment in signalled)
        ]
        figure(
            f"{len(load.made)} calls, {len(load.failed)} failed meanwhile, {len(cut)} cut; {_summary(ends)}"
        )
        assert kinds.keys() <= {Kind.UNAVAILABLE}
        assert not cut
        assert all(code == 0 and seconds < _END_SECONDS for seconds, code in ends)
        accepted = {
            made.outcome.answer.disk.name
            for made in load.made
            if not made.outcome.refusal and made.outcome.answer.DESCRIPTOR.name == "CreateDiskResponse"
        }
        replicas.wait_until_idle()
        rows = replicas.rows("ecs", "SELECT name FROM disk WHERE state = 'AVAILABLE'")
        assert accepted
        assert accepted <= {row.name for row in rows}
        assert replicas.problems() == []


def _answers(tenant: Tenant, service: Service) -> bool:
    """Whether the client has found the way to a service again."""
    request = operations_pb2.ListOperationsRequest(name=tenant.parent, page_size=1)
    return not outcome_of(lambda: tenant.recast.operations(service).ListOperations(request)).refusal


def _summary(ends: list[tuple[float, int | None]]) -> str:
    worst = max(seconds for seconds, _ in ends)
    codes = sorted({str(code) for _, code in ends})
    return f"{len(ends)} ended by SIGTERM, codes {codes}, the worst in {worst:.1f} s"


# A backup that is resumed.


@dataclass(frozen=True)
class BigServer:
    """A server with a big disk of incompressible bytes, and its stack."""

    replicas: Replicas
    tenant: Tenant
    startup_bytes: int
    """The environment that ECS starts with."""


def _bytes_read(pid: int) -> int:
    """The bytes that a process and its ended children read by system calls: the kernel's own count."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigServer]:
    """600 MiB of random bytes on a data disk."""
    root = tmp_path_factory.mktemp("resumed")
    with Replicas(root) as replicas:
        startup = _bytes_read(replicas.process("ecs").pid)
        tenant = make_tenant(replicas, root / "sources")
        data = [servers_pb.DataDiskSpec(size_bytes=_BIG_BYTES)]
        tenant.create_server("big", data_disks=data, leave_stopped=True)
        raw = root / "big.raw"
        with raw.open("wb") as file:
            for _ in range(_BIG_BYTES // MIB):
                file.write(os.urandom(MIB))
        path = tenant.path(tenant.disk("big-data-1"))
        command = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", str(raw), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        raw.unlink()
        yield BigServer(replicas, tenant, startup)


def _interrupted(big: BigServer, name: str, how: signal.Signals) -> tuple[int, int, float, int]:
    """A full backup of the big server, with ECS ended in its middle; gives the bytes that its two processes
    read, the duration of its end, and its exit code.
    """
    replicas, tenant = big.replicas, big.tenant
    process = replicas.process("ecs")
    before = _bytes_read(process.pid)
    operation = tenant.start_backup(name, "big", full=True).operation
    # By the bytes read, of the disk and of its existing chunks: progress is written every 2 s alone.
    until(lambda: _bytes_read(process.pid) - before > _BIG_BYTES * 0.8, "the middle")
    begun = time.monotonic()
    process.signal(how)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and its counts still there
    seconds, first = time.monotonic() - begun, _bytes_read(process.pid) - before
    assert process.wait(1)
    replicas.run_again("ecs")
    until(lambda: tenant.get_operation(operation, "csbs").done, "the end of the backup")
    tenant.wait(operation, "csbs")
    second = _bytes_read(replicas.process("ecs").pid) - big.startup_bytes
    return first, second, seconds, process.exit_code() or 0


@pytest.mark.timeout(240)
def test_a_resumed_backup_reads_little_again(big: BigServer, figure: Callable[[str], None]) -> None:
    """A full backup whose ECS is ended by SIGTERM in its middle reads, in both processes together, at most 5
    % more than one that was not interrupted.
    """
    tenant = big.tenant
    tenant.create_backup("first", "big", full=True)  # later backups find and verify its chunks: all alike
    before = _bytes_read(big.replicas.process("ecs").pid)
    tenant.create_backup("whole", "big", full=True)
    once = _bytes_read(big.replicas.process("ecs").pid) - before
    assert once >= _BIG_BYTES
    first, second, seconds, code = _interrupted(big, "resumed", signal.SIGTERM)
    figure(
        f"SIGTERM: {first / MIB:.0f} + {second / MIB:.0f} MiB read, {(first + second) / once:.3f} of once "
        f"({once / MIB:.0f} MiB); ended in {seconds:.1f} s"
    )
    assert code == 0
    assert seconds < _END_SECONDS
    assert first > once * 0.2
    assert first + second <= once * _AGAIN
    first, second, _, _ = _interrupted(big, "killed", signal.SIGKILL)
    figure(f"SIGKILL: {first / MIB:.0f} + {second / MIB:.0f} MiB read, {(first + second) / once:.3f} of once")
    for name in ("resumed", "killed"):
        assert tenant.get_backup(name).size_bytes == tenant.get_backup("whole").size_bytes
    assert big.replicas.problems() == []
