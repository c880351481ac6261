"""`recast token`: a token for other programs."""

import os
from typing import Annotated

import typer

from recast.client.cli.failure import reporting
from recast.client.cli.groups import Command
from recast.client.cli.help_text import reflowed
from recast.client.cli.options import Role
from recast.client.settings import Settings
from recast.client.tokens import LIFETIME_SECONDS, mint
from recast.contracts.services import Service


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    help_text = reflowed(f"{help_line}\n\n{token.__doc__}")
    parent.command(name, help=help_text, rich_help_panel=panel, cls=Command)(token)


def token(
    role: Annotated[Role, typer.Option("--role", help="The role of the token.")] = Role.user,
    as_service: Annotated[Service | None, typer.Option("--as", help="A token of this service.")] = None,
    project: Annotated[
        str, typer.Option("--project", "-p", envvar="RECAST_PROJECT", help="The project.")
    ] = "demo",
    lifetime: Annotated[
        float,
        typer.Option(
            "--lifetime",
            min=1,
            help="Seconds until it expires: up to 3600, or 600 with --as.",
        ),
    ] = LIFETIME_SECONDS,
) -> None:
    """It is signed with the keys in RECAST_KEYS, and valid until it expires.

    \b
    export RECAST_TOKEN=$(recast token --lifetime 3600)
    grpcurl -plaintext -H "authorization: Bearer $(recast token)" 127.0.0.1:7101 list
    """
    with reporting():
        settings = Settings.from_environment(os.environ)
        source = mint(settings, project, role=role, service=as_service, lifetime_seconds=lifetime)
    typer.echo(source())
