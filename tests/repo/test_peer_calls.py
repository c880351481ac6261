"""A service's key opens exactly the methods that the service's code calls."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from recast.contracts.services import SERVICES, Service, services_serving
from recast.operations.peer import FOLLOWING

ROOT = Path(__file__).resolve().parents[2]
Call = tuple[str, str, str]
"""The calling service, the full name of the service that is called, the method."""
OPERATIONS = "google.longrunning.Operations"


def calls_of(caller: Service) -> Iterator[tuple[str, Call]]:
    """Each call of a service's peers package: the called peer, and the call."""
    for path in (ROOT / f"services/{caller}/src/{caller}/peers").glob("*.py"):
        tree = ast.parse(path.read_text())
        stubs = dict(_stubs(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                stub = stubs.get(node.value.attr)
                if stub and node.attr[0].isupper():
                    yield path.stem, (caller, stub, node.attr)
        if OPERATIONS in stubs.values():
            yield from ((path.stem, (caller, OPERATIONS, method)) for method in FOLLOWING)


def _stubs(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The attributes that hold a stub, each with the full name of its gRPC service."""
    modules = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        made = ast.unparse(node.value.func)
        if made.endswith("Stub") and isinstance(node.targets[0], ast.Attribute):
            head, _, name = made.rpartition(".")
            module = modules[head] if head else modules[name].removesuffix(f".{name}")
            package = module.rpartition(".")[0]
            yield node.targets[0].attr, f"{package}.{name.removesuffix('Stub')}"


def grants_of(called: Service) -> Iterator[Call]:
    """Each method that a service's composition root opens for a peer's key."""
    tree = ast.parse((ROOT / f"services/{called}/src/{called}/app.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Registration" and len(node.args) > 4:
            service = ast.literal_eval(node.args[0])
            peers = ast.unparse(node.args[4]).replace("FOLLOWING", repr(FOLLOWING))
            for peer, methods in ast.literal_eval(peers).items():
                yield from ((peer, service, method) for method in methods)


@pytest.mark.fault("FAULT-PEER-METHODS")
@pytest.mark.parametrize("called", SERVICES)
def test_a_peers_key_opens_what_its_code_calls(called: Service) -> None:
    """The methods that a service opens for peers are exactly those that the peers' code calls."""
    made = {call for caller in SERVICES for peer, call in calls_of(caller) if peer == called}
    granted = list(grants_of(called))
    assert len(granted) == len(set(granted))
    assert set(granted) == made
    assert all(called in services_serving(service) for _, service, _ in granted)


@pytest.mark.fault("FAULT-PEER-METHODS")
def test_the_calls_are_found() -> None:
    """The test sees the calls of each service: those that it could miss are counted here."""
    counts = {caller: len(set(calls_of(caller))) for caller in SERVICES}
    assert counts == {"csbs": 8, "ims": 14, "ecs": 3}


def test_no_other_code_of_a_service_makes_a_stub() -> None:
    """Stubs are made in the packages of peers alone, where the test above reads them."""
    found = [
        path.relative_to(ROOT)
        for path in Path(ROOT / "services").glob("*/src/*/**/*.py")
        if "Stub(" in path.read_text() and path.parent.name != "peers"
    ]
    assert found == []
