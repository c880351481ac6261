"""Texts of others on a terminal: control and bidirectional characters are escaped."""

import json
from typing import Any

import pytest

from recast.csbs.v1.backup_pb2 import Backup
from recast.csbs.v1.backup_service_pb2 import GetBackupResponse, ListBackupsResponse
from recast.faults import Kind, RemoteRefusal

HOSTILE = "red\x1b[31m \u202egpj.exe\u2066 \x9b2J\x7f\n\u2028end"
UNSAFE = set("\x1b\u202e\u2066\x9b\x7f\u2028")


@pytest.mark.parametrize("output", ["table", "json", "name"])
@pytest.mark.fault("FAULT-CONTROL-CHARACTERS")
def test_an_answer_is_printed_escaped(run: Any, services: Any, output: str) -> None:
    """No character of a foreign text acts on the terminal, in no form of the output."""
    backup = Backup(name=f"projects/demo/backups/{HOSTILE}", display_name=HOSTILE, description=HOSTILE)
    services.answers["BackupService.GetBackup"] = GetBackupResponse(backup=backup)
    services.answers["BackupService.ListBackups"] = ListBackupsResponse(backups=[backup])
    for arguments in (("backup", "get", "nightly"), ("backup", "list")):
        out = run(*arguments, "--output", output).out
        assert "end" in out
        assert not UNSAFE & set(out)
        if output == "json":
            held = json.loads(out)
            assert (held.get("backup") or held["backups"][0])["display_name"] == HOSTILE


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.fault("FAULT-CONTROL-CHARACTERS")
def test_a_refusal_is_printed_escaped(run: Any, services: Any, output: str) -> None:
    """The text, the facts and the fields of a refusal are escaped as well."""
    services.answers["BackupService.GetBackup"] = RemoteRefusal(
        Kind.FAILED_PRECONDITION, "BACKUP_BUSY", HOSTILE, metadata={"backup": HOSTILE}
    )
    found = run("backup", "get", "nightly", "--output", output)
    assert found.code == 4
    assert "end" in found.err
    assert not UNSAFE & set(found.err)
