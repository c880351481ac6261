"""The vendor's code for a refusal: the answer of its own services in the same case.

Callers that were written against the vendor's services find the code in the status's metadata, `vendor_code`.
Only this package uses the codes.
"""

VENDOR_CODES = {
    ("csbs", "BACKUP_NOT_FOUND"): "CSBS.3001",
    ("csbs", "SERVER_NOT_FOUND"): "CSBS.6000",
    ("csbs", "SERVER_STATE_FORBIDS_BACKUP"): "CSBS.6005",
    ("csbs", "SERVER_BEING_BACKED_UP"): "CSBS.1001",
    ("csbs", "BACKUP_NOT_IMAGE_READY"): "CSBS.8001",
    ("csbs", "BACKUP_NOT_AVAILABLE"): "CSBS.8001",
    ("csbs", "BACKUP_NOT_RESTORABLE"): "CSBS.4000",
    ("csbs", "BACKUP_WITHOUT_SYSTEM_DISK"): "CSBS.8009",
    ("csbs", "BACKUP_ALREADY_HAS_IMAGE"): "IMG.0134",
    ("csbs", "BACKUP_HAS_IMAGE"): "CSBS.8007",
    ("csbs", "BACKUP_BUSY"): "CSBS.2003",
    ("csbs", "RESTORE_TARGET_INVALID"): "CSBS.6014",
    ("ims", "IMAGE_NOT_FOUND"): "IMG.0027",
    ("ims", "IMAGE_NOT_NORMAL"): "IMG.0046",
    ("ims", "IMAGE_NAME_INVALID"): "IMG.0003",
    ("ims", "IMAGE_DESCRIPTION_INVALID"): "IMG.0054",
    ("ims", "BACKUP_ALREADY_HAS_IMAGE"): "IMG.0134",
    ("ims", "IMAGE_BUSY"): "IMG.0090",
    ("ims", "BACKUP_DELETION_FAILED"): "IMG.0176",
    ("ims", "VIRTUAL_SIZE_TOO_LARGE"): "IMG.0055",
    ("ecs", "SERVER_NOT_FOUND"): "Ecs.0114",
    ("ecs", "SERVER_STATE_FORBIDS"): "Ecs.0100",
    ("ecs", "SERVER_FROZEN"): "Ecs.0073",
    ("ecs", "SERVER_IN_IMAGE_CREATION"): "Ecs.0605",
    ("ecs", "DISK_STATE_FORBIDS"): "Ecs.0101",
    ("ecs", "DISK_ALREADY_ATTACHED"): "Ecs.0057",
    ("ecs", "DISK_NOT_ATTACHED"): "Ecs.0111",
    ("ecs", "SIZE_BELOW_IMAGE"): "Ecs.0055",
    ("ecs", "SERVER_NAME_INVALID"): "Ecs.0914",
    ("ecs", "COUNT_EXCEEDED"): "Ecs.0913",
}
"""By the service's name and the reason. Other reasons have no code of the vendor."""


def vendor_code(domain: str, reason: str) -> str:
    """The code for a reason of a status's domain, `csbs.recast`; empty when the vendor has none."""
    return VENDOR_CODES.get((domain.removesuffix(".recast"), reason), "")
