"""The checks of a Windows system (R21). The registry is not read: settings that only it holds are UNKNOWN."""

from __future__ import annotations

import re

from recast.preparation.checks import Answer, FileCheck, met, missing, unknown
from recast.preparation.filetree import FileTree, read_text

_SYSTEM_HIVE = "/Windows/System32/config/SYSTEM"
_CLOUDBASE_INIT = "/Program Files/Cloudbase Solutions/Cloudbase-Init"
_CONFIGURATION = f"{_CLOUDBASE_INIT}/conf/cloudbase-init.conf"
_PROGRAM = f"{_CLOUDBASE_INIT}/Python/Scripts/cloudbase-init.exe"
_VIRTIO_DRIVERS = tuple(f"/Windows/System32/drivers/{name}.sys" for name in ("viostor", "vioscsi"))


def has_windows(tree: FileTree) -> bool:
    """Return whether this file system is the system volume of a Windows."""
    return tree.exists(_SYSTEM_HIVE)


def read_version(tree: FileTree) -> str:
    """Return the build that servicing names a directory after, such as "10.0.20348.1", or ""."""
    return next(reversed(tree.names("/Windows/servicing/Version")), "")


def _check_installed(tree: FileTree) -> Answer:
    if tree.exists(_PROGRAM):
        return met(f"{_PROGRAM} is there")
    left = f"; {_CONFIGURATION} is left of it" if tree.exists(_CONFIGURATION) else ""
    return missing(f"{_PROGRAM} is not there{left}")


def _check_metadata_services(tree: FileTree) -> Answer:
    text = read_text(tree, _CONFIGURATION)
    if text is None:
        return unknown(f"there is no {_CONFIGURATION}")
    services = re.search(r"^\s*metadata_services\s*=\s*(.+)$", text, re.MULTILINE)
    if services is None:
        return met("no metadata_services: Cloudbase-Init tries all it knows")
    names = [name.strip().rpartition(".")[2] for name in services[1].split(",")]
    return met(f"{_CONFIGURATION} allows {', '.join(names)}")


def _check_virtio(tree: FileTree) -> Answer:
    found = [path for path in _VIRTIO_DRIVERS if tree.exists(path)]
    if not found:
        return missing(f"neither {' nor '.join(_VIRTIO_DRIVERS)} is there")
    return met(f"{', '.join(found)} is there")


def _check_registry(_tree: FileTree) -> Answer:
    return unknown(f"only the registry has it ({_SYSTEM_HIVE}), and it is not read")


CHECKS = (
    FileCheck(
        "CLOUDBASE_INIT_INSTALLED",
        True,
        "Install Cloudbase-Init and run Sysprep on the source server.",
        _check_installed,
    ),
    FileCheck(
        "CLOUDBASE_INIT_DATASOURCE",
        False,
        "Name the metadata service of the target platform in cloudbase-init.conf.",
        _check_metadata_services,
    ),
    FileCheck(
        "WINDOWS_VIRTIO", True, "Install the VirtIO storage drivers on the source server.", _check_virtio
    ),
    FileCheck(
        "WINDOWS_DHCP", False, "Set every network adapter to obtain its address by DHCP.", _check_registry
    ),
    FileCheck("WINDOWS_SAN_POLICY", False, "Set the SAN policy to OnlineAll with diskpart.", _check_registry),
)
