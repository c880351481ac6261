"""`recast hold`: ImageSourceService, which IMS alone may call."""

import typer

from recast.client.cli.command import command, group
from recast.client.cli.options import OfImage, ServerId
from recast.client.cli.session import Session
from recast.ecs.v1.image_source_service_pb2 import FreeServerRequest, HoldServerRequest

app = typer.Typer()


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "take", service="ims")
def take(session: Session, server: ServerId, image: OfImage) -> None:
    """Prevent the start of a stopped server while an image is made from it (R23)."""
    request = HoldServerRequest(server=session.name(server, "servers"), image=session.name(image, "images"))
    answer = session.recast.holds.HoldServer(request)
    session.show(answer, answer.server)


@command(app, "free", service="ims")
def free(session: Session, server: ServerId, image: OfImage) -> None:
    """End a hold. Ending an unknown hold is no error."""
    request = FreeServerRequest(server=session.name(server, "servers"), image=session.name(image, "images"))
    session.show(session.recast.holds.FreeServer(request))
