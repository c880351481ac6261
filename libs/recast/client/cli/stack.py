"""`recast stack`: the services that `make up` runs on this machine."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from recast.client.cli.arguments import ArgumentInvalid
from recast.client.cli.command import command, group
from recast.client.cli.session import Session
from recast.client.cli.status import health
from recast.client.local_stack import end_restart, is_stack_running, request_restart
from recast.client.settings import Settings
from recast.contracts.services import Service
from recast.faults import Kind, Refusal

app = typer.Typer()

# A service gets 12 s to stop, and starts in a few.
_PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.1


class NoStack(Refusal):
    """No stack runs on the folder."""

    kind = Kind.UNAVAILABLE
    reason = "NO_STACK"
    message = "no stack runs on {root}"


class NotRestarted(Refusal):
    """The stack did not start the service again in time."""

    kind = Kind.DEADLINE_EXCEEDED
    reason = "NOT_RESTARTED"
    message = "{service} does not serve after {seconds} s ({health}); its log is {log}"


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@app.callback()
def _group() -> None:
    """Makes `restart` a command of a group, although it is the only one."""


@command(app, "restart")
def restart(
    session: Session,
    service: Annotated[Service, typer.Argument(metavar="SERVICE", help="csbs, ims or ecs.")],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="The folder of the stack; the folder of RECAST_KEYS (.recast) if not given.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Restart one service of the stack that `make up` runs, and wait until it serves. Running calls end, and
    work goes on after the restart.

    \b
    recast stack restart csbs
    """
    folder = (root or Settings.from_environment(os.environ).keys.parent).absolute()
    if not is_stack_running(folder):
        raise NoStack(root=folder)
    try:
        request = request_restart(folder, service)
    except OSError as problem:
        raise ArgumentInvalid("--root", f"{folder} cannot be written: {problem.strerror}") from None
    end = time.monotonic() + _PATIENCE_SECONDS
    while request.exists() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    end_restart(folder, service)
    endpoint = Settings.from_environment(os.environ | {"RECAST_KEYS": str(folder / "keys")}).endpoints[
        service
    ]
    found = health(endpoint)
    if found != "SERVING":
        log = folder / "logs" / f"{service}.log"
        raise NotRestarted(service=service, seconds=f"{_PATIENCE_SECONDS:g}", health=found, log=log)
    session.say(f"{service} serves again at {endpoint}")
