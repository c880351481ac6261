"""Checks of files beside the databases: unfinished uploads, and keys."""

from collections.abc import Iterable
from pathlib import Path

from recast.doctor.findings import Code, Findings
from recast.doctor.snapshots import Snapshots

_OTHERS = 0o077


def check_staging(seen: Snapshots, folder: Path, findings: Findings) -> None:
    """An uploaded file belongs to an image that awaits it."""
    owners = {image.upload_key: image for image in seen.ims.images.values() if image.upload_key}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        image = owners.get(path.name)
        if image is None:
            findings.add(Code.STAGED_FILE_UNOWNED, str(path), "no image has this upload")
        elif not image.awaits_bytes:
            what = f"{image.name} is {image.state}, and has no more use for it"
            work = seen.ims.work.on(image.name)
            findings.add(Code.STAGED_FILE_UNOWNED, str(path), what, work)


def check_secrets(files: Iterable[Path], findings: Findings) -> None:
    """Only its owner may read a key."""
    for path in files:
        mode = path.stat().st_mode & 0o777
        if mode & _OTHERS:
            findings.add(Code.KEY_EXPOSED, str(path), f"its mode is {mode:o}, not 600")
