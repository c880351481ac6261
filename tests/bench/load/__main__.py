"""`make bench-load`: calls a second of one process beside the required rates, and pages of a long list.

`--beside PYTHON` measures another checkout in the same rounds: PYTHON is the interpreter of its virtual
environment. Figures are medians of the rounds. Clients are processes of their own, on loopback.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from recast.client import Service
from recast.csbs.v1 import backup_service_pb2 as pb
from recast.csbs.v1 import backup_service_pb2_grpc as grpc_pb
from tests.bench.load import pages, reading, requests, rows
from tests.bench.load.installation import (
    Engine,
    Installation,
    call,
    cpu_seconds,
    memory_mib,
    peer,
    write_peer_answers,
)
from tests.bench.load.report import print_report
from tests.bench.load.soak import soak
from tests.harness.postgresql import running_postgresql

CLIENTS = 8
PROCESSES = 2  # of the soak, which have their part of the clients
AIMS = {"get": 1000, "list": 300, "lock": 30, "create_backup": 30, "create_servers": 30}
"""Calls a second that one process must do at least, with a p99 under 100 ms."""
_SERVICES: tuple[Service, ...] = ("csbs", "ecs")


def measure(engine: Engine, given: argparse.Namespace) -> dict[str, Any]:
    """Everything on one engine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recast-load-")))
        write_peer_answers(folder)
        endpoint = stack.enter_context(peer(folder))
        server = stack.enter_context(running_postgresql(durable=True)) if engine == "postgresql" else None
        sides: dict[str, _Side] = {}
        for name, python in (("this", sys.executable), ("beside", given.beside)):
            if python:
                (folder / name).mkdir()
                urls = {
                    each: server.created(f"{name}_{each}")
                    if server
                    else f"sqlite:///{folder}/{name}/{each}.db"
                    for each in _SERVICES
                }
                print(f"{engine}: {name}: writing {given.backups:,} backups", file=sys.stderr, flush=True)
                installation = Installation(folder / name / "stack", urls, python)
                stack.callback(installation.stop)
                for service in _SERVICES:
                    installation.start(service, endpoint, _free_port())
                rows.write_backups(urls["csbs"], given.backups)
                sides[name] = _Side(installation, given)
        this = sides["this"].installation
        if given.soak_minutes:
            return {"soak": soak(this, given.soak_minutes, PROCESSES, CLIENTS // PROCESSES)}
        calls: dict[str, dict[str, Any]] = {}
        for kind in (each for each in AIMS if each in given.calls):
            print(f"{engine}: {kind}", file=sys.stderr, flush=True)
            rounds = [{name: side.round(kind) for name, side in sides.items()} for _ in range(given.rounds)]
            calls[kind] = {name: _summary([each[name] for each in rounds]) for name in sides}
        result: dict[str, Any] = {"calls": calls}
        if "pages" in given.calls:
            print(f"{engine}: pages", file=sys.stderr, flush=True)
            result["pages"] = pages.measure(this.endpoints["csbs"], this.token(), this.urls["csbs"])
        return result | {"peak_mib": round(memory_mib(this.pid("csbs")))}


class _Side:
    """One checkout's services under load."""

    def __init__(self, installation: Installation, given: argparse.Namespace) -> None:
        self.installation = installation
        self._seconds = given.seconds
        self._first = 0
        # Each round locks backups of its own, and ends early when it has locked them all.
        self._stride = given.backups * 99 // 100 // (3 * given.rounds + 1)

    def round(self, kind: str) -> dict[str, float]:
        """Calls of one kind for some seconds."""
        service: Service = "ecs" if kind == "create_servers" else "csbs"
        endpoint, pid = self.installation.endpoints[service], self.installation.pid(service)
        before = cpu_seconds([pid])
        if kind in ("get", "list"):
            done = reading.load(self._read(kind, endpoint), CLIENTS, round(self._seconds))
        else:
            done = call(
                {
                    "kind": kind,
                    "endpoint": endpoint,
                    "token": self.installation.token("ims" if kind == "lock" else None),
                    "run": f"{kind.replace('_', '-')}-{self._first}",
                    "seconds": self._seconds,
                    "first": self._first,
                    "most": self._stride,
                    "connections": CLIENTS,
                }
            )
            self._first += self._stride
        taken = sorted(done["microseconds"])
        return {
            "rate": done["calls"] / done["seconds"],
            "p50_ms": taken[len(taken) // 2] / 1000,
            "p99_ms": taken[len(taken) * 99 // 100] / 1000,
            "cpu_us": (cpu_seconds([pid]) - before) * 1e6 / len(taken),
        }

    def _read(self, kind: str, endpoint: str) -> reading.Read:
        token = self.installation.token()
        method, request = {
            "get": ("GetBackup", pb.GetBackupRequest(name=rows.available(77))),
            "list": ("ListBackups", pb.ListBackupsRequest(parent=requests.PROJECT)),
        }[kind]
        with grpc.insecure_channel(endpoint) as channel:
            stub: Any = grpc_pb.BackupServiceStub(channel)
            answer = getattr(stub, method)(request, metadata=(("authorization", f"Bearer {token}"),))
        path = f"/recast.csbs.v1.BackupService/{method}"
        return reading.Read(endpoint, path, request.SerializeToString(), answer.ByteSize(), token)


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    found = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return {name: round(value, 2 if name.endswith("ms") else 0) for name, value in found.items()}


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def main() -> None:
    """Measures, prints the tables, and writes the report to `--report`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--beside", metavar="PYTHON", help="measure the services of this interpreter too")
    parser.add_argument("--backups", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each side of a round")
    parser.add_argument("--soak-minutes", type=int, default=0, help="of mixed load, and nothing else")
    parser.add_argument("--calls", default=",".join([*AIMS, "pages"]))
    parser.add_argument("--engines", default="sqlite,postgresql")
    given = parser.parse_args()
    given.calls = given.calls.split(",")
    began = time.monotonic()
    report: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0],
        },
        "clients": CLIENTS,
        "rounds": given.rounds,
        "backups": given.backups,
        "aims": AIMS,
    }
    for engine in given.engines.split(","):
        report[engine] = measure(engine, given)
    report["machine"]["load_after"] = os.getloadavg()[0]
    report["seconds"] = round(time.monotonic() - began)
    print_report(report)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
