"""`make bench-load`: calls a second, beside what the machine could do at most, and pages of a long list.

The limits: for reads an empty handler of a synchronous grpcio server with the same answer; for locks a bare
compare-and-set of the same durability, beside which stands an empty LockBackup, called by the same clients.
Limit and service take turns, so that what else the machine does hits both; figures are medians of the rounds.
Clients are own processes, on loopback.
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
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from recast.csbs.v1 import backup_service_pb2 as pb
from recast.csbs.v1 import backup_service_pb2_grpc as grpc_pb
from recast.csbs.v1 import image_lock_service_pb2_grpc as locks_grpc
from tests.bench.load import asking, pages, reading, rows
from tests.bench.load.installation import (
    Engine,
    Installation,
    bare_database,
    bare_server,
    bare_writes_run,
    call,
    cpu_seconds,
    memory_mib,
    write_peer_answers,
)
from tests.bench.load.report import print_report
from tests.bench.load.soak import soak
from tests.harness.postgresql import running_postgresql

CLIENTS = 8
PROCESSES = 2  # of the soak, which have their part of the clients
_PEAK = "peak_mib"


def measure(engine: Engine, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything on one engine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recast-load-")))
        if engine == "postgresql":
            server = stack.enter_context(running_postgresql(durable=True))
            urls = {name: server.created(name) for name in ("csbs", "ecs", "bare")}
        else:
            urls = {name: f"sqlite:///{folder / name}.db" for name in ("csbs", "ecs", "bare")}
        installation = Installation(folder / "stack", {"csbs": urls["csbs"], "ecs": urls["ecs"]})
        print(f"{engine}: writing {asked.backups:,} backups", file=sys.stderr, flush=True)
        written = installation.create_databases(asked.backups)
        bare_url = bare_database(urls["bare"])
        for name in ("get", "list", "lock"):
            (folder / name).write_bytes(b"")
        write_peer_answers(folder)
        peer, _ = stack.enter_context(bare_server(folder))
        stack.callback(installation.stop)
        for service in ("csbs", "ecs"):
            installation.start(service, peer, _free_port())  # type: ignore[arg-type]
        run = _Run(installation, asked)
        reads = _reads(installation, folder)
        _write_lock_answer(installation, folder, asked.backups * 99 // 100 - 1)
        empty, empty_pid = stack.enter_context(bare_server(folder))
        result: dict[str, Any] = {"backups": asked.backups, "seconds_to_write_them": round(written, 1)}
        if asked.soak_minutes:
            return result | {"soak": soak(installation, asked.soak_minutes, PROCESSES, CLIENTS // PROCESSES)}
        csbs = installation.endpoints["csbs"], installation.pid("csbs")
        for name in (each for each in reads if each in asked.calls):
            print(f"{engine}: {name}", file=sys.stderr, flush=True)
            result[name] = run.reads(reads[name], (empty, empty_pid), csbs)
        result |= run.writes(bare_url, engine, (empty, empty_pid))
        if "pages" in asked.calls:
            print(f"{engine}: pages", file=sys.stderr, flush=True)
            result["pages"] = pages.measure(
                installation.endpoints["csbs"], installation.token(), installation.urls["csbs"]
            )
        result[_PEAK] = round(memory_mib(installation.pid("csbs")))
        return result


class _Run:
    """The rounds of one engine."""

    def __init__(self, installation: Installation, asked: argparse.Namespace) -> None:
        self._installation = installation
        self._asked = asked
        self._first = 0
        # Each round locks backups of its own, and ends early where it has had them all.
        self._stride = asked.backups * 99 // 100 // (4 * asked.rounds)

    def beside(self, limit: Callable[[], Any], service: Callable[[], Any]) -> dict[str, Any]:
        """A limit and what is held against it, in turns."""
        rounds = [(limit(), service()) for _ in range(self._asked.rounds)]
        limits, services = ([each[side] for each in rounds] for side in (0, 1))
        result = {"limit": _summary(limits), "service": _summary(services)}
        shares = [service["rate"] / limit["rate"] for limit, service in rounds]
        return result | {"share_of_limit": round(statistics.median(shares), 2)}

    def reads(self, read: reading.Read, limit: tuple[str, int], server: tuple[str, int]) -> dict[str, Any]:
        """One read, of a server beside the limit; each is its endpoint and process id."""
        seconds = self._asked.seconds
        return self.beside(lambda: _read(read, *limit, seconds), lambda: _read(read, *server, seconds))

    def writes(self, bare_url: str, engine: Engine, empty: tuple[str, int]) -> dict[str, Any]:
        """Locks and the two RPCs that record work, each beside the bare transaction."""
        csbs, ecs = (
            (self._installation.endpoints[name], self._installation.pid(name)) for name in ("csbs", "ecs")
        )
        servers = {"lock": csbs, "empty_lock": empty, "create_backup": csbs, "create_servers": ecs}
        result = {}
        for kind, server in servers.items():
            if kind.removeprefix("empty_") not in self._asked.calls:
                continue
            print(f"{engine}: {kind}", file=sys.stderr, flush=True)
            result[kind] = self.beside(
                lambda: self._bare(bare_url),
                lambda kind=kind, server=server: self._call(kind.removeprefix("empty_"), *server),  # type: ignore[misc]
            )
        return result

    def _bare(self, url: str) -> dict[str, Any]:
        return _figures(bare_writes_run(url, CLIENTS, self._asked.seconds, self._first), 0.0)

    def _call(self, kind: str, endpoint: str, pid: int) -> dict[str, Any]:
        asked = {
            "kind": kind,
            "endpoint": endpoint,
            "token": self._installation.token("ims" if kind == "lock" else None),
            "run": f"{kind.replace('_', '-')}-{self._first}",
            "seconds": self._asked.seconds,
            "first": self._first,
            "most": self._stride,
            "connections": CLIENTS,
        }
        before = cpu_seconds([pid])
        done = call(asked)
        self._first += self._stride
        return _figures(done, cpu_seconds([pid]) - before)


def _reads(installation: Installation, folder: Path) -> dict[str, reading.Read]:
    """The two reads, with the answers of the service itself, which the empty handlers give as well."""
    endpoint, token = installation.endpoints["csbs"], installation.token()
    metadata = (("authorization", f"Bearer {token}"),)
    get = pb.GetBackupRequest(name=rows.available(77))
    listed = pb.ListBackupsRequest(parent=asking.PROJECT)
    with grpc.insecure_channel(endpoint) as channel:
        stub = grpc_pb.BackupServiceStub(channel)
        answers = {
            "get": stub.GetBackup(get, metadata=metadata, timeout=60).SerializeToString(),
            "list": stub.ListBackups(listed, metadata=metadata, timeout=60).SerializeToString(),
        }
    for name, answer in answers.items():
        (folder / name).write_bytes(answer)
    requests = {"get": ("GetBackup", get), "list": ("ListBackups", listed)}
    return {
        name: reading.Read(
            endpoint,
            f"/recast.csbs.v1.BackupService/{method}",
            request.SerializeToString(),
            len(answers[name]),
            token,
        )
        for name, (method, request) in requests.items()
    }


def _write_lock_answer(installation: Installation, folder: Path, number: int) -> None:
    """The answer to a lock of the last backup, which no round comes to."""
    metadata = (("authorization", f"Bearer {installation.token('ims')}"),)
    with grpc.insecure_channel(installation.endpoints["csbs"]) as channel:
        stub = locks_grpc.ImageLockServiceStub(channel)
        answer = stub.LockBackup(asking.lock("answer", number), metadata=metadata, timeout=60)
    (folder / "lock").write_bytes(answer.SerializeToString())


def _read(read: reading.Read, endpoint: str, pid: int, seconds: float) -> dict[str, Any]:
    before = cpu_seconds([pid])
    done = reading.load(reading.moved(read, endpoint), CLIENTS, round(seconds))
    return _figures(done, cpu_seconds([pid]) - before)


def _figures(done: dict[str, Any], cpu: float) -> dict[str, Any]:
    taken = sorted(done["microseconds"])
    return {
        "rate": done["calls"] / done["seconds"],
        "p50_ms": taken[len(taken) // 2] / 1000,
        "p99_ms": taken[len(taken) * 99 // 100] / 1000,
        "cpu_us": cpu * 1e6 / len(taken),
    }


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    found = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return {name: round(value, 2 if name.endswith("ms") else 0) for name, value in found.items()}


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def main() -> None:
    """Measures, prints the tables, and writes the report where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--backups", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each side of a round")
    parser.add_argument("--soak-minutes", type=int, default=0, help="of mixed load, and nothing else")
    parser.add_argument("--calls", default="get,list,lock,create_backup,create_servers,pages")
    parser.add_argument("--engines", default="sqlite,postgresql")
    asked = parser.parse_args()
    asked.calls = asked.calls.split(",")
    began = time.monotonic()
    report: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0],
        },
        "clients": CLIENTS,
        "rounds": asked.rounds,
    }
    for engine in asked.engines.split(","):
        report[engine] = measure(engine, asked)
    report["machine"]["load_after"] = os.getloadavg()[0]
    report["seconds"] = round(time.monotonic() - began)
    print_report(report)
    if asked.report:
        asked.report.parent.mkdir(parents=True, exist_ok=True)
        asked.report.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
