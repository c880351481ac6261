"""`recast doctor`: what is wrong with an installation on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from recast.client.cli.help_text import reflowed
from recast.client.cli.options import AnswerFormat

_CANNOT_LOOK = 2


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    parent.command(name, help=reflowed(f"{help_line}\n\n{doctor.__doc__}"), rich_help_panel=panel)(doctor)


def doctor(
    root: Annotated[Path, typer.Option("--root", help="Where keys, data and stores are.")] = Path(".recast"),
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte that is kept.")] = False,
    at_rest: Annotated[
        bool, typer.Option("--at-rest", help="All work has ended: nothing may be in progress.")
    ] = False,
    output: Annotated[
        AnswerFormat, typer.Option("--output", "-o", help="How to show it.")
    ] = AnswerFormat.table,
) -> None:
    """It reads the databases, stores and disks of this machine past the services, which may run or not; and
    changes nothing. Exits with 0 when nothing is wrong, 1 when something is, 2 when it cannot look.
    """
    try:
        # Imported here alone: a client need not have what an installation has.
        from recast.doctor.command import run  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        typer.echo(f"cannot look: {missing}; install recast-doctor where the services are", err=True)
        raise typer.Exit(_CANNOT_LOOK) from None
    raise typer.Exit(run(root, deep=deep, at_rest=at_rest, as_json=output is AnswerFormat.json))
