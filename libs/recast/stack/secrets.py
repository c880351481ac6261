"""`python -m recast.stack.secrets`: all secret files of docker-compose.yml (`make secrets`).

Compose binds these files into containers with the host's owner and mode, and the containers' user (10001)
does not exist there. So the folder protects them: only its owner may enter it (0700). A file that a container
reads is readable by all (0444), and a container gets the files it needs, not the folder; other files are
readable by their owner alone (0600). This needs no root, and holds where the engine maps user ids.
"""

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from recast.client import SERVICES
from recast.rpc.identity import create_keys

STORES = ("csbs", "ims")
BUCKET = "recast"
_PEOPLE = "people.pem"
NAMES = (
    _PEOPLE,
    "trusted.json",
    *(f"{service}.pem" for service in SERVICES),
    *(f"{service}-store.key" for service in STORES),
    *(f"{service}-database-url" for service in SERVICES),
    "postgres-password",
    "s3-credentials",
    "s3.json",
)


class SecretsIncomplete(Exception):
    """Only some of the files exist; none was written."""

    def __init__(self, folder: Path, missing: list[str]) -> None:
        super().__init__(
            f"{folder} lacks {', '.join(missing)}: restore them, because new ones do not match the existing "
            f"files, and without its store key no backup can be read. To start over with new volumes, "
            f"remove the folder"
        )


def create_secrets(folder: Path) -> bool:
    """Makes the folder with all of `NAMES`, unless it exists; returns whether it was made.

    All or nothing: the finished folder is renamed. SecretsIncomplete when the folder holds a part of them.
    """
    if _is_complete(folder):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))  # 0700
    try:
        _fill(made)
        try:
            os.rename(made, folder)  # replaces an empty folder only
            _sync(folder.parent)
        except OSError:
            if _is_complete(folder):  # another process was first
                return False
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def _is_complete(folder: Path) -> bool:
    there = {each.name for each in folder.iterdir()} if folder.exists() else set()
    missing = [name for name in NAMES if name not in there]
    if there and missing:
        raise SecretsIncomplete(folder, missing)
    return not missing


def _fill(folder: Path) -> None:
    create_keys(folder)
    contents: dict[str, bytes] = {f"{each}-store.key": secrets.token_bytes(32) for each in STORES}
    contents |= {name: text.encode() for name, text in _texts().items()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    for name in NAMES:
        path = folder / name
        path.chmod(0o600 if name == _PEOPLE else 0o444)
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    """A key must survive a power cut: a rename may reach the disk before the bytes."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _texts() -> Mapping[str, str]:
    access, secret = secrets.token_hex(10).upper(), secrets.token_hex(20)
    identity = {
        "name": BUCKET,
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": [f"{action}:{BUCKET}" for action in ("Read", "Write", "List")],
    }
    urls = {
        f"{each}-database-url": f"postgresql+psycopg://{each}:{secrets.token_hex(20)}@postgres:5432/{each}\n"
        for each in SERVICES
    }
    return urls | {
        "postgres-password": secrets.token_hex(20) + "\n",
        "s3-credentials": f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n",
        "s3.json": json.dumps({"identities": [identity]}, indent=2) + "\n",
    }


def main() -> int:
    """Parses the arguments, and makes the files."""
    parser = argparse.ArgumentParser(prog="python -m recast.stack.secrets", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".secrets"), help="their folder")
    folder = parser.parse_args().folder
    try:
        made = create_secrets(folder)
    except (SecretsIncomplete, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{folder}: {len(NAMES)} secrets {'made' if made else 'are there; nothing was changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
