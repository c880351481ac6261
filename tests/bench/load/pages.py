"""The cost of the pages of a very long list: the first beside one in the middle and the last, by filter and
order.

A page is requested by the token of the page before it. To have the last one's without reading the thousands
before, the position in a real token is replaced by that of the row before the last page.
"""

import base64
import json
import statistics
import time
from typing import Any

import grpc
from sqlmodel import Session, select

from csbs.storage import backups as stored
from csbs.storage.tables import BackupRow
from recast.csbs.v1 import backup_service_pb2 as pb
from recast.csbs.v1 import backup_service_pb2_grpc as grpc_pb
from recast.database import Database
from tests.bench.load import rows

SIZE = 50
_BUDGET_SECONDS = 6.0  # a query; a page that takes a second is measured a few times, not thirty
_DAY = '"2026-01-02T00:00:00Z"'
QUERIES = (
    ("", ""),
    ("", "create_time"),
    ("", "display_name"),
    ("", "size_bytes desc"),
    ('state = "AVAILABLE"', ""),
    ('state = "ERROR"', ""),
    ('server = "projects/load/servers/s-0007"', ""),
    ('display_name = "nightly-00001*"', ""),
    ("image_ready = false", ""),
    (f"create_time < {_DAY}", ""),
    ("size_bytes > 103079215104", ""),
)


def measure(endpoint: str, token: str, url: str) -> list[dict[str, Any]]:
    """Milliseconds of the first, the middle and the last page of each query, interleaved, medians."""
    database = Database(url)
    with grpc.insecure_channel(endpoint, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub = grpc_pb.BackupServiceStub(channel)
        metadata = (("authorization", f"Bearer {token}"),)
        found = [_query(stub, metadata, database, *query) for query in QUERIES]
    database.close()
    return found


def _query(stub: Any, metadata: Any, database: Database, filter_text: str, order_by: str) -> dict[str, Any]:
    def page_at(page_token: str) -> pb.ListBackupsResponse:
        request = pb.ListBackupsRequest(
            parent=f"projects/{rows.PROJECT}",
            filter=filter_text,
            order_by=order_by,
            page_size=SIZE,
            page_token=page_token,
        )
        answer: pb.ListBackupsResponse = stub.ListBackups(request, metadata=metadata, timeout=60)
        return answer

    first = page_at("")
    tokens = {"first": ""}
    if first.next_page_token:
        with database.read() as session:
            for name, row in _positions(session, filter_text, order_by).items():
                tokens[name] = _moved(first.next_page_token, row, order_by)
        last = page_at(tokens["last"])
        if len(last.backups) != SIZE or last.next_page_token:
            raise RuntimeError(f"no last page of {filter_text!r} {order_by!r}: {len(last.backups)} backups")
    taken: dict[str, list[float]] = {name: [] for name in tokens}
    end = time.monotonic() + _BUDGET_SECONDS
    while len(taken["first"]) < 3 or (time.monotonic() < end and len(taken["first"]) < 40):
        for name, page_token in tokens.items():
            begun = time.perf_counter()
            page_at(page_token)
            taken[name].append((time.perf_counter() - begun) * 1000)
    medians = {name: round(statistics.median(several), 2) for name, several in taken.items()}
    return {"filter": filter_text, "order_by": order_by or "create_time desc", "milliseconds": medians}


def _positions(session: Session, filter_text: str, order_by: str) -> dict[str, BackupRow]:
    """The rows before the middle page and before the last one."""
    conditions = (BackupRow.project == rows.PROJECT, *stored.LISTING._fields.conditions(filter_text))
    order = stored.LISTING._fields.order(order_by)

    def columns(forward: bool) -> list[Any]:
        return [
            getattr(BackupRow, name).desc() if descending is forward else getattr(BackupRow, name).asc()
            for name, descending in order
        ]

    query = select(BackupRow).where(*conditions)  # type: ignore[arg-type]
    total = len(session.exec(select(BackupRow.name).where(*conditions)).all())  # type: ignore[arg-type]
    middle = session.exec(query.order_by(*columns(True)).offset(total // 2).limit(1)).one()
    last = session.exec(query.order_by(*columns(False)).offset(SIZE).limit(1)).one()
    return {"middle": middle, "last": last}


def _moved(page_token: str, row: BackupRow, order_by: str) -> str:
    made_for, _ = json.loads(base64.urlsafe_b64decode(page_token + "=" * (-len(page_token) % 4)))
    values = [getattr(row, name) for name, _ in stored.LISTING._fields.order(order_by)]
    plain = [{"time": each.isoformat()} if hasattr(each, "isoformat") else each for each in values]
    return base64.urlsafe_b64encode(json.dumps([made_for, plain]).encode()).decode().rstrip("=")
