"""Checks of the image cache of one ECS host: the bases and their templates."""

from collections.abc import Mapping
from pathlib import Path

from recast.diskimage import DiskImageError
from recast.diskimage.qcow2_header import read_header
from recast.doctor.contents import Sealed
from recast.doctor.findings import Code, Findings
from recast.doctor.rows import Operation
from recast.doctor.snapshots import Snapshots

_WRITE_BITS = 0o222
_FOLDERS = {"bases", "disks"}


def check_bases(
    seen: Snapshots, folder: Path, contents: Mapping[str, Sealed], findings: Findings
) -> Mapping[str, Path]:
    """Each base and template is read-only, whole, and named by its content; returns the bases by name.

    `folder` is the host's data folder, `contents` the contents by the name of a base: its index's digest.
    """
    bases = {path.name.removesuffix(".raw"): path for path in sorted((folder / "bases").glob("[!.]*.raw"))}
    for path in sorted(folder.iterdir()):
        if path.name not in _FOLDERS:
            findings.add(Code.FILE_UNOWNED, str(path), "nothing of ours is here but bases and disks")
    for path in sorted((folder / "bases").iterdir()):
        name, _, size = path.name.removesuffix(".overlay").rpartition("-")
        is_template = path.name.endswith(".overlay") and name in bases and size.isdigit()
        if path.name.removesuffix(".raw") not in bases and not is_template:
            what = "neither a base, nor an overlay on one"
            findings.add(Code.FILE_UNOWNED, str(path), what, _maker(seen, path))
        elif path.stat().st_mode & _WRITE_BITS:
            findings.add(
                Code.BASE_WRITABLE, str(path), f"its mode is {path.stat().st_mode & 0o777:o}, not 444"
            )
        if is_template and (what := _template_problem(path, name, int(size))):
            findings.add(Code.TEMPLATE_WRONG, str(path), what)
    for name, path in bases.items():
        if name in contents and contents[name].disk.size_bytes != path.stat().st_size:
            what = f"it has {path.stat().st_size} bytes, its content {contents[name].disk.size_bytes}"
            findings.add(Code.BASE_SIZE_WRONG, str(path), what)
    return bases


def _template_problem(path: Path, base: str, size_bytes: int) -> str:
    """The problem of the overlay that disks on a base are copied from; empty when there is none."""
    try:
        header = read_header(path)
    except (DiskImageError, OSError) as problem:
        return f"it cannot be read: {problem}"
    expected = (size_bytes, f"../../bases/{base}.raw", "raw")
    found = (header.size_bytes, header.backing_file, header.backing_format)
    return "" if found == expected else f"it has {found}, its name {expected}"


def _maker(seen: Snapshots, path: Path) -> Operation | None:
    """The possible maker of an incomplete file: any work of ECS, for the file does not name it."""
    is_being_made = path.name.startswith(".") and path.name.endswith(".new")
    return next(iter(seen.ecs.work.unended.values()), None) if is_being_made else None
