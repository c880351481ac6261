"""Resource names, update masks and settings: texts of a request or an environment become values."""

from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from recast.csbs.v1.backup_pb2 import Backup
from recast.faults import RequestInvalid, UpdateMaskInvalid
from recast.rpc.masks import masked
from recast.rpc.names import parse_name, parse_parent
from recast.rpc.settings import ServiceSettings

FIELDS = ("display_name", "description")


class Settings(ServiceSettings):
    """A service's settings."""

    model_config = SettingsConfigDict(env_prefix="RECAST_TEST_")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings that every service needs, apart from its database."""
    for name, value in {
        "ADDRESS": "127.0.0.1:0",
        "TRUSTED_KEYS_FILE": "trusted.json",
        "SIGNING_KEY_FILE": "test.pem",
    }.items():
        monkeypatch.setenv(f"RECAST_TEST_{name}", value)
    return monkeypatch


def test_a_name_is_read_and_written() -> None:
    """A resource name has a project, a collection and an id, and is written as it was read."""
    name = parse_name("projects/demo/backups/night-1", "backups")
    assert (name.project, name.collection, name.id) == ("demo", "backups", "night-1")
    assert str(name) == "projects/demo/backups/night-1"
    assert parse_parent("projects/demo") == "demo"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "projects/demo/images/x",
        "projects/demo/backups/",
        "projects//backups/x",
        "projects/demo/backups/x/y",
        "projects/demo/backups/X",
        "projects/demo/backups/-x",
        "projects/demo/backups/x\n",
        "projects/demo/backups/../x",
        "projects/demo/backups/" + "x" * 64,
        " projects/demo/backups/x",
    ],
)
def test_a_text_that_is_no_name_is_refused(text: str) -> None:
    """A text that is no name of the collection is refused with the path of its field."""
    with pytest.raises(RequestInvalid) as refused:
        parse_name(text, "backups", "backup.name")
    assert [field.field for field in refused.value.fields] == ["backup.name"]


@pytest.mark.parametrize(
    "text", ["", "projects/", "projects/Demo", "projects/demo/", "demo", "projects/demo\n"]
)
def test_a_text_that_is_no_parent_is_refused(text: str) -> None:
    """A text that is no project's name is refused with the path of its field."""
    with pytest.raises(RequestInvalid) as refused:
        parse_parent(text)
    assert [field.field for field in refused.value.fields] == ["parent"]


@pytest.mark.parametrize(
    ("paths", "changes"),
    [
        ([], {"description": "new"}),
        (["description"], {"description": "new"}),
        (["display_name"], {"display_name": ""}),
        (["*"], {"display_name": "", "description": "new"}),
        (["display_name", "description"], {"display_name": "", "description": "new"}),
    ],
    ids=["no mask", "one", "one that is cleared", "all", "both"],
)
def test_a_mask_names_the_changes(paths: list[str], changes: dict[str, str]) -> None:
    """A mask names the fields to change; none means those that are set, and `*` all that can be changed."""
    assert masked(Backup(description="new"), FieldMask(paths=paths), FIELDS) == changes


@pytest.mark.parametrize("path", ["name", "state", "nothing", "", "display_name.x", "image"])
def test_a_mask_over_other_fields_is_refused(path: str) -> None:
    """A mask that names an immutable field is refused with the path within the mask."""
    with pytest.raises(UpdateMaskInvalid) as refused:
        masked(Backup(), FieldMask(paths=["description", path]), FIELDS)
    assert [field.field for field in refused.value.fields] == ["update_mask.paths[1]"]


def test_a_setting_may_stand_in_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The database's URL, which may hold a password, can be read from a file."""
    path = tmp_path / "url"
    path.write_text("sqlite:////srv/test.db\n")
    environment.setenv("RECAST_TEST_DATABASE_URL_FILE", str(path))
    assert Settings().database_url == "sqlite:////srv/test.db"


@pytest.mark.parametrize(
    "given", [{}, {"DATABASE_URL": "sqlite://", "TLS_KEY_FILE": "key.pem"}], ids=["none", "half"]
)
def test_settings_that_are_missing_are_refused(
    environment: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    """A service without a database, or with half of TLS's settings, does not start."""
    for name, value in given.items():
        environment.setenv(f"RECAST_TEST_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
