"""The leftovers of work that was cancelled, and the results of work that was not."""

from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_pb2, server_service_pb2
from recast.ims.v1 import image_pb2, image_service_pb2
from tests.faults.cancellation.cancelling import (
    AGAIN,
    READ_MARK,
    CancellingRig,
    Check,
    hold,
    on_disk,
    power,
    set_os,
    succeeded,
)
from tests.faults.kills import scenarios as small
from tests.faults.kills.rig import PROJECT


def backup_failed(rig: CancellingRig, backup: str) -> None:
    """The backup is in ERROR, and its server as before; then it is deleted."""
    state = get_backup(rig, backup).state
    hold(state == backup_pb2.BACKUP_STATE_ERROR, f"the backup is {backup_pb2.BackupState.Name(state)}")
    hold(not _server(rig, "web").frozen_for, "web is frozen")
    small.web_is_running(rig, backup)
    succeeded(small.delete_backup(rig, backup))


def not_restored(rig: CancellingRig, backup: str) -> None:
    """Nothing of web's disk was written, and it is started again."""
    hold(get_backup(rig, backup).state == backup_pb2.BACKUP_STATE_AVAILABLE, "the backup is not AVAILABLE")
    is_marked = "Pattern verification failed" not in on_disk(rig, "web-data-1", READ_MARK)
    hold(is_marked, "web was restored all the same")
    # A restore takes its server down first, and is not the one to start it again.
    if _server(rig, "web").state == server_pb2.SERVER_STATE_STOPPED:
        succeeded(power("Start", "web")(rig, backup, f"{backup}-start"))
    small.web_is_running(rig, backup)


def restored(rig: CancellingRig, backup: str) -> None:
    """Web's disk is the backup's."""
    hold("Pattern verification failed" in on_disk(rig, "web-data-1", READ_MARK), "web was not restored")
    small.restored_and_running(rig, backup)


def image_failed(rig: CancellingRig, image: str) -> None:
    """The image is in ERROR; then it is deleted."""
    state = _get_image(rig, image).state
    hold(state == image_pb2.IMAGE_STATE_ERROR, f"the image is {image_pb2.ImageState.Name(state)}")
    succeeded(small.delete_image(rig, image))


def image_gone(rig: CancellingRig, image: str) -> None:
    """The image is in ERROR until it is deleted, and its backup is free."""
    image_failed(rig, image)
    hold(not _server(rig, "idle").image_holds, "idle is held")
    listed = rig.recast.backups.ListBackups(backup_service_pb2.ListBackupsRequest(parent=PROJECT)).backups
    locked = {each.name for each in listed if each.image}
    hold(not locked, f"locked: {locked}")


def servers_gone(rig: CancellingRig, server: str) -> None:
    """Nothing is left of the servers."""
    for number in range(2):
        small.server_is_gone(rig, f"{server}-{number:04d}")


def servers_there(rig: CancellingRig, server: str) -> None:
    """Both servers are there; then they are deleted, with their image."""
    small.servers_are_there(rig, server)
    succeeded(small.delete_image(rig, server.partition(AGAIN)[0], delete_backup=True))


def disk_failed(rig: CancellingRig, disk: str) -> None:
    """The disk's error is a cancel; then it is deleted."""
    request = disk_service_pb2.GetDiskRequest(name=f"{PROJECT}/disks/{disk}")
    hold(
        rig.recast.disks.GetDisk(request).disk.error.code == 1, "the disk does not say that it was cancelled"
    )
    succeeded(small.delete_disk(rig, disk))


def disk_is_loose(rig: CancellingRig, disk: str) -> None:
    """The disk is AVAILABLE, and has no place at a server."""
    small.disk_is(rig, disk, disk_pb2.DISK_STATE_AVAILABLE, places=0)


def disk_has_place(rig: CancellingRig, disk: str) -> None:
    """The disk is IN_USE in its place."""
    small.disk_is(rig, disk, disk_pb2.DISK_STATE_IN_USE, places=1)


def idle_is(state: str) -> Check:
    """idle is in a state, and of its old image."""

    def check(rig: CancellingRig, _subject: str) -> None:
        idle = _server(rig, "idle")
        hold(server_pb2.ServerState.Name(idle.state) == f"SERVER_STATE_{state}", f"idle is not {state}")
        hold(idle.image == f"{PROJECT}/images/system", f"idle is of {idle.image}")

    return check


def changed(rig: CancellingRig, subject: str) -> None:
    """idle is of the new image; then it gets its old one, and the new one is deleted."""
    hold(_server(rig, "idle").image == f"{PROJECT}/images/{subject}", "idle is not of its new image")
    succeeded(set_os(rig, "system", f"{subject}-back"))
    succeeded(small.delete_image(rig, subject, delete_backup=True))


def started(rig: CancellingRig, subject: str) -> None:
    """idle runs; then it is stopped."""
    idle_is("RUNNING")(rig, subject)
    succeeded(power("Stop", "idle")(rig, subject, f"{subject}-back"))


def stopped(rig: CancellingRig, subject: str) -> None:
    """web is stopped; then it is started."""
    hold(_server(rig, "web").state == server_pb2.SERVER_STATE_STOPPED, "web is not STOPPED")
    succeeded(power("Start", "web")(rig, subject, f"{subject}-back"))


def _server(rig: CancellingRig, server: str) -> server_pb2.Server:
    request = server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/{server}")
    return rig.insist(lambda: rig.recast.servers.GetServer(request)).server


def get_backup(rig: CancellingRig, backup: str) -> backup_pb2.Backup:
    """Reads a backup."""
    request = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup}")
    return rig.insist(lambda: rig.recast.backups.GetBackup(request)).backup


def _get_image(rig: CancellingRig, image: str) -> image_pb2.Image:
    request = image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/{image}")
    return rig.insist(lambda: rig.recast.images.GetImage(request)).image
