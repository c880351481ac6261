"""Clients of the soak: one process of several threads, each with a channel of its own, that do a bit of all.

Reads one line of JSON, prints `ready`, begins at the next line, and prints how many rounds there were. A call
that is refused ends the run. The requests depend on the answers, so these are gRPC's own clients.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import field_mask_pb2

from recast.csbs.v1 import backup_service_pb2 as backups
from recast.csbs.v1 import backup_service_pb2_grpc as backups_grpc
from recast.imagelock.v1 import image_lock_service_pb2, image_lock_service_pb2_grpc
from tests.bench.load.requests import PROJECT, create_backup, lock


def mixed(options: dict[str, Any]) -> Callable[[int], None]:
    """A round: a backup is recorded, read, listed and changed, and another locked, confirmed and released."""
    channel = grpc.insecure_channel(options["endpoint"], options=[("grpc.use_local_subchannel_pool", 1)])
    grpc.channel_ready_future(channel).result(timeout=20)
    stub = backups_grpc.BackupServiceStub(channel)
    locks = image_lock_service_pb2_grpc.ImageLockServiceStub(channel)
    run = options["run"]
    people = {"metadata": (("authorization", f"Bearer {options['token']}"),), "timeout": 30}
    ims = {"metadata": (("authorization", f"Bearer {options['service_token']}"),), "timeout": 30}

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


def run(options: dict[str, Any]) -> dict[str, int]:
    """Rounds for so many seconds; thread by thread every `step`th number from `first` on."""
    threads, seconds = options["threads"], options["seconds"]
    rounds = [mixed(options) for _ in range(threads)]
    done = [0] * threads
    failed: list[BaseException] = []
    print("ready", flush=True)
    sys.stdin.readline()
    begun_at = time.monotonic()

    def work(thread: int) -> None:
        number = options["first"] + thread
        try:
            while time.monotonic() < begun_at + seconds:
                rounds[thread](number)
                done[thread] += 1
                number += options["step"]
        except grpc.RpcError as problem:  # goes to the parent process
            failed.append(problem)

    running = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    if failed:
        raise failed[0]
    return {"rounds": sum(done)}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.stdin.readline()))))
