"""`recast image`: ImageService."""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from recast.client.cli.arguments import ArgumentInvalid, update_mask
from recast.client.cli.command import command, group
from recast.client.cli.deletions import Deletion, Selection, delete_all
from recast.client.cli.escaping import escaped
from recast.client.cli.options import (
    Change,
    Description,
    DisplayName,
    Etag,
    ImageId,
    ImagesToDelete,
    NewDescription,
    NewDisplayName,
    NewId,
    OfBackup,
    OfServer,
    Paging,
    Work,
)
from recast.client.cli.progress import upload_bar
from recast.client.cli.session import INTERRUPTED, Session
from recast.ecs.v1.server_service_pb2 import ListServersRequest
from recast.faults import RemoteRefusal
from recast.ims.v1.image_pb2 import DiskFormat, Image, ImageKind
from recast.ims.v1.image_service_pb2 import (
    CreateImageRequest,
    DeleteImageRequest,
    GetDisclaimerRequest,
    GetImageRequest,
    GetProvisioningDefaultsRequest,
    ImportImageHeader,
    ListImagesRequest,
    UpdateImageRequest,
)

app = typer.Typer()

# The servers of an image are counted up to this number.
_COUNTED = 1000

Disclaimer = Annotated[
    bool,
    typer.Option(
        "--accept-disclaimer",
        help="You have read the Image Disclaimer (recast image disclaimer) and agree (R59).",
    ),
]
DisclaimerVersion = Annotated[
    str, typer.Option("--disclaimer-version", help="Fail unless this is its current version.")
]


class Kind(StrEnum):
    """The kind of an imported image."""

    system_disk = "system-disk"
    data_disk = "data-disk"
    iso = "iso"


class Format(StrEnum):
    """The format of an imported file."""

    qcow2 = "qcow2"
    raw = "raw"


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "import")
def import_(
    session: Session,
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="The file.")
    ],
    kind: Annotated[Kind, typer.Option("--kind", help="The kind of the image.")],
    disk_format: Annotated[
        Format, typer.Option("--format", help="The format of the file; it is never guessed.")
    ],
    work: Work,
    image_id: NewId = "",
    display_name: DisplayName = "",
    description: Description = "",
    accept_disclaimer: Disclaimer = False,
    disclaimer_version: DisclaimerVersion = "",
    checksum: Annotated[
        bool, typer.Option("--checksum/--no-checksum", help="Have the service check the SHA-256 of the file.")
    ] = True,
) -> None:
    """Upload a disk or an ISO file as an image.

    A broken connection is resumed automatically. After Ctrl-C the same command with the printed --request-id
    resumes the upload.

    \b
    recast image import debian.qcow2 debian --kind system-disk --format qcow2 --accept-disclaimer --wait
    recast image import data.raw --name data --kind data-disk --format raw --accept-disclaimer
    """
    sha256 = b""
    if checksum and not work.validate_only:
        try:
            sha256 = _sha256(file)
        except OSError as problem:
            raise ArgumentInvalid(str(file), f"cannot be read: {problem.strerror}") from None
    header = ImportImageHeader(
        parent=session.parent,
        image_id=image_id,
        image=Image(
            display_name=display_name or image_id or file.stem,
            description=description,
            kind=ImageKind.Value(f"IMAGE_KIND_{kind.name.upper()}"),
        ),
        disk_format=DiskFormat.Value(f"DISK_FORMAT_{disk_format.name.upper()}"),
        sha256=sha256,
        disclaimer_accepted=accept_disclaimer,
        disclaimer_version=disclaimer_version,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    try:
        with upload_bar(session.errors, file.name) as on_bytes:
            answer = session.recast.import_image(file, header, on_bytes)
    except KeyboardInterrupt:
        session.say(
            f"not uploading any longer; to go on: the same command with --request-id {session.request_id}"
        )
        raise typer.Exit(INTERRUPTED) from None
    session.begun(answer, "ims", work)
    _warn(session, answer.image)


def _warn(session: Session, image: Image) -> None:
    """Prints an image's warnings last, where they are seen; nothing is known before the end of the work."""
    for warning in image.warnings:
        session.say(f"warning: {escaped(warning)}")


def _sha256(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


@command(app, "create")
def create(
    session: Session,
    *,
    work: Work,
    image_id: NewId = "",
    backup: OfBackup = "",
    server: OfServer = "",
    display_name: DisplayName = "",
    description: Description = "",
    accept_disclaimer: Disclaimer = False,
    disclaimer_version: DisclaimerVersion = "",
) -> None:
    """Make a full-server image of a backup, or of a server by way of a new backup. Copies nothing.

    \b
    recast image create web-image --backup nightly --accept-disclaimer --wait
    recast image create web-image --server web --name 'web, today' --accept-disclaimer
    """
    request = CreateImageRequest(
        parent=session.parent,
        image_id=image_id,
        image=Image(
            display_name=display_name or image_id or (backup or server).rpartition("/")[2],
            description=description,
        ),
        disclaimer_accepted=accept_disclaimer,
        disclaimer_version=disclaimer_version,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    if backup and server:
        raise ArgumentInvalid("create", "takes --backup or --server, not both (R53)")
    if backup:
        request.backup = session.name(backup, "backups")
    if server:
        request.server = session.name(server, "servers")
    answer = session.recast.images.CreateImage(request)
    session.begun(answer, "ims", work)
    _warn(session, answer.image)


@command(app, "get")
def get(session: Session, image: ImageId) -> None:
    """Show one image, with its warnings and the findings on its source's preparation."""
    answer = session.recast.images.GetImage(GetImageRequest(name=session.name(image, "images")))
    session.show(answer, answer.image)


@command(app, "list")
def list_(session: Session, paging: Paging) -> None:
    """List the images of the project, newest first.

    \b
    recast image list --filter 'kind = "FULL_SERVER" AND state = "NORMAL"'
    """
    request = ListImagesRequest(parent=session.parent)
    session.list_pages(session.recast.images.ListImages, request, "images", paging)


@command(app, "update")
def update(
    session: Session,
    *,
    image: ImageId,
    change: Change,
    display_name: NewDisplayName = None,
    description: NewDescription = None,
    etag: Etag = "",
) -> None:
    """Change an image's name for people, or its description.

    \b
    recast image update web-image --description 'the web server as of last night'
    """
    mask = update_mask(display_name=display_name, description=description)
    request = UpdateImageRequest(
        image=Image(
            name=session.name(image, "images"),
            etag=etag,
            display_name=display_name or "",
            description=description or "",
        ),
        update_mask=mask,
        request_id=session.request_id,
        validate_only=change.validate_only,
    )
    answer = session.recast.images.UpdateImage(request)
    session.show(answer, answer.image)


@command(app, "delete")
def delete(
    session: Session,
    *,
    work: Work,
    selection: Selection,
    images: ImagesToDelete = None,
    delete_backup: Annotated[
        bool, typer.Option("--delete-backup", help="Delete its backup as well (R44).")
    ] = False,
    etag: Etag = "",
) -> None:
    """Delete images. Servers made from an image stay, and are counted; their OS cannot be reinstalled
    then. Its backup stays unless --delete-backup is given.

    \b
    recast image delete web-image --delete-backup --wait
    recast image delete old older
    recast image delete --filter 'state = "ERROR"'
    """

    deletion = Deletion(
        "images",
        "ims",
        session.recast.images.ListImages,
        ListImagesRequest(parent=session.parent),
        session.recast.images.DeleteImage,
        DeleteImageRequest,
        options={"delete_backup": delete_backup},
        warning=lambda name: _servers_of(session, name),
    )
    delete_all(session, deletion, images or (), selection.filter, work, etag)


def _servers_of(session: Session, image: str) -> str:
    """A warning with the count of the servers that name the image; empty when there are none."""
    request = ListServersRequest(parent=session.parent, filter=f'image = "{image}"', page_size=_COUNTED)
    try:
        page = session.recast.servers.ListServers(request)
    except RemoteRefusal as refusal:
        return f"not known how many servers were made from {image}: {refusal.text}"
    if not page.servers:
        return ""
    count = f"{len(page.servers)}{' or more' if page.next_page_token else ''}"
    servers = "server was" if count == "1" else "servers were"
    ids = ", ".join(each.name.rpartition("/")[2] for each in page.servers[:3])
    more = ", ..." if len(page.servers) > 3 else ""
    return (
        f"warning: {count} {servers} made from {image.rpartition('/')[2]} ({ids}{more}): they stay, but "
        "`recast server reinstall-os` needs it; `recast server change-os` takes another image"
    )


@command(app, "defaults")
def defaults(session: Session, image: ImageId) -> None:
    """Show the default disks of a server made from the image (R39)."""
    request = GetProvisioningDefaultsRequest(name=session.name(image, "images"))
    answer = session.recast.images.GetProvisioningDefaults(request)
    session.show_list(answer, answer.disks)


@command(app, "disclaimer")
def show_disclaimer(session: Session) -> None:
    """Show the Image Disclaimer, which `create` and `import` need the agreement to (R59)."""
    answer = session.recast.images.GetDisclaimer(GetDisclaimerRequest(parent=session.parent))
    if session.table_wanted:
        session.print_text(Text(answer.text))
    else:
        session.show(answer)
