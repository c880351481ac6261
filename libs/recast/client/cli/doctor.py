"""`recast doctor`: the problems of an installation on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from recast.client.cli.help_text import reflowed
from recast.client.cli.options import AnswerFormat

_UNREADABLE = 2


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    parent.command(name, help=reflowed(f"{help_line}\n\n{doctor.__doc__}"), rich_help_panel=panel)(doctor)


def doctor(
    root: Annotated[Path, typer.Option("--root", help="The folder of keys, data and stores.")] = Path(
        ".recast"
    ),
    deep: Annotated[bool, typer.Option("--deep", help="Read every stored byte.")] = False,
    at_rest: Annotated[
        bool, typer.Option("--at-rest", help="All work has ended: nothing may be in progress.")
    ] = False,
    output: Annotated[
        AnswerFormat, typer.Option("--output", "-o", help="The output format.")
    ] = AnswerFormat.table,
) -> None:
    """It reads the databases, stores and disks of this machine directly, whether the services run or not, and
    changes nothing. Exits with 0 without problems, 1 with problems, 2 when the installation is unreadable.
    """
    try:
        # Imported here: a client needs none of its dependencies.
        from recast.doctor.command import run  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        typer.echo(f"cannot run: {missing}; install 'recast[doctor]' on the services' machine", err=True)
        raise typer.Exit(_UNREADABLE) from None
    raise typer.Exit(run(root, deep=deep, at_rest=at_rest, as_json=output is AnswerFormat.json))
