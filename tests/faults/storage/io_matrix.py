"""Every operation of a kind of work, made to fail one by one; and the checks after each."""

import errno
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.longrunning import operations_pb2

from recast.csbs.v1 import error_reason_pb2 as csbs_reasons
from recast.ecs.v1 import error_reason_pb2 as ecs_reasons
from recast.ecs.v1 import server_service_pb2
from recast.fault.v1 import error_reason_pb2 as fault_reasons
from recast.imagelock.v1 import error_reason_pb2 as imagelock_reasons
from recast.ims.v1 import error_reason_pb2 as ims_reasons
from recast.rpc.status import refusal_from_status
from tests.faults.kills.rig import DEADLINE_SECONDS, NotRecovered
from tests.faults.storage import io_rig
from tests.faults.storage.faulty_io import FOR_EVER, SHORT, Class, Fault
from tests.faults.storage.io_rig import IoRig, Job

_ERRORS = {
    Class.READ: (errno.EIO,),
    Class.WRITE: (errno.EIO, errno.ENOSPC, SHORT),
    Class.SYNC: (errno.EIO,),
    Class.RENAME: (errno.EIO, errno.ENOSPC),
    Class.LINK: (errno.ENOSPC, errno.EIO),
    Class.UNLINK: (errno.EIO,),
    Class.MAKE: (errno.ENOSPC, errno.EIO),
}
_REASONS = {
    name.removeprefix("ERROR_REASON_")
    for module in (csbs_reasons, imagelock_reasons, ecs_reasons, ims_reasons, fault_reasons)
    for name in module.ErrorReason.keys()  # noqa: SIM118  # an enum's wrapper is no mapping
} - {"UNSPECIFIED", "INTERNAL"}
_DEEP_EVERY = 20  # every byte is read after so many faults
_AGAIN_EVERY = 4  # every so many-th work that failed by a passing fault is repeated at once
_MOST_FAILURES = 5
# Decided work is tried for a minute before it ends as FAILED.
_LASTING_SECONDS = 150.0


@dataclass
class Tally:
    """The results of the faults."""

    operations: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    injected: int = 0
    succeeded: int = 0
    not_reached: int = 0
    left_in_error: int = 0
    slowest: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        classes = ", ".join(f"{count} {name}" for name, count in self.operations.items())
        reasons = ", ".join(f"{count} {name}" for name, count in self.failed.items()) or "0"
        return (
            f"operations: {classes}; {self.injected} faults injected: {self.succeeded} SUCCEEDED, "
            f"FAILED: {reasons}; {self.left_in_error} left in ERROR and deleted, "
            f"{self.not_reached} not reached again; slowest {self.slowest:.1f} s"
        )


def every_fault(operations: dict[Class, int]) -> Iterator[Fault]:
    """A fault at each operation: its kinds take turns, or are all tried when RECAST_IO_FAULTS is `all`."""
    for each, count in operations.items():
        errors = _ERRORS[each]
        for number in range(1, count + 1):
            turn = number % len(errors)
            for error in errors if os.environ.get("RECAST_IO_FAULTS") == "all" else errors[turn : turn + 1]:
                yield Fault(each, number, error)


def lasting_faults(operations: dict[Class, int], lasting: Mapping[Class, float]) -> Iterator[Fault]:
    """Faults that stay: of a class, from a part of its operations on."""
    for each, part in lasting.items():
        error = errno.ENOSPC if errno.ENOSPC in _ERRORS[each] else errno.EIO
        yield Fault(each, 1 + int(operations[each] * part), error, FOR_EVER)


def count(rig: IoRig, job: Job, tally: Tally) -> dict[Class, int]:
    """The number of operations of each class in the work."""
    subject = job.prepare(rig)
    rig.wait_until_idle()
    rig.io.count()
    operation = job.act(rig, subject)
    rig.wait_until_idle()
    rig.io.disarm()
    if operation.HasField("error"):
        raise NotRecovered(f"{job.name} fails without a fault: {operation.error.message}")
    counted = rig.io.counted
    tally.operations.update({each.name.lower(): number for each, number in counted.items()})
    rig.check()
    job.verify(rig, subject, operation)
    rig.wait_until_idle()
    return counted


def run(rig: IoRig, job: Job, faults: Iterable[Fault], tally: Tally) -> IoRig:
    """Injects all of them. Gives the rig: after a violation it is another one, of which nothing is broken."""
    for number, fault in enumerate(faults, 1):
        try:
            inject(rig, job, fault, tally)
            if number % _DEEP_EVERY == 0:
                rig.check_deep()
        except Exception as problem:  # noqa: BLE001  # any exception is a finding of this run
            where = f"at {rig.io.where}" if rig.io.hits else "not reached"
            tally.violations.append(f"{job.name}, {fault} {where}: {type(problem).__name__}: {problem}")
            print(f"VIOLATION {tally.violations[-1]}", flush=True)
            if len(tally.violations) >= _MOST_FAILURES:
                break
            rig = renewed(rig)
    return rig


def inject(rig: IoRig, job: Job, fault: Fault, tally: Tally) -> None:
    """One fault: the work ends, as SUCCEEDED or as FAILED with a reason, and can then be done."""
    subject = job.prepare(rig)
    rig.wait_until_idle()
    rig.io.arm(fault)
    begun = time.monotonic()
    rig.patience = _LASTING_SECONDS if fault.last else DEADLINE_SECONDS
    try:
        operation = job.act(rig, subject)
        tally.slowest = max(tally.slowest, time.monotonic() - begun)
    finally:
        rig.io.disarm()
    rig.patience = DEADLINE_SECONDS
    rig.wait_until_idle()
    if not rig.io.hits:
        tally.not_reached += 1
    tally.injected += min(1, rig.io.hits)
    reasons = [refusal_from_status(error).reason for error in _errors(operation)]
    if bugs := rig.bugs():
        raise NotRecovered("; ".join(bugs))
    if unknown := set(reasons) - _REASONS:
        raise NotRecovered(f"ended with {unknown}: {operation.error.message}")
    if not fault.last:
        rig.check()
    tally.left_in_error += rig.delete_failed()
    job.verify(rig, subject, operation)
    rig.wait_until_idle()
    if not reasons:
        tally.succeeded += 1
        if fault.last:
            _do_again(rig, job)
        return
    tally.failed.update(reasons[:1])
    if fault.last or sum(tally.failed.values()) % _AGAIN_EVERY == 1:
        _do_again(rig, job)


def _do_again(rig: IoRig, job: Job) -> None:
    """The same work succeeds now; it also repairs the leftovers of a lasting fault."""
    again = job.prepare(rig)
    operation = job.act(rig, again)
    if operation.HasField("error"):
        raise NotRecovered(f"repeated, it failed: {operation.error.message}")
    rig.check()
    job.verify(rig, again, operation)
    rig.wait_until_idle()


def _errors(operation: operations_pb2.Operation) -> list[object]:
    result = server_service_pb2.CreateServersResult()
    if operation.response.Unpack(result):
        return [each.error for each in result.outcomes if each.HasField("error")]
    return [operation.error] if operation.HasField("error") else []


def renewed(rig: IoRig) -> IoRig:
    """A fresh stack; the old one's folder stays for an analysis of the violation."""
    rig.close()
    fresh = IoRig(rig.root.with_name(f"{rig.root.name}+"))
    io_rig.build_world(fresh)
    return fresh
