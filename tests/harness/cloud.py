"""CSBS, IMS and ECS in this process, with real keys, stores and disks, and actions on them for tests."""

import json
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text

import csbs.app
import csbs.settings
import ecs.app
import ecs.settings
import ims.app
import ims.settings
from recast.client import SERVICES, Recast, Service, Settings
from recast.client.tokens import mint
from recast.database import Database
from recast.operations.tables import OperationRow, OperationUse, State
from recast.rpc.identity import create_keys
from recast.stack.ports import address_of, hold_port

_STORES: tuple[Service, ...] = ("csbs", "ims")
# The events that a service logs for an unforeseen error.
_BUGS = {"bug", "worker round failed", "undo failed", "undo given up", "lease not renewed"}


class Cloud:
    """The three services under one folder. `start`, then `stop`.

    On SQLite files of their own; `database_of` names other databases, by service.
    """

    def __init__(
        self,
        root: Path,
        csbs_options: Mapping[str, Any] | None = None,
        ims_options: Mapping[str, Any] | None = None,
        database_of: Callable[[Service], str] | None = None,
    ) -> None:
        self.root = root
        self._urls = {
            service: database_of(service) if database_of else f"sqlite:///{root / f'{service}.db'}"
            for service in SERVICES
        }
        create_keys(root / "keys")
        self._held = [hold_port() for _ in SERVICES]
        self.endpoints = {
            service: address_of(held) for service, held in zip(SERVICES, self._held, strict=True)
        }
        for service in _STORES:
            (root / f"{service}-store").mkdir()
            (root / "keys" / f"{service}-store.key").write_bytes(secrets.token_bytes(32))
        targets = {f"{service}_target": self.endpoints[service] for service in SERVICES}
        own: dict[Service, dict[str, Any]] = {
            "csbs": {"ecs_target": targets["ecs_target"], **self._store("csbs"), **(csbs_options or {})},
            "ims": {
                "staging_dir": root / "ims-staging",
                "peer_store_urls": self.store_url("csbs"),
                "csbs_target": targets["csbs_target"],
                "ecs_target": targets["ecs_target"],
                **self._store("ims"),
                **(ims_options or {}),
            },
            "ecs": {"data_dir": root / "ecs", "ims_target": targets["ims_target"], **self._ecs_stores()},
        }
        modules = {
            "csbs": (csbs.app, csbs.settings),
            "ims": (ims.app, ims.settings),
            "ecs": (ecs.app, ecs.settings),
        }
        self._apps = [
            app.App(settings.Settings(**self._common(service), **own[service]), _now, _new_id)
            for service, (app, settings) in modules.items()
        ]
        self.databases = {service: Database(self._urls[service]) for service in SERVICES}
        self._clients: dict[tuple[str, str, str | None], Recast] = {}

    def start(self) -> None:
        """Serves."""
        for app in self._apps:
            app.start()

    def stop(self) -> None:
        """Ends everything."""
        for client in self._clients.values():
            client.close()
        for app in self._apps:
            app.stop()
        for held in self._held:
            held.close()

    def start_ecs(self, **settings: Any) -> ecs.app.App:
        """Another process of ECS on the same database, listening on a free port; the caller stops it."""
        common = self._common("ecs") | {"address": "127.0.0.1:0", "ims_target": self.endpoints["ims"]}
        common |= self._ecs_stores()
        app = ecs.app.App(ecs.settings.Settings(**common | settings), _now, _new_id)
        app.start()
        return app

    def client(self, project: str, role: str = "user", service: Service | None = None) -> Recast:
        """A client of the project in a role, or as one of the services."""
        key = (project, role, service)
        if key not in self._clients:
            token = self.token(project, role, service)
            self._clients[key] = Recast.from_settings(self._settings_of(project), token)
        return self._clients[key]

    def token(self, project: str, role: str = "user", service: Service | None = None) -> str:
        """A token of the project in a role, or of one of the services."""
        return mint(self._settings_of(project), project, role=role, service=service)

    def _settings_of(self, project: str) -> Settings:
        return Settings(endpoints=self.endpoints, project=project, keys=self.root / "keys")

    def _common(self, service: Service) -> dict[str, Any]:
        keys = self.root / "keys"
        return {
            "address": self.endpoints[service],
            "database_url": self._urls[service],
            "trusted_keys_file": keys / "trusted.json",
            "signing_key_file": keys / f"{service}.pem",
            "worker_threads": 3,  # tests wait for most of their work: more threads would only poll
        }

    def _store(self, service: Service) -> dict[str, Any]:
        key = self.root / "keys" / f"{service}-store.key"
        return {"store_url": self.store_url(service), "store_key_file": key}

    def store_url(self, service: Service) -> str:
        """The URL of a service's chunk store."""
        return (self.root / f"{service}-store").as_uri()

    def _ecs_stores(self) -> dict[str, Any]:
        return {"peer_store_urls": " ".join(self.store_url(each) for each in _STORES)}

    # The contents of the databases, and obstacles that are put there.

    def rows(self, service: Service) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that a service's database holds, by table; rows have no order, so one is made."""
        with self.databases[service].read() as session:
            connection = session.connection()
            return {
                name: sorted(
                    (tuple(row) for row in connection.execute(text(f'SELECT * FROM "{name}"'))), key=str
                )
                for name in inspect(connection).get_table_names()
            }

    def execute(self, service: Service, statement: str, **values: object) -> None:
        """Writes into a service's database, as no call could."""
        _execute(self.databases[service], statement, **values)

    def chunks_held(self, service: Service, project: str) -> AbstractContextManager[None]:
        """Excludes all work of the project from its chunk store, as a collection of chunks does."""
        return chunks_held(self.databases[service], project)

    def trigger(self, service: Service, when: str, action: str) -> AbstractContextManager[None]:
        """Has the database do `action` (SQL) `when` something is written: `AFTER INSERT ON disk WHEN ...`."""
        return trigger(self.databases[service], when, action)

    def work_held(self, service: Service, verb: str) -> AbstractContextManager[None]:
        """Work of this verb that is recorded in the block begins at its end, or once it is cancelled."""
        return work_held(self.databases[service], verb)

    # Files.

    def disk_folders(self) -> set[str]:
        """The folders of all disks on the host, those half made or half removed included."""
        return {path.name for path in (self.root / "ecs/disks").iterdir()}

    def chunks(self, service: Service, project: str) -> set[str]:
        """The names of a project's chunks in a service's store."""
        return {
            path.name
            for path in (self.root / f"{service}-store" / project / "chunks").rglob("*")
            if path.is_file()
        }

    def indexes(self, service: Service, project: str) -> set[str]:
        """The names of a project's indexes in a service's store."""
        folder = self.root / f"{service}-store" / project / "indexes"
        return {path.name for path in folder.rglob("*") if path.is_file()}


@contextmanager
def trigger(database: Database, when: str, action: str) -> Iterator[None]:
    """Has the database do `action` (SQL) `when` something is written: `AFTER INSERT ON disk WHEN ...`."""
    name = f"test_{uuid.uuid4().hex}"
    if database.is_sqlite:
        _execute(database, f"CREATE TRIGGER {name} {when} BEGIN {action}; END")
        drop = f"DROP TRIGGER {name}"
    else:
        event, _, condition = when.partition(" WHEN ")
        body = f"$$ BEGIN {action}; RETURN NULL; END $$"
        _execute(database, f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS {body}")
        each = f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()"
        _execute(database, f"CREATE TRIGGER {name} {event} {each}")
        drop = f"DROP FUNCTION {name} CASCADE"
    try:
        yield
    finally:
        _execute(database, drop)


@contextmanager
def work_held(database: Database, verb: str) -> Iterator[None]:
    """Work of this verb that is recorded in the block begins at its end, or once it is cancelled."""
    # A delay of over two minutes would be taken for that of a wrong clock.
    now = database.now_sql()
    later = f"UPDATE operation SET not_before = {now} + 110 WHERE id = NEW.id"
    with trigger(database, f"AFTER INSERT ON operation WHEN NEW.verb = '{verb}'", later):
        try:
            yield
        finally:
            begin = f"UPDATE operation SET not_before = 0 WHERE verb = :verb AND not_before > {now}"
            _execute(database, begin, verb=verb)


def _execute(database: Database, statement: str, **values: object) -> None:
    with database.write() as tx:
        tx.session.connection().execute(text(statement), values)
        tx.commit()


@contextmanager
def chunks_held(database: Database, project: str) -> Iterator[None]:
    """Excludes all work of the project from a service's chunk store, as a collection of chunks does."""
    holder = f"holder-{uuid.uuid4()}"
    row = OperationRow(
        id=holder,
        project=project,
        verb="Hold",
        target="test",
        request=b"",
        state=State.SUCCEEDED,
        ended=True,
        create_time=_now(),
        update_time=_now(),
    )
    use = OperationUse(resource=f"projects/{project}/chunks", operation_id=holder, exclusive=True)
    with database.write() as tx:
        tx.session.add(row)
        tx.session.flush()
        tx.session.add(use)
        tx.commit()
    try:
        yield
    finally:
        with database.write() as tx:
            tx.session.connection().execute(text("DELETE FROM operation WHERE id = :id"), {"id": holder})
            tx.commit()


def bugs_in(log: Path) -> list[str]:
    """The events of a log that no test may cause."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [str(event) for event in events if event["event"] in _BUGS]


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())
