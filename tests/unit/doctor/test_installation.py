"""The places that the doctor reads, and its errors when it cannot."""

from pathlib import Path

import pytest

from recast.client import SERVICES
from recast.doctor import Installation, Unreadable, examine
from recast.doctor.command import UNREADABLE, main
from recast.stack.layout import Layout, environment_of


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The folders of a stack whose services never ran."""
    layout = Layout(tmp_path)
    layout.create()
    return layout


def test_local_installation_is_where_the_stack_puts_it(layout: Layout) -> None:
    """The doctor's layout under a root is that of the stack's settings for the services."""
    (layout.keys / "people.pem").touch()
    settings: dict[str, str] = {}
    for service in SERVICES:
        settings |= environment_of(service, layout, dict.fromkeys(SERVICES, "127.0.0.1:1"))
    local = Installation.local(layout.root)
    assert local.csbs_database == settings["RECAST_CSBS_DATABASE_URL"]
    assert local.ims_database == settings["RECAST_IMS_DATABASE_URL"]
    assert local.ecs_database == settings["RECAST_ECS_DATABASE_URL"]
    for store, service in ((local.csbs_store, "CSBS"), (local.ims_store, "IMS")):
        assert store.url == settings[f"RECAST_{service}_STORE_URL"]
        assert str(store.key_file) == settings[f"RECAST_{service}_STORE_KEY_FILE"]
    assert str(local.staging) == settings["RECAST_IMS_STAGING_DIR"]
    assert str(local.ecs_data) == settings["RECAST_ECS_DATA_DIR"]
    assert local.ecs_host == settings["RECAST_ECS_HOST"]
    assert {path.name for path in local.secrets} == {"people.pem", "csbs-store.key", "ims-store.key"}


def test_folder_that_is_no_root_is_distinguished_from_a_clean_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder that no stack ever used the command prints that, and exits with 2."""
    assert main(["--root", str(tmp_path)]) == UNREADABLE
    assert "is not the root of a stack" in capsys.readouterr().err


def test_missing_database_is_not_made(layout: Layout) -> None:
    """A missing database is named, and is not created by the check."""
    with pytest.raises(Unreadable, match=r"the database of csbs .* cannot be read: unable to open"):
        examine(Installation.local(layout.root))
    assert list(layout.data.iterdir()) == []


def test_file_that_is_no_database_of_ours_is_named(layout: Layout) -> None:
    """A database without our tables cannot be read."""
    (layout.data / "csbs.db").touch()
    with pytest.raises(Unreadable, match=r"the database of csbs .* no such table"):
        examine(Installation.local(layout.root))
