"""`recast provisioning`: ProvisioningService, which ECS alone may call."""

from typing import Annotated

import typer

from recast.client.cli.command import command, group
from recast.client.cli.options import ImageId
from recast.client.cli.session import Session
from recast.ims.v1.provisioning_service_pb2 import PinImageRequest, ResolveImageRequest, UnpinImageRequest

app = typer.Typer()

PinId = Annotated[str, typer.Option("--pin", help="The work that reads: the pin's id.")]


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "resolve", service="ecs")
def resolve(session: Session, image: ImageId) -> None:
    """Show an image's disks and the location of their bytes. With --output json this includes the store's
    key.
    """
    answer = session.recast.provisioning.ResolveImage(
        ResolveImageRequest(image=session.name(image, "images"))
    )
    session.show(answer, answer.content)


@command(app, "pin", service="ecs")
def pin(
    session: Session,
    image: ImageId,
    pin_id: PinId,
    holder: Annotated[str, typer.Option("--holder", help="The resource that reads, by its full name.")],
) -> None:
    """Prevent the deletion of an image while its bytes are read."""
    request = PinImageRequest(image=session.name(image, "images"), pin_id=pin_id, holder=holder)
    answer = session.recast.provisioning.PinImage(request)
    session.show(answer, answer.pin)


@command(app, "unpin", service="ecs")
def unpin(session: Session, image: ImageId, pin_id: PinId) -> None:
    """Release a pin. Releasing an unknown pin is no error."""
    request = UnpinImageRequest(image=session.name(image, "images"), pin_id=pin_id)
    session.show(session.recast.provisioning.UnpinImage(request))
