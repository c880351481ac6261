"""The installation under load: a service's process on a database of its own, with
its peers and its limits.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from csbs.peers.ecs import pb as sources
from recast.client import Service, Settings
from recast.client.tokens import mint
from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.ecs.v1 import server_pb2
from recast.ims.v1 import image_pb2
from recast.ims.v1 import provisioning_service_pb2 as provisioning
from recast.rpc.identity import create_keys
from recast.stack.layout import Layout, environment_of
from recast.stack.process import ServiceProcess
from tests.bench.load import rows

Engine = Literal["sqlite", "postgresql"]
_TICKS = os.sysconf("SC_CLK_TCK")


class Installation:
    """CSBS and ECS of one checkout: peers answer at once, and no work is run."""

    def __init__(self, root: Path, urls: dict[Service, str], python: str = sys.executable) -> None:
        """`python` is the interpreter of the checkout's virtual environment."""
        self.urls = urls
        self._python = python
        self.layout = Layout(root)
        self.layout.create()
        create_keys(self.layout.keys)
        self._running: dict[str, Any] = {}
        self.endpoints: dict[Service, str] = {}

    def start(self, service: Service, peer: str, port: int) -> None:
        """Starts a service whose every peer is `peer`; it migrates its database."""
        ends: dict[Service, str] = {"csbs": peer, "ims": peer, "ecs": peer, service: f"127.0.0.1:{port}"}
        prefix = f"RECAST_{service.upper()}"
        own = {f"{prefix}_DATABASE_URL": self.urls[service], f"{prefix}_WORKER_THREADS": "0"}
        environment = dict(os.environ) | environment_of(service, self.layout, ends) | own
        environment.pop("PYTHONPATH", None)
        process = ServiceProcess(
            service, [self._python, "-m", service], environment, self.layout.log(service)
        )
        self._running[service] = process
        process.wait_until_serving(ends[service], 60)
        self.endpoints[service] = ends[service]

    def pid(self, service: Service) -> int:
        """The process id of a service."""
        pid: int = self._running[service].pid
        return pid

    def stop(self) -> None:
        """Ends both, by force where they do not end in time."""
        for process in self._running.values():
            process.signal(15)
        for process in self._running.values():
            if not process.wait(15):
                process.signal(9)
                process.wait(15)

    def token(self, service: Service | None = None) -> str:
        """A token of the load's project: a user's, or a service's."""
        settings = Settings(endpoints=self.endpoints, project=rows.PROJECT, keys=self.layout.keys)
        lifetime = 600 if service else 3_600  # the longest that services take
        return mint(settings, rows.PROJECT, service=service, lifetime_seconds=lifetime)()


def write_peer_answers(folder: Path) -> None:
    """The answers of the peers: a server with two disks, and a full-server image of it."""
    disks, content = rows.disk_messages("server")
    server = server_pb2.Server(name="any", display_name="any", state=server_pb2.SERVER_STATE_STOPPED)
    for disk in backup_pb2.Backup.FromString(disks).disks:
        server.disks.add(disk=disk.disk, role=disk.role, position=disk.position, size_bytes=disk.size_bytes)
    (folder / "server").write_bytes(sources.DescribeServerResponse(server=server).SerializeToString())
    image = image_pb2.Image(name=f"projects/{rows.PROJECT}/images/any", kind=image_pb2.IMAGE_KIND_FULL_SERVER)
    resolved = provisioning.ResolveImageResponse(image=image, content=content_pb2.Content.FromString(content))
    (folder / "image").write_bytes(resolved.SerializeToString())


@contextmanager
def peer(folder: Path) -> Iterator[str]:
    """The endpoint of a peer with the answers in `folder`."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.load.peer", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield f"127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.stdin.close()
        child.wait(15)


def call(options: dict[str, Any]) -> dict[str, Any]:
    """One round of `callers.py`."""
    return _clients("callers", [options])[0]


def mix(options: dict[str, Any], processes: int, threads: int) -> int:
    """One round of `mixing.py`, of so many processes of so many threads; gives the number of repeats."""
    step = processes * threads
    several = [
        options | {"first": options["first"] + number * threads, "step": step, "threads": threads}
        for number in range(processes)
    ]
    return sum(each["rounds"] for each in _clients("mixing", several))


def _clients(program: str, options: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of these processes, begun together."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.load.{program}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in options
    ]
    try:
        for child, each in zip(children, options, strict=True):
            _write_line(child, json.dumps(each))
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        for child in children:
            _write_line(child, "go")
        return [_result(child, each["seconds"] + 60) for child, each in zip(children, options, strict=True)]
    finally:
        for child in children:
            child.kill()  # nothing, where it has ended
            child.wait(15)


def _write_line(child: "subprocess.Popen[str]", line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def _result(child: "subprocess.Popen[str]", seconds: float) -> dict[str, Any]:
    output, problems = child.communicate(timeout=seconds)
    if child.returncode != 0:
        raise RuntimeError(f"a client ended with {child.returncode}:\n{problems}")
    result: dict[str, Any] = json.loads(output)
    return result


def cpu_seconds(pids: Sequence[int]) -> float:
    """The processor time that the processes have taken so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def memory_mib(pid: int) -> float:
    """The resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
