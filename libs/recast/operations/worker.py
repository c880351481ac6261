"""The worker: claims operations, runs their workflows, renews their leases, ends them."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from sqlalchemy import Select, literal, select, text, update

from recast.faultpoints import within
from recast.faults import Cancelled, Internal, Kind, Refusal, Unavailable
from recast.operations.clocks import shorten_leases
from recast.operations.lease import Lease, LeaseLost
from recast.operations.registry import Operations
from recast.operations.shares import Shares
from recast.operations.tables import OperationRow, State
from recast.operations.work import Interrupted, Parked, Work, Workflow
from recast.rpc.identity import acting_for
from recast.rpc.status import refusal_from_status, status_from_refusal

log = structlog.get_logger()
_TABLE: Any = OperationRow.__table__  # type: ignore[attr-defined]
_POLL_SECONDS = 0.5  # the longest delay until another replica's work, or a retry, is claimed
_IDLE_SECONDS = 4.0  # the same, when the polling thread is busy with long work
_MAX_BACKOFF_SECONDS = 5.0
_MAX_FAILED_UNDOS = 5  # then the operation ends: no state lasts for ever
# Decided work is not undone: the rest is retried this often, for about a minute.
_MAX_DECIDED_FAILURES = 15
_TRY_AGAIN = (Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED)


class Worker:
    """Runs the work of one service in its own threads.

    `workflows` by verb; `queues` are those that this process serves.
    """

    def __init__(
        self,
        operations: Operations,
        workflows: Mapping[str, Workflow],
        *,
        domain: str,
        queues: tuple[str, ...] = ("",),
        threads: int = 8,
        lease_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._operations = operations
        self._database = operations.database
        self._workflows = workflows
        self._domain = domain
        self._queues = queues
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._name = operations.new_id()
        self._stopping = threading.Event()
        self._shares = Shares(threads)
        self._threads = [
            threading.Thread(target=self._loop, name=f"{domain}-work-{n}") for n in range(threads)
        ]
        self._poll_lock = threading.Lock()  # held by the idle thread that polls; the others wait for a wakeup
        self._idle = threading.Event()  # set when no thread runs work
        # Requests of ended work are deleted, and may hold a key; at first for a process that was killed.
        self._has_deleted = True
        self._renewer = threading.Thread(target=self._renew, name=f"{domain}-leases")

    def start(self) -> None:
        """Starts the threads."""
        for thread in (*self._threads, self._renewer):
            thread.start()

    def begin_to_stop(self) -> None:
        """Claims no more work; running work ends at its next check. Returns at once."""
        self._stopping.set()
        self._operations.wakeup.close()

    def stop(self) -> None:
        """Waits until every workflow reached its next check and gave its lease back."""
        self.begin_to_stop()
        for thread in self._threads:
            thread.join()
        # Only now: work on its way to its next check must not lose its lease.
        self._idle.set()
        self._renewer.join()

    def run_once(self) -> bool:
        """Claims one operation and runs it as far as it goes; False when there was none.

        Tests drive the worker by it.
        """
        lease = self.claim()
        if lease is None:
            return False
        row = lease.row
        self._shares.add(lease)
        try:
            bound = structlog.contextvars.bound_contextvars(
                operation=row.id, verb=row.verb, project=row.project
            )
            with bound, acting_for(row.project), within(row.verb):
                self._run(lease)
        except LeaseLost:
            log.warning("lease lost")
        except Parked:
            pass  # its lease is given back; its children's end has it run again
        finally:
            self._shares.remove(lease)
            self._operations.notify()
        return True

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.run_once():
                    self._wait_for_work()
            except Exception:  # the loop must survive the failure of one round
                log.exception("worker round failed")
                self._stopping.wait(_POLL_SECONDS)

    def _wait_for_work(self) -> None:
        """Waits for a wakeup. One idle thread polls for work that other processes recorded."""
        is_polling = self._poll_lock.acquire(blocking=False)
        try:
            self._operations.wakeup.wait(_POLL_SECONDS if is_polling else _IDLE_SECONDS)
        finally:
            if is_polling:
                self._poll_lock.release()

    def _claimable(self, full: Collection[str] = ()) -> Select[Any]:
        """The ids of claimable operations, the oldest first; none of the projects in `full`."""
        now = text(self._database.now_sql())
        return (
            select(_TABLE.c.id)
            .where(
                _TABLE.c.ended.is_(False),
                _TABLE.c.queue.in_([literal(queue) for queue in self._queues]),
                # Work of a newer version is left to its workers.
                _TABLE.c.verb.in_([literal(verb) for verb in self._workflows]),
                _TABLE.c.not_before <= now,
                _TABLE.c.lease_until < now,
                _TABLE.c.project.not_in(full),
            )
            .order_by(_TABLE.c.create_time)
        )

    def _count_waiting(self, full: Collection[str] = ()) -> int:
        """How much work waits, counted up to two; none of the projects in `full`."""
        with self._database.read() as session:
            return len(session.connection().execute(self._claimable(full).limit(2)).all())

    def claim(self) -> Lease | None:
        """Claims the oldest operation for this worker; None when there is none.

        A project that has its share of the threads gets another only if no other project waits.
        """
        begun, full = self._monotonic(), self._shares.full()
        # Most polls find nothing: they take no write lock.
        waiting = self._count_waiting(full)
        if not waiting and full:
            waiting, full = self._count_waiting(), []
        if not waiting:
            return None
        with self._database.write() as tx:
            oldest = self._claimable(full).limit(1).with_for_update(skip_locked=True)
            found = tx.session.connection().execute(oldest).first()
            if found is None:
                return None
            values = {
                "epoch": _TABLE.c.epoch + 1,
                "worker": self._name,
                "lease_until": text(f"{self._database.now_sql()} + {self._lease_seconds}"),
                "update_time": self._operations.now(),
            }
            tx.session.connection().execute(update(_TABLE).where(_TABLE.c.id == found.id).values(**values))
            row = tx.session.get_one(OperationRow, found.id)
            if row.state == State.PENDING:
                row.state = State.RUNNING
            tx.commit()
        if waiting > 1:
            self._operations.wakeup.notify()  # another thread takes the next
        return Lease(self._operations, row, self._lease_seconds, begun, self._monotonic)

    def _run(self, lease: Lease) -> None:
        row = lease.row
        work = Work(self._operations, lease, self._stopping, lambda: self._gives_way(lease), self._monotonic)
        workflow = self._workflows[row.verb]
        try:
            if row.error is None:
                failure = self._do(workflow, lease, work)
                if failure is None:
                    return
                row.error, row.failures = self._begin_undo(lease, work, failure), 0
            self._undo(workflow, lease, work)
        except Refusal as refusal:
            self._retry_later(lease, work, refusal)
        except Interrupted:
            lease.give_back(progress=work.last_progress().SerializeToString())

    def _gives_way(self, lease: Lease) -> bool:
        gives_way = self._shares.gives_way(lease, lambda full: self._count_waiting(full) > 0)
        if gives_way:
            log.info("gives way to another project")
        return gives_way

    def _do(self, workflow: Workflow, lease: Lease, work: Work) -> Refusal | None:
        """Runs work to its end; returns the refusal for which it must be undone. Raises errors to retry."""
        try:
            result = workflow.run(work)
            if isinstance(result, Refusal):
                status = status_from_refusal(result, self._domain).SerializeToString()
                self._end(lease, work, State.FAILED, error=status)
            else:
                self._succeed(lease, work, result)
        except (LeaseLost, Interrupted, Parked):
            raise
        except Exception as problem:  # a bug in a workflow ends its work too: it must not retry for ever
            refusal = problem if isinstance(problem, Refusal) else Internal(request_id=work.id)
            if refusal is not problem:
                log.exception("bug")
            if refusal.kind in _TRY_AGAIN and work.is_cancelled():
                return work.cancelled()  # a cancel does not wait for an unavailable dependency
            if refusal.kind in _TRY_AGAIN or (work.is_decided and lease.row.failures < _MAX_DECIDED_FAILURES):
                raise refusal from problem
            return refusal
        return None

    def _begin_undo(self, lease: Lease, work: Work, refusal: Refusal) -> bytes:
        log.info("undoing", reason=refusal.reason, text=refusal.text)
        status: bytes = status_from_refusal(refusal, self._domain).SerializeToString()
        lease.write(state=State.UNDOING, error=status, failures=0)
        work.is_undoing = True
        return status

    def _undo(self, workflow: Workflow, lease: Lease, work: Work) -> None:
        assert lease.row.error is not None
        error = refusal_from_status(status_pb2.Status.FromString(lease.row.error))
        work.is_last_try = lease.row.failures + 1 >= _MAX_FAILED_UNDOS
        try:
            result = workflow.undo(work, error)
        except (LeaseLost, Interrupted, Parked):
            raise
        except Exception as problem:  # retried a few times, then left to `recast doctor`
            refusal = problem if isinstance(problem, Refusal) else Internal(request_id=work.id)
            if refusal.kind in _TRY_AGAIN or not work.is_last_try:
                log.warning("undo failed", exc_info=refusal is not problem)
                self._retry_later(lease, work, refusal)
                return
            log.exception("undo given up")
            result = None
        if result is not None:
            self._succeed(lease, work, result)
            return
        self._end(lease, work, State.CANCELLED if error.reason == Cancelled.reason else State.FAILED)

    def _retry_later(self, lease: Lease, work: Work, refusal: Refusal) -> None:
        """Gives the work back, to be retried after a delay.

        An unavailable dependency does not count as a failure.
        """
        row = lease.row
        lease.give_back(
            min(_MAX_BACKOFF_SECONDS, 0.2 * 2 ** min(row.retries, 8)),
            retries=row.retries + 1,
            failures=row.failures + (refusal.kind not in _TRY_AGAIN),
            last_retry_reason=refusal.text[:500],
            progress=work.last_progress().SerializeToString(),
        )

    def _succeed(self, lease: Lease, work: Work, result: Message) -> None:
        packed = any_pb2.Any()
        packed.Pack(result)
        progress = work.last_progress()
        progress.progress_percent = 100
        progress.done_bytes = progress.total_bytes
        for disk in progress.disks:
            disk.done_bytes = disk.total_bytes
        # No error: the undo may have found the work complete.
        self._end(lease, work, State.SUCCEEDED, response=packed.SerializeToString(), error=None)

    def _end(self, lease: Lease, work: Work, state: State, **values: object) -> None:
        lease.end(state=state, progress=work.last_progress().SerializeToString(), **values)
        self._has_deleted = True

    def _renew(self) -> None:
        while not self._idle.wait(self._lease_seconds / 3):
            self.tend()

    def tend(self) -> None:
        """The work of the renewing thread, three times in the length of a lease.

        It renews every lease, shortens those that a wrong clock has written, and removes what was deleted
        from the log.
        """
        for lease in self._shares.leases():
            try:
                lease.renew()
            except Exception:  # an unreachable database costs a renewal, not the thread
                log.warning("lease not renewed", exc_info=True)
        try:
            shorten_leases(self._database, self._lease_seconds)
            if self._has_deleted:
                self._has_deleted = False  # before: work may end meanwhile
                self._has_deleted = not self._database.truncate_log() or self._has_deleted
        except Unavailable:  # the next round repeats it
            self._has_deleted = True
