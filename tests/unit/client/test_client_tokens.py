"""Credentials of calls: settings from the environment, tokens given and minted."""

from pathlib import Path
from typing import Any

import jwt
import pytest

from recast.client import MintedToken, NoToken, Recast, Settings, pages
from recast.client.cli.completing import ids
from recast.client.tokens import mint, token_source
from recast.csbs.v1.backup_pb2 import Backup
from recast.csbs.v1.backup_service_pb2 import GetBackupRequest, ListBackupsRequest, ListBackupsResponse
from recast.rpc.identity import Caller, Signer, Verifier


def test_defaults() -> None:
    """Without any variable the services are on this machine, and the project is demo."""
    found = Settings.from_environment({})
    assert found.endpoints == {"csbs": "127.0.0.1:7101", "ims": "127.0.0.1:7102", "ecs": "127.0.0.1:7103"}
    assert (found.project, found.keys, found.token) == ("demo", Path(".recast/keys"), "")


def test_everything_can_be_set(tmp_path: Path) -> None:
    """Each variable is read, and a token's file without its line end."""
    file = tmp_path / "token"
    file.write_text("abc\n")
    variables = {"RECAST_IMS_ENDPOINT": "h:1", "RECAST_PROJECT": "p", "RECAST_KEYS": "k", "USER": "ada"}
    found = Settings.from_environment(variables | {"RECAST_TOKEN_FILE": str(file), "RECAST_CA_FILE": "ca"})
    assert (found.endpoints["ims"], found.project, found.keys) == ("h:1", "p", Path("k"))
    assert (found.user, found.token, found.ca_file) == ("ada", "abc", Path("ca"))


def test_token_stays_out_of_sight() -> None:
    """A token is not part of the settings' repr."""
    assert "abc" not in repr(Settings.from_environment({"RECAST_TOKEN": "abc"}))


def test_given_token_is_used(keys: Path) -> None:
    """A given token wins over the keys, unless a role or a service is requested."""
    settings = Settings(token="given", keys=keys)
    assert token_source(settings, "demo")() == "given"
    assert token_source(settings, "demo", role="operator")() != "given"
    assert token_source(settings, "demo", service="ims")() != "given"


def test_minted_token_can_be_verified(keys: Path) -> None:
    """A minted token is valid, with its caller's claims."""
    verifier = Verifier.load(keys / "trusted.json")
    settings = Settings(keys=keys, user="ada")
    assert verifier.verify(mint(settings, "demo", role="operator")()) == Caller("ada", "demo", "operator")
    assert verifier.verify(mint(settings, "demo", service="ecs")()) == Caller("ecs", "demo", "service")


def test_minted_token_is_renewed(keys: Path) -> None:
    """A minted token is used again until a minute before its expiry, and then made anew."""
    now = [1000.0]
    caller = Caller("ada", "demo", "user")
    source = MintedToken(Signer.load(keys / "people.pem"), caller, lifetime_seconds=900, clock=lambda: now[0])
    first = source()
    now[0] = 1839.0
    assert source() == first
    now[0] = 1840.0
    assert jwt.decode(source(), options={"verify_signature": False})["exp"] == 2740


def test_no_key(tmp_path: Path) -> None:
    """Without the key there is no token, and the refusal names the missing file."""
    with pytest.raises(NoToken, match=r"no token for service ims: .*ims\.pem"):
        mint(Settings(keys=tmp_path), "demo", service="ims")


def test_token_command(run: Any, keys: Path) -> None:
    """`recast token` prints a token alone, for the requested role, project and lifetime."""
    found = run("token", "--role", "operator", "--project", "shop", "--lifetime", "60")
    assert Verifier.load(keys / "trusted.json").verify(found.out.strip()) == Caller("ada", "shop", "operator")
    claims = jwt.decode(found.out.strip(), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 60
    assert (
        Verifier.load(keys / "trusted.json").verify(run("token", "--as", "ims").out.strip()).subject == "ims"
    )


def test_command_uses_the_given_token(run: Any, services: Any, keys: Path) -> None:
    """RECAST_TOKEN is sent as it is; --as makes another."""
    given = mint(Settings(keys=keys, user="grace"), "shop")()
    run("backup", "list", environment={"RECAST_TOKEN": given})
    run("backup", "list", "--as", "ims", environment={"RECAST_TOKEN": given})
    assert [call.caller for call in services.calls] == [
        Caller("grace", "shop", "user"),
        Caller("ims", "demo", "service"),
    ]


def test_project_of_names_and_token(run: Any, services: Any) -> None:
    """--project is the project of names and of the token; RECAST_PROJECT is its default."""
    run("backup", "get", "b", "--project", "shop")
    run("backup", "get", "b", environment={"RECAST_PROJECT": "shop"})
    assert [call.sent["name"] for call in services.calls] == ["projects/shop/backups/b"] * 2
    assert {call.caller.project for call in services.calls} == {"shop"}


def test_client_from_the_environment(services: Any) -> None:
    """A client made from the environment calls the services that it names."""
    with Recast.from_environment(services.environment, project="shop", role="operator") as recast:
        recast.backups.GetBackup(GetBackupRequest(name="projects/shop/backups/b"))
    [call] = services.calls
    assert (call.service, call.caller) == ("csbs", Caller("ada", "shop", "operator"))


def test_pages_follow_tokens(recast: Any, services: Any, in_turn: Any) -> None:
    """Pages are requested until there is no token, each by the token of the one before and else unchanged."""
    found = [
        ListBackupsResponse(backups=[Backup(name="a")], next_page_token="t"),
        ListBackupsResponse(backups=[Backup(name="b")]),
    ]
    services.answers["BackupService.ListBackups"] = in_turn(found)
    request = ListBackupsRequest(parent="projects/demo", filter="f")
    names = [backup.name for page in pages(recast.backups.ListBackups, request) for backup in page.backups]
    assert (names, request.page_token) == (["a", "b"], "")
    assert services.calls[1].sent == {"parent": "projects/demo", "filter": "f", "page_token": "t"}


def test_ids_are_completed(services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that begin with the typed text are offered; when a service is unreachable, none are, silently."""
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    listed = [Backup(name=f"projects/demo/backups/{each}") for each in ("nightly", "night-2", "weekly")]
    services.answers["BackupService.ListBackups"] = ListBackupsResponse(backups=listed)
    assert ids("backups", None, "night") == ["nightly", "night-2"]
    monkeypatch.setenv("RECAST_CSBS_ENDPOINT", "127.0.0.1:1")
    assert ids("backups", None, "night") == []
