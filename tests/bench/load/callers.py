"""Writing clients: one process of one thread, and several connections with a call under way on each.

Reads one line of JSON (the method, the endpoint, the duration), prints `ready`, begins at the next line, and
prints the latency of each call. A call that is refused ends the run: a rate of refusals is no rate.
"""

import json
import selectors
import sys
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from tests.bench.load.requests import create_backup, create_servers, lock
from tests.bench.load.wire import Connection

KINDS: dict[str, tuple[str, Callable[[str, int], Message]]] = {
    "lock": ("/recast.imagelock.v1.ImageLockService/LockBackup", lock),
    "create_backup": ("/recast.csbs.v1.BackupService/CreateBackup", create_backup),
    "create_servers": ("/recast.ecs.v1.ServerService/CreateServers", create_servers),
}


def run(options: dict[str, Any]) -> dict[str, object]:
    """Calls for so many seconds, each with a number of its own from `first` on, of which there are `most`."""
    path, request = KINDS[options["kind"]]
    numbers = iter(range(options["first"], options["first"] + options["most"]))
    connections = [
        Connection(options["endpoint"], path, options["token"]) for _ in range(options["connections"])
    ]
    selector = selectors.DefaultSelector()
    begun: dict[Connection, int] = {}
    taken: list[int] = []

    def send(connection: Connection, number: int) -> None:
        message = request(options["run"], number).SerializeToString()
        begun[connection] = time.perf_counter_ns()
        connection.send(message)

    print("ready", flush=True)
    sys.stdin.readline()
    begun_at = time.monotonic()
    for each in connections:
        selector.register(each, selectors.EVENT_READ, each)
        send(each, next(numbers))
    while begun:
        for key, _ in selector.select(30):
            connection: Connection = key.data
            if connection.is_answered():
                taken.append((time.perf_counter_ns() - begun.pop(connection)) // 1000)
                is_time = time.monotonic() < begun_at + options["seconds"]
                if is_time and (number := next(numbers, None)) is not None:
                    send(connection, number)
    return {"calls": len(taken), "seconds": time.monotonic() - begun_at, "microseconds": taken}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.stdin.readline()))))
