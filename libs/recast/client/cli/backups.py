"""`recast backup`: BackupService."""

from typing import Annotated

import typer

from recast.client.cli.arguments import pair, update_mask
from recast.client.cli.command import command, group
from recast.client.cli.deletions import Deletion, Selection, delete_all
from recast.client.cli.options import (
    BackupId,
    BackupsToDelete,
    Change,
    CheckedBackupIds,
    CheckedServerIds,
    Description,
    DisplayName,
    Etag,
    NewDescription,
    NewDisplayName,
    NewId,
    OfServer,
    Paging,
    PowerOn,
    Work,
)
from recast.client.cli.session import Session
from recast.csbs.v1.backup_pb2 import Backup
from recast.csbs.v1.backup_service_pb2 import (
    CreateBackupRequest,
    DeleteBackupRequest,
    GetBackupRequest,
    ListBackupsRequest,
    RestoreBackupRequest,
    RestoreMapping,
    UpdateBackupRequest,
)
from recast.imagelock.v1.image_eligibility_service_pb2 import CheckImageEligibilityRequest

app = typer.Typer()


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "create")
def create(
    session: Session,
    *,
    server: OfServer,
    work: Work,
    backup_id: NewId = "",
    display_name: DisplayName = "",
    description: Description = "",
    full: Annotated[bool, typer.Option("--full", help="Read every byte, not only changes.")] = False,
) -> None:
    """Back a server up: all its disks, as they are at one instant.

    The answer comes at once; the server may go on. An image can be made as soon as the backup is image-ready.

    \b
    recast backup create nightly --server web
    recast backup create nightly --server web --wait
    """
    request = CreateBackupRequest(
        parent=session.parent,
        backup_id=backup_id,
        backup=Backup(
            server=session.name(server, "servers"), display_name=display_name, description=description
        ),
        full=full,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.backups.CreateBackup(request), "csbs", work)


@command(app, "get")
def get(session: Session, backup: BackupId) -> None:
    """Show one backup, with its disks."""
    answer = session.recast.backups.GetBackup(GetBackupRequest(name=session.name(backup, "backups")))
    session.show(answer, answer.backup)


@command(app, "check")
def check(session: Session, backup_ids: CheckedBackupIds = None, server: CheckedServerIds = None) -> None:
    """Say for each backup whether an image can be made of it now, and if not, every rule in the way.

    \b
    recast backup check nightly weekly
    recast backup check --server web
    """
    request = CheckImageEligibilityRequest(
        parent=session.parent,
        backups=[session.name(each, "backups") for each in backup_ids or []],
        servers=[session.name(each, "servers") for each in server or []],
    )
    answer = session.recast.eligibility.CheckImageEligibility(request)
    session.show_list(answer, answer.results)


@command(app, "list")
def list_(session: Session, paging: Paging) -> None:
    """List the backups of the project, newest first.

    \b
    recast backup list --filter 'state = "AVAILABLE" AND server = "projects/demo/servers/web"'
    recast backup list --order-by 'size_bytes desc' --limit 5
    recast backup list --all --output name
    """
    request = ListBackupsRequest(parent=session.parent)
    session.list_pages(session.recast.backups.ListBackups, request, "backups", paging)


@command(app, "update")
def update(
    session: Session,
    *,
    backup: BackupId,
    change: Change,
    display_name: NewDisplayName = None,
    description: NewDescription = None,
    etag: Etag = "",
) -> None:
    """Change a backup's name for people, or its description.

    \b
    recast backup update nightly --description 'before the upgrade'
    """
    mask = update_mask(display_name=display_name, description=description)
    request = UpdateBackupRequest(
        backup=Backup(
            name=session.name(backup, "backups"),
            etag=etag,
            display_name=display_name or "",
            description=description or "",
        ),
        update_mask=mask,
        request_id=session.request_id,
        validate_only=change.validate_only,
    )
    answer = session.recast.backups.UpdateBackup(request)
    session.show(answer, answer.backup)


@command(app, "delete")
def delete(
    session: Session,
    *,
    work: Work,
    selection: Selection,
    backups: BackupsToDelete = None,
    etag: Etag = "",
) -> None:
    """Delete backups. A backup is refused while an image stands on it (R15).

    \b
    recast backup delete nightly --wait
    recast backup delete monday tuesday
    recast backup delete --filter 'create_time < "2026-01-01T00:00:00Z"' --validate-only
    """

    deletion = Deletion(
        "backups",
        "csbs",
        session.recast.backups.ListBackups,
        ListBackupsRequest(parent=session.parent),
        session.recast.backups.DeleteBackup,
        DeleteBackupRequest,
    )
    delete_all(session, deletion, backups or (), selection.filter, work, etag)


@command(app, "restore")
def restore(
    session: Session,
    *,
    backup: BackupId,
    work: Work,
    server: OfServer = "",
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="BACKUP_DISK=DISK", help="Write this disk of the backup to that disk."),
    ] = None,
    power_on: PowerOn = False,
) -> None:
    """Write a backup back to its server's disks, or another's. Their content is lost; the server is stopped
    meanwhile.

    \b
    recast backup restore nightly --power-on --wait
    recast backup restore nightly --server spare --map system=spare-system --map data-1=spare-data
    """
    mappings = []
    for each in mapping or ():
        source, target = pair(each, "--map", "BACKUP_DISK=DISK")
        mappings.append(RestoreMapping(backup_disk=source, disk=session.name(target, "disks")))
    request = RestoreBackupRequest(
        name=session.name(backup, "backups"),
        server=session.name(server, "servers"),
        mappings=mappings,
        power_on=power_on,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.backups.RestoreBackup(request), "csbs", work)
