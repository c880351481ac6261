"""The secrets of a compose project."""

import configparser
import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from recast.rpc.identity import SERVICES, Caller, Signer, Verifier
from recast.stack.secrets import NAMES, SecretsIncomplete, create_secrets


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and the folder's neighbours' names."""
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with secrets."""
    folder = tmp_path / "secrets"
    assert create_secrets(folder)
    return folder


def test_all_are_made_and_nothing_else(made: Path) -> None:
    """The folder holds every file that is promised, none empty, and no folder stays beside it."""
    files = content(made)
    assert set(files) == set(NAMES)
    assert all(files.values())
    assert [each.name for each in made.parent.iterdir()] == [made.name]


def test_the_folder_is_closed_to_others(made: Path) -> None:
    """The folder is its owner's alone; a container's user may read all but people's own key."""
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in made.iterdir()}
    assert modes.pop("people.pem") == 0o600
    assert set(modes.values()) == {0o444}


def test_again_nothing_is_changed(made: Path) -> None:
    """A second time finds all there and writes nothing."""
    before = content(made)
    assert not create_secrets(made)
    assert content(made) == before


@pytest.mark.parametrize("lost", NAMES)
def test_a_part_is_refused(made: Path, lost: str) -> None:
    """Where one file is missing nothing is written, and the missing one is named."""
    (made / lost).unlink()
    before = content(made)
    with pytest.raises(SecretsIncomplete, match=lost):
        create_secrets(made)
    assert content(made) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    """An existing empty folder is taken, and closed."""
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    assert create_secrets(folder)
    assert set(content(folder)) == set(NAMES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_each_key_is_trusted_for_its_own(made: Path) -> None:
    """Tokens made with each key are believed, by the trust file that was made with them."""
    verifier = Verifier.load(made / "trusted.json")
    callers = {"people": Caller("ann", "demo", "user")} | {
        name: Caller(name, "demo", "service") for name in SERVICES
    }
    for name, caller in callers.items():
        token = Signer.load(made / f"{name}.pem").token(caller, now=time.time(), lifetime_seconds=60)
        assert verifier.verify(token) == caller


def test_no_two_secrets_are_the_same(made: Path, tmp_path: Path) -> None:
    """Each service has a password and a store key of its own, and another folder has others."""
    create_secrets(tmp_path / "other")
    found = []
    for folder in (made, tmp_path / "other"):
        urls = [make_url((folder / f"{each}-database-url").read_text().strip()) for each in SERVICES]
        assert [(url.username, url.database, url.host) for url in urls] == [
            (each, each, "postgres") for each in SERVICES
        ]
        found += [url.password for url in urls] + [(folder / "postgres-password").read_text()]
        keys = [(folder / f"{each}-store.key").read_bytes() for each in ("csbs", "ims")]
        assert [len(key) for key in keys] == [32, 32]
        found += keys
    assert len(set(found)) == len(found)


def test_s3_knows_the_credentials(made: Path) -> None:
    """The services' credentials are the one identity of the S3 server, which may use its bucket alone."""
    file = configparser.ConfigParser()
    file.read(made / "s3-credentials")
    [identity] = json.loads((made / "s3.json").read_text())["identities"]
    [known] = identity["credentials"]
    assert dict(file["default"]) == {
        "aws_access_key_id": known["accessKey"],
        "aws_secret_access_key": known["secretKey"],
    }
    assert {action.partition(":")[2] for action in identity["actions"]} == {"recast"}


def test_the_command_reports_its_result(tmp_path: Path) -> None:
    """The command makes, finds, and refuses a part with exit code 1."""
    command = [sys.executable, "-m", "recast.stack.secrets", "--folder", str(tmp_path / "s")]

    def run() -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert "made" in run()[1]
    assert run() == (0, f"{tmp_path / 's'}: {len(NAMES)} secrets are there; nothing was changed\n")
    (tmp_path / "s" / "csbs-store.key").unlink()
    code, text = run()
    assert (code, "lacks csbs-store.key" in text) == (1, True)
