"""The command `recast`.

A group's module is imported only when the command line names the group, because the contracts and gRPC are
slow to import; the help lists the other groups from the table below.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, NamedTuple

import typer

from recast.client.cli.groups import Command, CommandLine
from recast.client.cli.help_text import reflowed

__all__ = ["build", "main"]


class _Entry(NamedTuple):
    """A command or group: the module that registers it, its help line, and its help panel."""

    module: str
    help: str
    panel: str


_RESOURCES, _WORK, _PEERS = "Resources", "Work and tools", "Calls between services"
ENTRIES: Mapping[str, _Entry] = {
    "backup": _Entry("backups", "Backups of whole servers (CSBS).", _RESOURCES),
    "image": _Entry("images", "Images: made of backups, or imported from files (IMS).", _RESOURCES),
    "server": _Entry("servers", "Servers, made from images in batches (ECS).", _RESOURCES),
    "disk": _Entry("disks", "Disks, apart from the servers they are attached to (ECS).", _RESOURCES),
    "operation": _Entry("operations", "Long-running work: show, wait, cancel.", _WORK),
    "status": _Entry("status", "Show the health of the three services.", _WORK),
    "stack": _Entry("stack", "Restart a service of the stack that `make up` runs.", _WORK),
    "doctor": _Entry("doctor", "Check the installation on this machine.", _WORK),
    "call": _Entry("call", "Call any method of the contracts by name, JSON in and out.", _WORK),
    "token": _Entry("token", "Print a token, for grpcurl and other programs.", _WORK),
    "lock": _Entry("locks", "The lock of an image on its backup (CSBS, called by IMS).", _PEERS),
    "provisioning": _Entry("provisioning", "The bytes of images (IMS, called by ECS).", _PEERS),
    "source": _Entry("sources", "The disks of a server as a backup's source (ECS, called by CSBS).", _PEERS),
    "hold": _Entry("holds", "The stopped server an image is made from (ECS, called by IMS).", _PEERS),
}

_HELP = """
Recast: the backup of a whole server becomes an image, and the image becomes servers.

\b
  recast backup create nightly --server web --wait
  recast image create web-image --backup nightly --accept-disclaimer --wait
  recast server create shop --image web-image --count 3 --wait

Bare ids stand for names in the project: `nightly` for `projects/demo/backups/nightly`. Every command takes
--output table|json|name; exit codes are 0 done, 2 wrong usage or argument, 3 not found, 4 refused, 5
unavailable, 1 else.
"""
_EPILOG = """
Environment: RECAST_PROJECT (demo); RECAST_KEYS (.recast/keys), a folder with the keys and the endpoints of a
stack; RECAST_CSBS_ENDPOINT, RECAST_IMS_ENDPOINT and RECAST_ECS_ENDPOINT, else the endpoints beside the keys,
else 127.0.0.1:7101 to 7103; RECAST_CA_FILE; RECAST_TOKEN or RECAST_TOKEN_FILE, else a token is made with the
keys.
"""


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line, complete for the groups that `arguments` names."""
    app = typer.Typer(
        name="recast",
        cls=CommandLine,
        help=reflowed(_HELP),
        epilog=reflowed(_EPILOG),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    for name, entry in ENTRIES.items():
        if name in arguments:
            import_module(f"{__name__}.{entry.module}").register(app, name, entry.help, entry.panel)
        else:
            app.command(name, help=entry.help, rich_help_panel=entry.panel, cls=Command)(_not_loaded)
    app.callback()(_before_all)
    return app


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"recast {version('recast')}")
        raise typer.Exit


def _before_all(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options before the commands."""


def _not_loaded() -> None:
    """The placeholder of a group that the command line does not name."""


def main() -> None:
    """The entry point."""
    # During completion the shell passes the typed words in one of these variables.
    typed = f"{os.environ.get('COMP_WORDS', '')} {os.environ.get('_TYPER_COMPLETE_ARGS', '')}".split()
    build([*sys.argv[1:], *typed])(prog_name="recast")
