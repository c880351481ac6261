"""The formats that a QEMU without an explicit format would find in a raw file (CVE-2024-32498).

Here every disk is opened with its format; this is for programs elsewhere that get the same bytes. What names
no other file is a guest's own content and is taken: LUKS, FAT, a hybrid ISO, and whatever is in the last
sector, where no version of QEMU probes.
Source: the `bdrv_probe` functions in block/*.c of QEMU.
"""

import re
from pathlib import Path

_SIGNATURES = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (0, b"QED\x00", "qed"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop ", "cloop"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
)
# A descriptor is text: its version follows comments and blank lines, within 512 bytes for QEMU alone.
_VMDK_DESCRIPTOR = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*version[ \t]*=[ \t]*[0-9]")
_PROBED_BYTES = 64 << 10


def probed_format(path: Path) -> str | None:
    """Return the name of the format that the file's content begins as, or None."""
    with path.open("rb") as file:
        start = file.read(_PROBED_BYTES)
    for position, magic, name in _SIGNATURES:
        if start.startswith(magic, position):
            return name
    return "vmdk" if _VMDK_DESCRIPTOR.match(start) else None
