"""`recast source`: BackupSourceService, which CSBS alone may call.

Stores and contents have many fields, so they are given as the JSON of the contracts.
"""

from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf import json_format
from google.protobuf.message import Message

from recast.client.cli.arguments import ArgumentInvalid, pair
from recast.client.cli.command import command, group
from recast.client.cli.options import OfBackup, PowerOn, ServerId, Work
from recast.client.cli.session import Session
from recast.content.v1.content_pb2 import Content, ContentStore
from recast.ecs.v1.backup_source_service_pb2 import (
    DescribeServerRequest,
    ExportDisk,
    ExportDisksRequest,
    FreezeServerRequest,
    RestoreDiskMapping,
    RestoreDisksRequest,
    ThawServerRequest,
)

app = typer.Typer()

FreezeId = Annotated[str, typer.Option("--freeze", help="The freeze: the id of its work.")]
Read = TypeVar("Read", bound=Message)


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


def _from_json(text: str, into: Read, argument: str) -> Read:
    """Reads JSON, or the file that `@path` names."""
    try:
        return json_format.Parse(Path(text[1:]).read_text() if text.startswith("@") else text, into)
    except (json_format.ParseError, OSError) as problem:
        raise ArgumentInvalid(argument, f"cannot be read: {problem}") from None


@command(app, "describe", service="csbs")
def describe(session: Session, server: ServerId) -> None:
    """Show a server and its disks."""
    answer = session.recast.sources.DescribeServer(
        DescribeServerRequest(server=session.name(server, "servers"))
    )
    session.show(answer, answer.server)


@command(app, "freeze", service="csbs")
def freeze(session: Session, server: ServerId, freeze_id: FreezeId, backup: OfBackup) -> None:
    """Freeze every disk of a server at one instant. A repeat gets the same answer."""
    request = FreezeServerRequest(
        server=session.name(server, "servers"), freeze_id=freeze_id, backup=session.name(backup, "backups")
    )
    session.show(session.recast.sources.FreezeServer(request))


@command(app, "export", service="csbs")
def export(
    session: Session,
    *,
    server: ServerId,
    freeze_id: FreezeId,
    store: Annotated[str, typer.Option("--store", metavar="JSON", help="A ContentStore in JSON, or @FILE.")],
    work: Work,
    disk: Annotated[
        list[str] | None, typer.Option("--disk", metavar="JSON", help="An ExportDisk in JSON, or @FILE.")
    ] = None,
) -> None:
    """Write the frozen disks to a chunk store."""
    request = ExportDisksRequest(
        server=session.name(server, "servers"),
        freeze_id=freeze_id,
        store=_from_json(store, ContentStore(), "--store"),
        disks=[_from_json(each, ExportDisk(), "--disk") for each in disk or ()],
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.sources.ExportDisks(request), "ecs", work)


@command(app, "thaw", service="csbs")
def thaw(
    session: Session,
    *,
    server: ServerId,
    freeze_id: FreezeId,
    sealed_backup: OfBackup = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for the end of the work, with a bar.")
    ] = False,
) -> None:
    """End a freeze. --backup names the backup sealed with the frozen bytes; omit it after a failure."""
    request = ThawServerRequest(
        server=session.name(server, "servers"),
        freeze_id=freeze_id,
        sealed_backup=session.name(sealed_backup, "backups"),
        request_id=session.request_id,
    )
    session.begun(session.recast.sources.ThawServer(request), "ecs", Work(wait=wait))


@command(app, "restore", service="csbs")
def restore(
    session: Session,
    *,
    server: ServerId,
    content: Annotated[str, typer.Option("--content", metavar="JSON", help="A Content in JSON, or @FILE.")],
    mapping: Annotated[
        list[str], typer.Option("--map", metavar="CONTENT_DISK=DISK", help="Which disk each goes to.")
    ],
    work: Work,
    power_on: PowerOn = False,
) -> None:
    """Write the content of a backup to disks of a server, which is stopped for it."""
    mappings = []
    for each in mapping:
        source, target = pair(each, "--map", "CONTENT_DISK=DISK")
        mappings.append(RestoreDiskMapping(content_disk=source, disk=session.name(target, "disks")))
    request = RestoreDisksRequest(
        server=session.name(server, "servers"),
        content=_from_json(content, Content(), "--content"),
        mappings=mappings,
        power_on=power_on,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.sources.RestoreDisks(request), "ecs", work)
