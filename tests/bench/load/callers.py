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

from recast.csbs.v1 import backup_pb2, image_lock_service_pb2, image_lock_service_pb2_grpc
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.csbs.v1 import backup_service_pb2_grpc as backups_grpc
from recast.ecs.v1 import server_pb2, server_service_pb2, server_service_pb2_grpc

PROJECT = "projects/load"
Call = Callable[[int], Any]


def lock(channel: grpc.Channel, run: str, metadata: Any) -> Call:
    """Locks another backup each time."""
    stub = image_lock_service_pb2_grpc.ImageLockServiceStub(channel)
    return lambda number: stub.LockBackup(
        image_lock_service_pb2.LockBackupRequest(
            backup=rows.available(number),
            image=f"{PROJECT}/images/i-{number:07}",
            request_id=f"{run}-{number}",
        ),
        metadata=metadata,
        timeout=30,
    )


def create_backup(channel: grpc.Channel, run: str, metadata: Any) -> Call:
    """Records a backup of another server each time."""
    stub = backups_grpc.BackupServiceStub(channel)
    return lambda number: stub.CreateBackup(
        backups.CreateBackupRequest(
            parent=PROJECT,
            backup=backup_pb2.Backup(server=f"{PROJECT}/servers/{run}-{number}"),
            request_id=f"{run}-{number}",
        ),
        metadata=metadata,
        timeout=30,
    )


def create_servers(channel: grpc.Channel, run: str, metadata: Any) -> Call:
    """Records one more server from an image."""
    stub = server_service_pb2_grpc.ServerServiceStub(channel)
    return lambda number: stub.CreateServers(
        server_service_pb2.CreateServersRequest(
            parent=PROJECT,
            server=server_pb2.Server(display_name=f"{run}-{number}"),
            image=f"{PROJECT}/images/any",
            request_id=f"{run}-{number}",
        ),
        metadata=metadata,
        timeout=30,
    )


def mixed(channel: grpc.Channel, run: str, metadata: Any, service_metadata: Any) -> Call:
    """A round of everything: a backup is recorded, read, listed, changed, locked, confirmed and released."""
    stub = backups_grpc.BackupServiceStub(channel)
    locks = image_lock_service_pb2_grpc.ImageLockServiceStub(channel)
    record, take = create_backup(channel, run, metadata), lock(channel, run, service_metadata)

    def one(number: int) -> None:
        made = record(number).backup
        stub.GetBackup(backups.GetBackupRequest(name=made.name), metadata=metadata, timeout=30)
        stub.ListBackups(backups.ListBackupsRequest(parent=PROJECT), metadata=metadata, timeout=30)
        made.description = f"changed by {run}"
        mask = field_mask_pb2.FieldMask(paths=["description"])
        change = backups.UpdateBackupRequest(backup=made, update_mask=mask, request_id=f"{run}-{number}")
        stub.UpdateBackup(change, metadata=metadata, timeout=30)
        held = take(number).lock
        named = {"backup": held.backup, "image": held.image, "token": held.token}
        locks.ConfirmLock(
            image_lock_service_pb2.ConfirmLockRequest(**named), metadata=service_metadata, timeout=30
        )
        locks.ReleaseLock(
            image_lock_service_pb2.ReleaseLockRequest(**named), metadata=service_metadata, timeout=30
        )

    return one


KINDS = {"lock": lock, "create_backup": create_backup, "create_servers": create_servers}


def run(asked: dict[str, Any]) -> dict[str, object]:
    """Calls for so many seconds; thread by thread every `step`th number from `first` on."""
    threads, seconds = asked["threads"], asked["seconds"]
    metadata = (("authorization", f"Bearer {asked['token']}"),)
    service_metadata = (("authorization", f"Bearer {asked.get('service_token', '')}"),)
    calls: list[Call] = []
    for _ in range(threads):
        channel = grpc.insecure_channel(asked["endpoint"], options=[("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(timeout=20)
        if asked["kind"] == "mixed":
            calls.append(mixed(channel, asked["run"], metadata, service_metadata))
        else:
            calls.append(KINDS[asked["kind"]](channel, asked["run"], metadata))
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
        except grpc.RpcError as problem:  # told to whoever started this process
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
