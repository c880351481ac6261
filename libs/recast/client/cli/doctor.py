"""`recast doctor`: the problems of an installation on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from recast.client.cli.failure import reporting
from recast.client.cli.groups import Command
from recast.client.cli.help_text import reflowed
from recast.client.cli.options import AnswerFormat
from recast.client.local_stack import read_endpoints
from recast.client.settings import Settings
from recast.contracts.services import SERVICES
from recast.faults import Kind, Refusal

_UNREADABLE = 2


class OtherInstallation(Refusal):
    """The commands reach services that are not those of the examined root."""

    kind = Kind.FAILED_PRECONDITION
    reason = "OTHER_INSTALLATION"
    message = (
        "the other commands reach {endpoints}, but the services of {root} are at {of_root}: the doctor would "
        "examine another installation"
    )


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    help_text = reflowed(f"{help_line}\n\n{doctor.__doc__}")
    parent.command(name, help=help_text, rich_help_panel=panel, cls=Command)(doctor)


def doctor(
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="The folder of keys, data and stores; the folder of RECAST_KEYS (.recast) if not given.",
            show_default=False,
        ),
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every stored byte.")] = False,
    at_rest: Annotated[
        bool, typer.Option("--at-rest", help="All work has ended: nothing may be in progress.")
    ] = False,
    output: Annotated[
        AnswerFormat, typer.Option("--output", "-o", help="The output format.")
    ] = AnswerFormat.table,
) -> None:
    """It reads the databases, stores and disks of this machine directly, whether the services run or not, and
    changes nothing. Its first line names the folder that it examines. Without --root it is refused when the
    other commands reach the services of another folder, or of containers. Exits with 0 without problems, 1
    with problems, 2 when the installation is unreadable.
    """
    as_json = output is AnswerFormat.json
    with reporting(json_wanted=as_json, code=_UNREADABLE):
        examined = root or _root_of_commands()
    try:
        # Imported here: a client needs none of its dependencies.
        from recast.doctor.command import run  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        typer.echo(f"cannot run: {missing}; install 'recast[doctor]' on the services' machine", err=True)
        raise typer.Exit(_UNREADABLE) from None
    raise typer.Exit(run(examined, deep=deep, at_rest=at_rest, as_json=as_json))


def _root_of_commands() -> Path:
    """The root whose keys and services the other commands use; OtherInstallation when there is none."""
    settings = Settings.from_environment(os.environ)
    root = settings.keys.parent
    of_root = read_endpoints(settings.keys) or Settings().endpoints
    if any(settings.endpoints[service] != of_root[service] for service in SERVICES):
        raise OtherInstallation(
            endpoints=", ".join(settings.endpoints.values()),
            of_root=", ".join(of_root.values()),
            root=root.absolute(),
        )
    return root
