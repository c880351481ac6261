"""`recast hold`: ImageSourceService, which IMS alone may call."""

from typing import Annotated

import typer

from recast.client.cli.command import command, group
from recast.client.cli.options import OfImage, ServerId
from recast.client.cli.session import Session
from recast.ecs.v1.image_source_service_pb2 import FreeServerRequest, HoldServerRequest

app = typer.Typer()

HoldId = Annotated[str, typer.Option("--hold-id", help="The id of the hold; IMS's holds have one.")]


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "take", service="ims")
def take(session: Session, server: ServerId, image: OfImage, hold_id: HoldId = "") -> None:
    """Prevent the start of a stopped server while an image is made from it (R23)."""
    request = HoldServerRequest(
        server=session.name(server, "servers"), image=session.name(image, "images"), hold_id=hold_id
    )
    answer = session.recast.holds.HoldServer(request)
    session.show(answer, answer.server)


@command(app, "free", service="ims")
def free(session: Session, server: ServerId, image: OfImage, hold_id: HoldId = "") -> None:
    """End a hold. Ending an unknown hold is no error. A hold with an id needs it: `recast doctor` has it."""
    request = FreeServerRequest(
        server=session.name(server, "servers"), image=session.name(image, "images"), hold_id=hold_id
    )
    session.show(session.recast.holds.FreeServer(request))
