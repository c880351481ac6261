"""The files of a disk: layers of qcow2 on a raw base, made, checked, mapped and read by way of qemu-img.

`DiskHost` is the data folder of one ECS host, `DiskFolder` one disk in it, `DiskReader` the bytes of a disk
at one instant; `inspect_image` checks an uploaded file. Layout and order of writing: FORMAT.md.
"""

from recast.diskimage.disk_folder import DiskFolder
from recast.diskimage.errors import (
    BaseInUse,
    BaseNotFound,
    DiskBusy,
    DiskFrozen,
    DiskImageError,
    DiskNotFound,
    FreezeEnded,
    FreezeNotFound,
    NameRefused,
    OutOfSpace,
    QemuImgMissing,
    SizeRefused,
)
from recast.diskimage.host import DiskHost, active_path
from recast.diskimage.import_refusals import (
    ExpandsTooMuch,
    HasSnapshots,
    ImportRefused,
    IsDamaged,
    IsEmpty,
    IsEncrypted,
    IsNotItsFormat,
    IsTooFragmented,
    IsTooLarge,
    NamesBackingFile,
    NamesDataFile,
    SizeNeedsSectors,
    UsesUnknownFeature,
)
from recast.diskimage.imports import MAX_EXPANSION, ImportedImage, inspect_image, open_imported
from recast.diskimage.new_disks import NewDisk
from recast.diskimage.qemu_img import ImageFormat
from recast.diskimage.reader import DiskReader
from recast.diskimage.space import free_bytes

__all__ = [
    "MAX_EXPANSION",
    "BaseInUse",
    "BaseNotFound",
    "DiskBusy",
    "DiskFolder",
    "DiskFrozen",
    "DiskHost",
    "DiskImageError",
    "DiskNotFound",
    "DiskReader",
    "ExpandsTooMuch",
    "FreezeEnded",
    "FreezeNotFound",
    "HasSnapshots",
    "ImageFormat",
    "ImportRefused",
    "ImportedImage",
    "IsDamaged",
    "IsEmpty",
    "IsEncrypted",
    "IsNotItsFormat",
    "IsTooFragmented",
    "IsTooLarge",
    "NameRefused",
    "NamesBackingFile",
    "NamesDataFile",
    "NewDisk",
    "OutOfSpace",
    "QemuImgMissing",
    "SizeNeedsSectors",
    "SizeRefused",
    "UsesUnknownFeature",
    "active_path",
    "free_bytes",
    "inspect_image",
    "open_imported",
]
