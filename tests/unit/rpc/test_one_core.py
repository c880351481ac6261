"""The threads that answer calls stay together, and leave a core that others make busy.

What moves threads runs in a process of its own: that of the tests may have servers, which move theirs.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import grpc
import pytest

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.csbs.v1 import backup_service_pb2_grpc as csbs_grpc
from recast.rpc.access import PEOPLE
from recast.rpc.identity import Caller, Signer, Verifier
from recast.rpc.one_core import OneCore, Spent, better_core
from recast.rpc.server import Registration, Server

ALL = os.sched_getaffinity(0)
SEVERAL = len(ALL) > 1


class Telling(csbs_grpc.BackupServiceServicer):
    """Tells on which cores its thread may run."""

    def GetBackup(self, request: object, context: object) -> csbs.GetBackupResponse:
        """The cores, as the backup's description."""
        response = csbs.GetBackupResponse()
        response.backup.description = " ".join(map(str, os.sched_getaffinity(0)))
        return response


def _cores_of_calls(keys: Path, *, one_core: bool) -> list[set[int]]:
    """Of some calls at once, where each was answered."""
    signer = Signer.load(keys / "people.pem")
    token = signer.token(Caller("me", "demo", "user"), now=time.time(), lifetime_seconds=60)
    add = csbs_grpc.add_BackupServiceServicer_to_server
    registration = Registration("recast.csbs.v1.BackupService", add, Telling(), PEOPLE)
    server = Server(
        "csbs", "127.0.0.1:0", Verifier.load(keys / "trusted.json"), [registration], one_core=one_core
    )
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            get = csbs_grpc.BackupServiceStub(channel).GetBackup
            request = csbs.GetBackupRequest(name="projects/demo/backups/nightly")
            metadata = (("authorization", f"Bearer {token}"),)
            calls = [get.future(request, metadata=metadata, timeout=20) for _ in range(8)]
            told = [call.result().backup.description for call in calls]
    finally:
        server.stop(0)
    return [set(map(int, each.split())) for each in told]


def _alone(check: Callable[..., None], *given: object) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(check, *given).result(60)


def test_calls_are_answered_on_one_core(keys: Path) -> None:
    """Every call on the same one; whoever started the server keeps all."""
    _alone(_check_calls_on_one_core, keys)


def _check_calls_on_one_core(keys: Path) -> None:
    cores = _cores_of_calls(keys, one_core=True)
    assert [len(each) for each in cores] == [1 if SEVERAL else len(ALL)] * 8
    assert len(set.union(*cores)) == 1
    assert os.sched_getaffinity(0) == ALL


def test_calls_may_be_answered_anywhere(keys: Path) -> None:
    """Where one core is not asked for."""
    assert _cores_of_calls(keys, one_core=False) == [ALL] * 8


@pytest.mark.parametrize(
    ("cores", "own", "better"),
    [
        pytest.param({0: 2.0, 1: 0.1}, 2.0, 0, id="we alone"),
        pytest.param({0: 2.0, 1: 0.1}, 0.5, 1, id="another takes it from us"),
        pytest.param({0: 2.0, 1: 1.9}, 0.5, 0, id="it is no better elsewhere"),
        pytest.param({0: 0.3, 1: 0.0}, 0.0, 0, id="not worth it"),
        pytest.param({0: 2.0, 1: 0.9, 2: 0.2}, 0.1, 2, id="the idlest of several"),
    ],
)
def test_a_core_is_left_for_a_better_one(cores: dict[int, float], own: float, better: int) -> None:
    """What others take counts, in the time between two looks; what we take moves with us."""
    before = Spent(100.0, dict.fromkeys(cores, 50.0), 7.0)
    now = Spent(102.0, {core: 50.0 + busy for core, busy in cores.items()}, 7.0 + own)
    assert better_core(0, before, now) == better


class Crowded(OneCore):
    """Each core that it is on is full of others."""

    def spent(self, core: int) -> Spent:
        """A second of others' work for each second that goes by."""
        now = time.monotonic()
        return Spent(now, {each: now if each == core else 0.0 for each in ALL}, 0.0)


def test_all_threads_move_together() -> None:
    """They go elsewhere, those that are started amid it too, and nobody else does."""
    _alone(_check_all_threads_move)


def _check_all_threads_move() -> None:
    core, ended, seen = Crowded(look_seconds=0.02), threading.Event(), [set[int](), set[int]()]

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            while not ended.wait(0.005):
                seen[number] |= os.sched_getaffinity(0)

        return run

    def first() -> None:
        threading.Thread(target=work(1)).start()
        work(0)()

    with core.holding():
        threading.Thread(target=first).start()
    until = time.monotonic() + 20
    while any(each != ALL for each in seen) and time.monotonic() < until:
        time.sleep(0.01)
    core.end()
    ended.set()
    assert seen == [ALL, ALL]
    assert os.sched_getaffinity(0) == ALL


def test_what_the_system_counts() -> None:
    """A thread's work is counted as its core's and as our own."""
    _alone(_check_what_is_counted)


def _check_what_is_counted() -> None:
    core, ended = OneCore(look_seconds=60.0), threading.Event()
    on: list[int] = []

    def burn() -> None:
        on.extend(os.sched_getaffinity(0))
        while not ended.is_set():
            sum(range(1000))

    with core.holding():
        threading.Thread(target=burn).start()
    while not on:
        time.sleep(0.001)
    before = core.spent(on[0])
    time.sleep(0.5)
    now = core.spent(on[0])
    ended.set()
    core.end()
    assert now.own > before.own
    assert now.cores.keys() == before.cores.keys() == ALL
    assert now.cores[on[0]] > before.cores[on[0]]
