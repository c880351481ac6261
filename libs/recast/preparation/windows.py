"""The checks of a Windows system (R21). The registry is not read: settings that only it holds are UNKNOWN."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recast.preparation.checks import Answer, FileCheck, met, missing, unknown
from recast.preparation.filetree import FileTree, TolerantTree, read_text

_SYSTEM_HIVE = "/Windows/System32/config/SYSTEM"
_HOMES = ("/Program Files", "/Program Files (x86)")
_CLOUDBASE_INIT = "/Program Files/Cloudbase Solutions/Cloudbase-Init"
_CONFIGURATION = f"{_CLOUDBASE_INIT}/conf/cloudbase-init.conf"
_PROGRAM = f"{_CLOUDBASE_INIT}/Python/Scripts/cloudbase-init.exe"
# What Cloudbase-Init's installer and Sysprep leave behind; they name the program where it is.
_NAMING = (
    "/Windows/Setup/Scripts/SetupComplete.cmd",
    "/Windows/Panther/unattend.xml",
    "/Windows/Panther/Unattend/unattend.xml",
    "/Windows/System32/Sysprep/unattend.xml",
)
_NAMED_PROGRAM = re.compile(r"([a-z]):(\\[^\"':<>|*?\r\n]*?cloudbase-init\.exe)", re.IGNORECASE)
_VIRTIO_NAMES = ("viostor", "vioscsi")
_VIRTIO_DRIVERS = tuple(f"/Windows/System32/drivers/{name}.sys" for name in _VIRTIO_NAMES)
_DRIVER_STORE = "/Windows/System32/DriverStore/FileRepository"


def has_windows(tree: FileTree) -> bool:
    """Return whether this file system is the system volume of a Windows."""
    return tree.exists(_SYSTEM_HIVE)


def read_version(tree: FileTree) -> str:
    """Return the build that servicing names a directory after, such as "10.0.20348.1", or ""."""
    return next(reversed(tree.names("/Windows/servicing/Version")), "")


def _find_program(tree: TolerantTree) -> str | None:
    """Return the path of Cloudbase-Init's program, in a usual home or where a file names it."""
    return next((path for path in _candidates(tree) if tree.has_content(path)), None)


def _candidates(tree: TolerantTree) -> Iterator[str]:
    yield _PROGRAM
    folders = [f"{home}/Cloudbase Solutions/{name}" for home in _HOMES
               for name in tree.names(f"{home}/Cloudbase Solutions")]  # fmt: skip
    folders += [f"{home}/{name}" for home in ("", *_HOMES) for name in tree.names(home or "/")
                if name.lower().startswith(("cloudbase", "python"))]  # fmt: skip
    for folder in folders:
        yield f"{folder}/Python/Scripts/cloudbase-init.exe"
        yield f"{folder}/Scripts/cloudbase-init.exe"
    yield from (path for drive, path, _ in _named_programs(tree) if drive == "c")


def _named_programs(tree: TolerantTree) -> Iterator[tuple[str, str, str]]:
    """Yield (drive, path, file that names it) of each program that the system's own files name."""
    for source in _NAMING:
        content = tree.read(source) or b""
        text = content.decode(
            "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8", "replace"
        )
        for match in _NAMED_PROGRAM.finditer(text):
            yield match[1].lower(), match[2].replace("\\", "/"), source


def _check_installed(tree: TolerantTree) -> Answer:
    program = _find_program(tree)
    if program is not None:
        return met(f"{program} is there")
    for drive, path, source in _named_programs(tree):
        if drive != "c":
            return unknown(f"{source} names {drive.upper()}:{path}, and that drive is not read")
    if tree.read(_PROGRAM) == b"":
        return missing(f"{_PROGRAM} is an empty file", by_absence=True)
    left = f"; {_CONFIGURATION} is left of it" if tree.exists(_CONFIGURATION) else ""
    return missing(f"{_PROGRAM} is not there{left}", by_absence=True)


def _check_metadata_services(tree: TolerantTree) -> Answer:
    program = _find_program(tree)
    home = re.sub(r"(?:/Python)?/Scripts/[^/]*$", "", program) if program else _CLOUDBASE_INIT
    configuration = f"{home}/conf/cloudbase-init.conf"
    text = read_text(tree, configuration)
    if text is None:
        return unknown(f"there is no {configuration}")
    services = re.search(r"^[ \t]*metadata_services\s*=\s*(.+)$", text, re.MULTILINE)
    if services is None:
        return met(f"no metadata_services in {configuration}: Cloudbase-Init tries all it knows")
    names = [name.strip().rpartition(".")[2] for name in services[1].split(",")]
    return met(f"{configuration} allows {', '.join(names)}")


def _check_virtio(tree: TolerantTree) -> Answer:
    found = [path for path in _VIRTIO_DRIVERS if tree.has_content(path)]
    if not found:
        for folder in tree.names(_DRIVER_STORE):
            for name in _VIRTIO_NAMES:
                path = f"{_DRIVER_STORE}/{folder}/{name}.sys"
                if folder.lower().startswith(f"{name}.inf_") and tree.has_content(path):
                    return unknown(f"{path} is there; only the registry has whether it starts")
        return missing(f"neither {' nor '.join(_VIRTIO_DRIVERS)} is there", by_absence=True)
    return met(f"{', '.join(found)} is there")


def _check_registry(_tree: TolerantTree) -> Answer:
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
