"""The names of the system disks that OS changes make."""

from collections.abc import Iterator

import pytest
from sqlmodel import Session, SQLModel, create_engine

from ecs.storage.tables import DiskRow
from ecs.workflows.change_os import new_disk_name

OPERATION = "b75a69d0-0000-4000-8000-000000000000"


@pytest.fixture
def session() -> Iterator[Session]:
    """An empty database."""
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[DiskRow.__table__])  # type: ignore[attr-defined]
    with Session(engine) as opened:
        yield opened


@pytest.mark.fault("FAULT-N21")
@pytest.mark.parametrize(
    ("server", "disk"),
    [
        ("shop-0001", "shop-0001-system-b75a69d0"),
        ("a", "a-system-b75a69d0"),
        ("s" * 47, f"{'s' * 47}-system-b75a69d0"),
        ("s" * 48, OPERATION),
        ("s" * 63, OPERATION),
    ],
)
def test_a_system_disk_is_named_after_its_server(server: str, disk: str, session: Session) -> None:
    """An id has the server's, as those of other disks; where that is too long it is the operation's."""
    assert new_disk_name(session, f"projects/p/servers/{server}", OPERATION) == f"projects/p/disks/{disk}"
    assert len(disk) <= 63
