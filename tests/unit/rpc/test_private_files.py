"""What a service writes is its owner's alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, subprocess
from pathlib import Path
from recast.database import Database
from recast.rpc.process import read_settings
from recast.rpc.settings import ServiceSettings

class Settings(ServiceSettings):
    model_config = {"env_prefix": "RECAST_TEST_"}

settings = read_settings("test", Settings)
with Database(settings.database_url).write() as tx:
    tx.session.connection().exec_driver_sql("CREATE TABLE x (y)")
    tx.commit()
    names = sorted(os.listdir())
Path("folder/deep").mkdir(parents=True)
Path("folder/file").touch()
subprocess.run(["touch", "folder/of-a-child"], check=True)
assert "x.db-wal" in names, names
"""


@pytest.mark.parametrize("umask", [0o000, 0o022])
@pytest.mark.fault("FAULT-PRIVATE-FILES")
def test_no_other_user_can_read_a_service_s_files(tmp_path: Path, umask: int) -> None:
    """Folders are 0700 and files 0600, whatever the umask of the caller: databases, and children's files."""
    own = {
        "ADDRESS": "127.0.0.1:0",
        "DATABASE_URL": f"sqlite:///{tmp_path}/x.db",
        "TRUSTED_KEYS_FILE": "trusted.json",
        "SIGNING_KEY_FILE": "x.pem",
    }
    subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=tmp_path,
        env=dict(os.environ) | {f"RECAST_TEST_{name}": value for name, value in own.items()},
        umask=umask,
        check=True,
    )
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert {modes[name] for name in ("folder", "deep")} == {0o700}
    assert {mode for name, mode in modes.items() if name not in {"folder", "deep"}} == {0o600}
