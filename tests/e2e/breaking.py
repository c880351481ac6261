"""Faults of a container, and work that is caught in the middle of a step to suffer them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recast.client import Service
from recast.testing import RecastStack, ServiceContainer
from recast.testing.containers import OwnedContainer
from recast.testing.session import engine
from tests.harness.expectations import NeverCame, until

_POINTS = "/faults"


@contextmanager
def with_fault_points(stack: RecastStack) -> Iterator[None]:
    """Runs a stack whose services can be ordered to sleep at a point (`recast.faultpoints`)."""

    def prepare(container: ServiceContainer) -> None:
        folder = _folder(container)
        folder.mkdir(parents=True)
        folder.chmod(0o777)  # for the container's user, who has no account here
        container.with_env("RECAST_FAULT_POINTS", _POINTS).with_volume_mapping(folder, _POINTS, "rw")

    stack.prepare = prepare
    with stack:
        yield


def caught(stack: RecastStack, service: Service, point: str, begin: Callable[[], None]) -> ServiceContainer:
    """The container of the service that fell asleep at the point, in work that `begin` begins.

    One alone falls asleep: of replicas the one that does the work; of hosts, which work beside each other,
    the first.
    """
    containers = stack.of(service)[: 1 if service == "ecs" else None]
    order = f"{point} stop @{time.monotonic_ns()}"
    for each in containers:
        (_folder(each) / f"{service}.point").write_text(order)
    try:
        begin()
        return until(lambda: [each for each in containers if _is_asleep(each)], "the sleep", pause=0.02)[0]
    except NeverCame:
        seen = {line for each in containers for line in reached(each)}
        raise AssertionError(f"no process fell asleep at {point}; reached: {sorted(seen)}") from None
    finally:
        for each in containers:
            (_folder(each) / f"{service}.point").unlink()


def wake(container: ServiceContainer) -> None:
    """Wakes a process that fell asleep; one that was killed is none, one that is frozen wakes later."""
    container.reload()
    if container.status in {"running", "paused"}:
        os.kill(_process(container), signal.SIGCONT)


def reached(container: ServiceContainer) -> list[str]:
    """The points that a container's process reached."""
    path = _folder(container) / f"{container.service}.reached"
    return path.read_text().splitlines() if path.exists() else []


def _folder(container: ServiceContainer) -> Path:
    return container.folder / "faults" / container.label


def _process(container: OwnedContainer) -> int:
    """The service's process as this machine counts: the child of the container's first."""
    first = _first(container)
    [child] = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return int(child)


def _first(container: OwnedContainer) -> int:
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    return int(wrapped.attrs["State"]["Pid"])


def _is_asleep(container: ServiceContainer) -> bool:
    stat = Path(f"/proc/{_process(container)}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


# Faults: each breaks a container for the block, and heals it after.


@contextmanager
def paused(container: OwnedContainer) -> Iterator[None]:
    """The container is frozen."""
    container.pause()
    try:
        yield
    finally:
        container.unpause()


@contextmanager
def killed(container: OwnedContainer) -> Iterator[None]:
    """The container is killed, and started again."""
    container.kill()
    try:
        yield
    finally:
        container.start_again()


@contextmanager
def disconnected(container: OwnedContainer) -> Iterator[None]:
    """The container has no network."""
    with engine() as client:
        [name] = container.get_wrapped_container().attrs["NetworkSettings"]["Networks"]
        network = client.networks.get(name)
        network.disconnect(container.get_container_id(), force=True)
        try:
            yield
        finally:
            network.connect(container.get_container_id(), aliases=[container.role])


@contextmanager
def partitioned(container: OwnedContainer) -> Iterator[None]:
    """Every packet from and to the container is lost, without an error."""
    rules = [("INPUT", "-i"), ("OUTPUT", "-o")]
    for chain, side in rules:
        _iptables(container, "-I", chain, side, "eth0", "-j", "DROP")
    try:
        yield
    finally:
        for chain, side in rules:
            _iptables(container, "-D", chain, side, "eth0", "-j", "DROP")


def _iptables(container: OwnedContainer, *arguments: str) -> None:
    iptables = shutil.which("iptables", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert iptables, "install the package iptables"
    command = ["nsenter", "--target", str(_first(container)), "--net", iptables, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


FAULTS: Mapping[str, Callable[[OwnedContainer], Any]] = {
    "pause": paused,
    "kill": killed,
    "disconnect": disconnected,
    "partition": partitioned,
}


def endure(seconds: float) -> None:
    """Lets a fault last: its length, past a lease, is the fault."""
    time.sleep(seconds)
