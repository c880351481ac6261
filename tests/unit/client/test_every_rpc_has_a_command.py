"""Each RPC of the contracts is reached by a command of its own, with the request that its
arguments stand for.
"""

import json
from typing import Any

import pytest

from recast.client.cli.call import methods
from recast.contracts.services import services_serving

BACKUPS, IMAGES, SERVERS, DISKS, WORK = (
    f"projects/demo/{each}/" for each in ("backups", "images", "servers", "disks", "operations")
)
RID = {"request_id": "r-1"}
STORE = {"url": "file:///nowhere", "project": "demo", "key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
CONTENT = {
    "store": STORE,
    "disks": [{"id": "system", "size_bytes": "512", "index": {"id": "x", "digest": STORE["key"]}}],
}
PAGED = "--page-size 5 --page-token t --filter f"
PAGE = {"page_size": 5, "page_token": "t", "filter": "f"}
FINAL = " --etag e --validate-only"
CHECKED = {"etag": "e", "validate_only": True}
JSON = {
    "STORE": json.dumps(STORE),
    "CONTENT": json.dumps(CONTENT),
    "DISK": json.dumps({"disk": f"{DISKS}d", "index_id": "i"}),
}

# Method: the arguments, the request they must become, and (where it is not the user ada) the caller it needs.
COMMANDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "BackupService.CreateBackup": (
        "backup create nightly --server web --name Nightly --description d --full --validate-only",
        {
            "parent": "projects/demo",
            "backup_id": "nightly",
            "backup": {"server": f"{SERVERS}web", "display_name": "Nightly", "description": "d"},
            "full": True,
            "validate_only": True,
            **RID,
        },
        "",
    ),
    "BackupService.GetBackup": ("backup get nightly", {"name": f"{BACKUPS}nightly"}, ""),
    "BackupService.ListBackups": (
        f"backup list {PAGED} --order-by size_bytes",
        {"parent": "projects/demo", "order_by": "size_bytes", **PAGE},
        "",
    ),
    "BackupService.UpdateBackup": (
        "backup update nightly --description= --etag e --validate-only",
        {
            "backup": {"name": f"{BACKUPS}nightly", "etag": "e"},
            "update_mask": "description",
            "validate_only": True,
            **RID,
        },
        "",
    ),
    "BackupService.DeleteBackup": (
        f"backup delete nightly{FINAL}",
        {"name": f"{BACKUPS}nightly", **CHECKED, **RID},
        "",
    ),
    "BackupService.RestoreBackup": (
        "backup restore nightly --server spare --map system=spare-system --power-on --validate-only",
        {
            "name": f"{BACKUPS}nightly",
            "server": f"{SERVERS}spare",
            "mappings": [{"backup_disk": "system", "disk": f"{DISKS}spare-system"}],
            "power_on": True,
            "validate_only": True,
            **RID,
        },
        "",
    ),
    "ImageService.ImportImage": (
        "image import FILE debian --kind system-disk --format qcow2 --accept-disclaimer --validate-only",
        {
            "header": {
                "parent": "projects/demo",
                "image_id": "debian",
                "image": {"display_name": "debian", "kind": "IMAGE_KIND_SYSTEM_DISK"},
                "disk_format": "DISK_FORMAT_QCOW2",
                "size_bytes": "5",
                "disclaimer_accepted": True,
                "validate_only": True,
                **RID,
            }
        },
        "",
    ),
    "ImageService.CreateImage": (
        "image create web-image --backup nightly --accept-disclaimer --validate-only",
        {
            "parent": "projects/demo",
            "image_id": "web-image",
            "image": {"display_name": "web-image"},
            "backup": f"{BACKUPS}nightly",
            "disclaimer_accepted": True,
            "validate_only": True,
            **RID,
        },
        "",
    ),
    "ImageService.GetImage": ("image get web-image", {"name": f"{IMAGES}web-image"}, ""),
    "ImageService.ListImages": (f"image list {PAGED}", {"parent": "projects/demo", **PAGE}, ""),
    "ImageService.UpdateImage": (
        "image update web-image --name new",
        {"image": {"name": f"{IMAGES}web-image", "display_name": "new"}, "update_mask": "displayName", **RID},
        "",
    ),
    "ImageService.DeleteImage": (
        f"image delete web-image --delete-backup{FINAL}",
        {"name": f"{IMAGES}web-image", "delete_backup": True, **CHECKED, **RID},
        "",
    ),
    "ImageService.GetDisclaimer": ("image disclaimer", {"parent": "projects/demo"}, ""),
    "ImageService.GetProvisioningDefaults": ("image defaults web-image", {"name": f"{IMAGES}web-image"}, ""),
    "ServerService.CreateServers": (
        (
            "server create shop --image web-image --count 3 --system-disk 40GiB --leave-stopped"
            " --data-disk image-disk=data-1,size=1GiB,shared --data-disk size=512MiB,name=x"
            " --data-disk image=data"
        ),
        {
            "parent": "projects/demo",
            "server_id": "shop",
            "server": {"display_name": "shop"},
            "count": 3,
            "image": f"{IMAGES}web-image",
            "system_disk": {"size_bytes": "42949672960"},
            "data_disks": [
                {"image_disk": "data-1", "size_bytes": "1073741824", "shared": True},
                {"size_bytes": "536870912", "display_name": "x"},
                {"image": f"{IMAGES}data"},
            ],
            "leave_stopped": True,
            **RID,
        },
        "",
    ),
    "ServerService.GetServer": ("server get web", {"name": f"{SERVERS}web"}, ""),
    "ServerService.ListServers": (f"server list {PAGED}", {"parent": "projects/demo", **PAGE}, ""),
    "ServerService.UpdateServer": (
        "server update web --name n --description d",
        {
            "server": {"name": f"{SERVERS}web", "display_name": "n", "description": "d"},
            "update_mask": "displayName,description",
            **RID,
        },
        "",
    ),
    "ServerService.DeleteServer": (
        f"server delete web --delete-data-disks{FINAL}",
        {"name": f"{SERVERS}web", "delete_data_disks": True, **CHECKED, **RID},
        "",
    ),
    "ServerService.StartServer": (
        f"server start web{FINAL}",
        {"name": f"{SERVERS}web", **CHECKED, **RID},
        "",
    ),
    "ServerService.StopServer": (f"server stop web{FINAL}", {"name": f"{SERVERS}web", **CHECKED, **RID}, ""),
    "ServerService.RebootServer": (
        f"server reboot web{FINAL}",
        {"name": f"{SERVERS}web", **CHECKED, **RID},
        "",
    ),
    "ServerService.ChangeServerOs": (
        f"server change-os web --image debian --system-disk 1GiB --power-on{FINAL}",
        {
            "name": f"{SERVERS}web",
            "image": f"{IMAGES}debian",
            "system_disk_bytes": "1073741824",
            "power_on": True,
            **CHECKED,
            **RID,
        },
        "",
    ),
    "ServerService.ReinstallServerOs": (
        f"server reinstall-os web --system-disk 1GiB --power-on{FINAL}",
        {"name": f"{SERVERS}web", "system_disk_bytes": "1073741824", "power_on": True, **CHECKED, **RID},
        "",
    ),
    "DiskService.CreateDisk": (
        "disk create scratch --size 10GiB --image data --shared",
        {
            "parent": "projects/demo",
            "disk_id": "scratch",
            "disk": {"display_name": "scratch", "size_bytes": "10737418240", "shared": True},
            "image": f"{IMAGES}data",
            **RID,
        },
        "",
    ),
    "DiskService.GetDisk": ("disk get d", {"name": f"{DISKS}d"}, ""),
    "DiskService.ListDisks": (f"disk list {PAGED}", {"parent": "projects/demo", **PAGE}, ""),
    "DiskService.DeleteDisk": (f"disk delete d{FINAL}", {"name": f"{DISKS}d", **CHECKED, **RID}, ""),
    "DiskService.AttachDisk": (
        "disk attach d --server web",
        {"name": f"{DISKS}d", "server": f"{SERVERS}web", **RID},
        "",
    ),
    "DiskService.DetachDisk": (
        "disk detach d --server web --validate-only",
        {"name": f"{DISKS}d", "server": f"{SERVERS}web", "validate_only": True, **RID},
        "",
    ),
    "DiskService.GetDiskConnection": ("disk connection d", {"name": f"{DISKS}d"}, "operator ada"),
    "ImageEligibilityService.CheckImageEligibility": (
        "backup check nightly spare",
        {"parent": "projects/demo", "backups": [f"{BACKUPS}nightly", f"{BACKUPS}spare"]},
        "",
    ),
    "ImageLockService.LockBackup": (
        "lock take nightly --image i",
        {"backup": f"{BACKUPS}nightly", "image": f"{IMAGES}i", **RID},
        "service ims",
    ),
    "ImageLockService.ConfirmLock": (
        "lock confirm nightly --image i --token 7",
        {"backup": f"{BACKUPS}nightly", "image": f"{IMAGES}i", "token": "7"},
        "service ims",
    ),
    "ImageLockService.ReleaseLock": (
        "lock release nightly --image i --token 7",
        {"backup": f"{BACKUPS}nightly", "image": f"{IMAGES}i", "token": "7", **RID},
        "service ims",
    ),
    "ImageLockService.GetBackupContent": (
        "lock content nightly --image i --token 7",
        {"backup": f"{BACKUPS}nightly", "image": f"{IMAGES}i", "token": "7"},
        "service ims",
    ),
    "ProvisioningService.ResolveImage": ("provisioning resolve i", {"image": f"{IMAGES}i"}, "service ecs"),
    "ProvisioningService.PinImage": (
        f"provisioning pin i --pin p --holder {SERVERS}web",
        {"image": f"{IMAGES}i", "pin_id": "p", "holder": f"{SERVERS}web"},
        "service ecs",
    ),
    "ProvisioningService.UnpinImage": (
        "provisioning unpin i --pin p",
        {"image": f"{IMAGES}i", "pin_id": "p"},
        "service ecs",
    ),
    "BackupSourceService.DescribeServer": (
        "source describe web",
        {"server": f"{SERVERS}web"},
        "service csbs",
    ),
    "BackupSourceService.FreezeServer": (
        "source freeze web --freeze f --backup b",
        {"server": f"{SERVERS}web", "freeze_id": "f", "backup": f"{BACKUPS}b"},
        "service csbs",
    ),
    "BackupSourceService.ExportDisks": (
        "source export web --freeze f --store STORE --disk DISK --validate-only",
        {
            "server": f"{SERVERS}web",
            "freeze_id": "f",
            "store": STORE,
            "disks": [{"disk": f"{DISKS}d", "index_id": "i"}],
            "validate_only": True,
            **RID,
        },
        "service csbs",
    ),
    "BackupSourceService.ThawServer": (
        "source thaw web --freeze f --backup b",
        {"server": f"{SERVERS}web", "freeze_id": "f", "sealed_backup": f"{BACKUPS}b", **RID},
        "service csbs",
    ),
    "BackupSourceService.RestoreDisks": (
        "source restore web --content CONTENT --map system=s --power-on",
        {
            "server": f"{SERVERS}web",
            "content": CONTENT,
            "mappings": [{"content_disk": "system", "disk": f"{DISKS}s"}],
            "power_on": True,
            **RID,
        },
        "service csbs",
    ),
    "ImageSourceService.HoldServer": (
        "hold take web --image i",
        {"server": f"{SERVERS}web", "image": f"{IMAGES}i"},
        "service ims",
    ),
    "ImageSourceService.FreeServer": (
        "hold free web --image i",
        {"server": f"{SERVERS}web", "image": f"{IMAGES}i"},
        "service ims",
    ),
    "Operations.GetOperation": ("operation get o --service ims", {"name": f"{WORK}o"}, ""),
    "Operations.ListOperations": (
        f"operation list {PAGED} --service ims",
        {"name": "projects/demo", **PAGE},
        "",
    ),
    "Operations.WaitOperation": (
        "operation wait o --service ims",
        {"name": f"{WORK}o", "timeout": "20s"},
        "",
    ),
    "Operations.CancelOperation": ("operation cancel o --service ims", {"name": f"{WORK}o"}, ""),
    "Operations.DeleteOperation": ("operation delete o --service ims", {"name": f"{WORK}o"}, ""),
}


def test_no_two_methods_have_one_name() -> None:
    """A method can be named without its service."""
    assert len({name.partition(".")[2] for name in methods()}) == len(methods())


def test_no_rpc_lacks_a_command() -> None:
    """The table of commands names every method that the descriptors of the contracts have."""
    assert set(COMMANDS) == set(methods())


@pytest.mark.parametrize("method", sorted(COMMANDS))
def test_command_makes_its_call(method: str, run: Any, services: Any, operation: Any, tmp_path: Any) -> None:
    """A command calls its method once, at the right service, as the right caller, with the request that its
    arguments stand for.
    """
    arguments, expected, caller = COMMANDS[method]
    services.answers["Operations.WaitOperation"] = operation(response=operation())
    file = tmp_path / "disk"
    file.write_bytes(b"bytes")
    named = JSON | {"FILE": str(file)}
    found = run(*(named.get(word, word) for word in arguments.split()), "--request-id", "r-1")
    assert found.code == 0, found.err
    # Beside it the deletion of an image counts the servers that were made from it.
    assert {call.method for call in services.calls} <= {method, "ServerService.ListServers"}
    [call] = services.called(method)
    full = methods()[method].full_name
    assert call.service == ("ims" if "longrunning" in full else services_serving(full)[0])
    assert call.sent == expected
    assert f"{call.caller.role} {call.caller.subject}" == (caller or "user ada")
    assert call.caller.project == "demo"
    assert call.metadata["x-request-id"] == "r-1"


@pytest.mark.parametrize("method", sorted(COMMANDS))
def test_call_reaches_the_method_by_name(method: str, run: Any, services: Any) -> None:
    """`recast call` sends the same request from JSON, with a token that may make the call."""
    _, expected, caller = COMMANDS[method]
    service = ("--service", "ims") if method.startswith("Operations") else ()
    found = run("call", method, json.dumps(expected), "--output", "json", *service)
    assert found.code == 0, found.err
    [call] = services.calls
    assert (call.method, call.sent) == (method, expected)
    assert f"{call.caller.role} {call.caller.subject}" == (caller or "user ada")
