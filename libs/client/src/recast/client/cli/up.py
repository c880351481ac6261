"""`recast up`: the three services on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from recast.client.cli.flow import flowing


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    parent.command(name, help=flowing(f"{help_line}\n\n{up.__doc__}"), rich_help_panel=panel)(up)


def up(
    root: Annotated[Path, typer.Option("--root", help="Where keys, data and logs are kept.")] = Path(
        ".recast"
    ),
    first_port: Annotated[
        int, typer.Option("--first-port", min=0, help="CSBS's; IMS and ECS follow. 0 takes free ones.")
    ] = 7101,
) -> None:
    """Keys, data and logs stay in one folder between runs. The same as `make up`."""
    try:
        from recast.stack.foreground import run  # noqa: PLC0415  # the client works without the stack
    except ImportError:
        typer.echo("recast-stack is not installed; it comes with `pip install 'recast-client[up]'`", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(run(root, first_port))
