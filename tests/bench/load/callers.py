"""Writing clients: one process of several threads, each with a connection of its own.

Reads one line of JSON (what to call, where, how long), prints `ready`, begins at the next line, and prints
what each call took. A call that is refused ends the run: a rate of refusals is no rate.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import rows
from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from wire import Connection, Refused

from recast.csbs.v1 import backup_pb2, image_lock_service_pb2, image_lock_service_pb2_grpc
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.csbs.v1 import backup_service_pb2_grpc as backups_grpc
from recast.ecs.v1 import server_pb2, server_service_pb2

PROJECT = "projects/load"
Call = Callable[[int], Any]
Request = Callable[[str, int], Message]


def lock(run: str, number: int) -> Message:
    """Locks another backup each time."""
    return image_lock_service_pb2.LockBackupRequest(
        backup=rows.available(number), image=f"{PROJECT}/images/i-{number:07}", request_id=f"{run}-{number}"
    )


def create_backup(run: str, number: int) -> Message:
    """Records a backup of another server each time."""
    backup = backup_pb2.Backup(server=f"{PROJECT}/servers/{run}-{number}")
    return backups.CreateBackupRequest(parent=PROJECT, backup=backup, request_id=f"{run}-{number}")


def create_servers(run: str, number: int) -> Message:
    """Records one more server from an image."""
    return server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server=server_pb2.Server(display_name=f"{run}-{number}"),
        image=f"{PROJECT}/images/any",
        request_id=f"{run}-{number}",
    )


KINDS: dict[str, tuple[str, Request]] = {
    "lock": ("/recast.csbs.v1.ImageLockService/LockBackup", lock),
    "create_backup": ("/recast.csbs.v1.BackupService/CreateBackup", create_backup),
    "create_servers": ("/recast.ecs.v1.ServerService/CreateServers", create_servers),
}


def one_kind(asked: dict[str, Any]) -> Call:
    """Calls of one kind, by a connection of its own."""
    path, request = KINDS[asked["kind"]]
    connection = Connection(asked["endpoint"], path, asked["token"])
    return lambda number: connection.call(request(asked["run"], number).SerializeToString())


def mixed(asked: dict[str, Any]) -> Call:
    """A round of everything: a backup is recorded, read, listed, changed, locked, confirmed and released.

    What it says depends on the answers, so these are gRPC's own clients.
    """
    channel = grpc.insecure_channel(asked["endpoint"], options=[("grpc.use_local_subchannel_pool", 1)])
    grpc.channel_ready_future(channel).result(timeout=20)
    stub = backups_grpc.BackupServiceStub(channel)
    locks = image_lock_service_pb2_grpc.ImageLockServiceStub(channel)
    run = asked["run"]
    people = {"metadata": (("authorization", f"Bearer {asked['token']}"),), "timeout": 30}
    ims = {"metadata": (("authorization", f"Bearer {asked['service_token']}"),), "timeout": 30}

    def one(number: int) -> None:
        made = stub.CreateBackup(create_backup(run, number), **people).backup
        stub.GetBackup(backups.GetBackupRequest(name=made.name), **people)
        stub.ListBackups(backups.ListBackupsRequest(parent=PROJECT), **people)
        made.description = f"changed by {run}"
        mask = field_mask_pb2.FieldMask(paths=["description"])
        change = backups.UpdateBackupRequest(backup=made, update_mask=mask, request_id=f"{run}-{number}")
        stub.UpdateBackup(change, **people)
        held = locks.LockBackup(lock(run, number), **ims).lock
        named = {"backup": held.backup, "image": held.image, "token": held.token}
        locks.ConfirmLock(image_lock_service_pb2.ConfirmLockRequest(**named), **ims)
        locks.ReleaseLock(image_lock_service_pb2.ReleaseLockRequest(**named), **ims)

    return one


def run(asked: dict[str, Any]) -> dict[str, object]:
    """Calls for so many seconds; thread by thread every `step`th number from `first` on."""
    threads, seconds = asked["threads"], asked["seconds"]
    calls = [mixed(asked) if asked["kind"] == "mixed" else one_kind(asked) for _ in range(threads)]
    latencies: list[list[int]] = [[] for _ in range(threads)]
    ends = [0.0] * threads
    failed: list[BaseException] = []
    print("ready", flush=True)
    sys.stdin.readline()
    begun_at = time.monotonic()

    def work(thread: int) -> None:
        number = asked["first"] + thread
        try:
            while time.monotonic() < begun_at + seconds:
                begun = time.perf_counter_ns()
                calls[thread](number)
                latencies[thread].append((time.perf_counter_ns() - begun) // 1000)
                number += asked["step"]
        except (grpc.RpcError, Refused, OSError) as problem:  # told to whoever started this process
            failed.append(problem)
        ends[thread] = time.monotonic() - begun_at

    running = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    if failed:
        raise failed[0]
    taken = [each for several in latencies for each in several]
    return {"calls": len(taken), "seconds": max(ends), "microseconds": taken}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.stdin.readline()))))
