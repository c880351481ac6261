"""Shared options, as dataclasses: a command with a parameter of one of these types has its options."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from recast.contracts.services import Service

_EVERYWHERE = "Connection and output"


class AnswerFormat(StrEnum):
    """The format of an answer without a name."""

    table = "table"
    json = "json"


class Output(StrEnum):
    """The format of an answer."""

    table = "table"  # the members are the values on the command line
    json = "json"
    name = "name"


class Role(StrEnum):
    """The role of a minted token."""

    user = "user"
    operator = "operator"


@dataclass(frozen=True)
class Common:
    """Options of every command that calls a service."""

    output: Annotated[
        Output,
        typer.Option(
            "--output", "-o", help="The format of the answer, and of a refusal.", rich_help_panel=_EVERYWHERE
        ),
    ] = Output.table
    project: Annotated[
        str,
        typer.Option(
            "--project", "-p", envvar="RECAST_PROJECT", help="The project.", rich_help_panel=_EVERYWHERE
        ),
    ] = "demo"
    role: Annotated[
        Role | None,
        typer.Option("--role", help="Make a token of this role with the keys.", rich_help_panel=_EVERYWHERE),
    ] = None
    as_service: Annotated[
        Service | None,
        typer.Option("--as", help="Make a token of this service with the keys.", rich_help_panel=_EVERYWHERE),
    ] = None
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id",
            help="Repeats with the same id get the same answer, without a second effect; generated if not "
            "given. The services log it.",
            show_default=False,
            rich_help_panel=_EVERYWHERE,
        ),
    ] = ""


@dataclass(frozen=True)
class Change:
    """Options of a change."""

    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Only check: print the would-be answer, change nothing.")
    ] = False


@dataclass(frozen=True)
class Work(Change):
    """Options of long-running work."""

    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of the work, with a bar.")] = (
        False
    )


@dataclass(frozen=True)
class Paging:
    """Options of a list."""

    filter: Annotated[
        str,
        typer.Option(
            "--filter", help="""Conditions joined by AND: 'state = "AVAILABLE" AND display_name = "n*"'."""
        ),
    ] = ""
    order_by: Annotated[
        str, typer.Option("--order-by", help="A field, with ' desc' for the other way round.")
    ] = ""
    page_size: Annotated[int, typer.Option("--page-size", min=0, help="The size of a page; 0 means 50.")] = 0
    page_token: Annotated[str, typer.Option("--page-token", help="Continue an earlier list.")] = ""
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Show at most so many, from several pages.")
    ] = 0
    everything: Annotated[bool, typer.Option("--all", help="Show all pages.")] = False


Etag = Annotated[str, typer.Option("--etag", help="Fail unless this is the current etag.")]
DisplayName = Annotated[str, typer.Option("--name", help="The name for people.")]
Description = Annotated[str, typer.Option("--description", help="Its purpose.")]
NewDisplayName = Annotated[str | None, typer.Option("--name", help="The new name for people.")]
NewDescription = Annotated[
    str | None, typer.Option("--description", help="The new description; '' empties it.")
]
OnHost = Annotated[
    str, typer.Option("--host", help="The host to make it on; the one with the most free space if not given.")
]
PowerOn = Annotated[bool, typer.Option("--power-on", help="Start the server when it is done.")]


def _ids(collection: str) -> Callable[[typer.Context, str], list[str]]:
    """Completes the ids of a collection."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from recast.client.cli.completing import ids  # noqa: PLC0415  # imports gRPC; only when completing

        return ids(collection, context.params.get("project"), incomplete)

    return complete


BackupId = Annotated[
    str, typer.Argument(metavar="BACKUP", help="Its id or name.", autocompletion=_ids("backups"))
]
CheckedBackupIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[BACKUP]...", help="Their ids or names.", autocompletion=_ids("backups")),
]
CheckedServerIds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SERVER",
        help="A server, as of a backup made now; repeatable.",
        autocompletion=_ids("servers"),
    ),
]
BackupsToDelete = Annotated[
    list[str] | None,
    typer.Argument(metavar="BACKUP...", help="Ids or names.", autocompletion=_ids("backups")),
]
ImagesToDelete = Annotated[
    list[str] | None, typer.Argument(metavar="IMAGE...", help="Ids or names.", autocompletion=_ids("images"))
]
ServersToDelete = Annotated[
    list[str] | None,
    typer.Argument(metavar="SERVER...", help="Ids or names.", autocompletion=_ids("servers")),
]
DisksToDelete = Annotated[
    list[str] | None, typer.Argument(metavar="DISK...", help="Ids or names.", autocompletion=_ids("disks"))
]
ImageId = Annotated[
    str, typer.Argument(metavar="IMAGE", help="Its id or name.", autocompletion=_ids("images"))
]
ServerId = Annotated[
    str, typer.Argument(metavar="SERVER", help="Its id or name.", autocompletion=_ids("servers"))
]
DiskId = Annotated[str, typer.Argument(metavar="DISK", help="Its id or name.", autocompletion=_ids("disks"))]
NewId = Annotated[
    str, typer.Argument(metavar="ID", help="The new id; generated if not given.", show_default=False)
]
OfBackup = Annotated[str, typer.Option("--backup", help="The backup.", autocompletion=_ids("backups"))]
OfImage = Annotated[str, typer.Option("--image", help="The image.", autocompletion=_ids("images"))]
OfServer = Annotated[str, typer.Option("--server", help="The server.", autocompletion=_ids("servers"))]
