"""A module or a name that was renamed is not importable under its old name: there are no aliases."""

import importlib

import pytest

MODULES = [
    "recast.unitofwork",
    "recast.operations.bell",
    "recast.rpc.edge",
    "recast.rpc.ending",
    "recast.rpc.one_core",
    "recast.client.cli.words",
    "recast.client.cli.flow",
]
NAMES = {
    "recast.database": ["Look", "CompareAndSet"],
    "recast.resources": ["remember_replay", "keep_shown", "by_bytes", "joined"],
    "recast.operations": ["Bell"],
    "recast.doctor": ["CannotLook"],
    "csbs.domain.image_lock": ["find_again", "current"],
    "ims.domain.refusals": ["PinEnded"],
    "ecs.domain.refusals": ["HoldEnded", "HostAway"],
    "ecs.domain.freeze": ["check_not_thawed"],
    "ecs.domain.batch": ["AskedDisk"],
    "recast.doctor.command": ["CANNOT_LOOK"],
    "recast.preparation.checks": ["ask_all"],
}


@pytest.mark.parametrize("module", MODULES)
def test_an_old_module_is_gone(module: str) -> None:
    """The old name is no module."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


@pytest.mark.parametrize(("module", "name"), [(m, name) for m, names in NAMES.items() for name in names])
def test_an_old_name_is_gone(module: str, name: str) -> None:
    """The old name is no attribute of the package."""
    assert not hasattr(importlib.import_module(module), name)
