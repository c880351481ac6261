"""Refusals and the contracts' reasons are the same set, and each refusal is raised with all its facts."""

import ast
import importlib
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from recast.csbs.v1 import error_reason_pb2 as csbs_reasons
from recast.ecs.v1 import error_reason_pb2 as ecs_reasons
from recast.fault.v1 import error_reason_pb2 as fault_reasons
from recast.faults import FieldViolation, Kind, Refusal, RemoteRefusal, Violation
from recast.imagelock.v1 import error_reason_pb2 as imagelock_reasons
from recast.ims.v1 import error_reason_pb2 as ims_reasons
from recast.reservations import RELEASED
from recast.rpc.status import refusal_from_status, status_from_refusal
from recast.rpc.vendor_codes import VENDOR_CODES

ROOT = Path(__file__).resolve().parents[2]
HOMES = {
    "recast.faults.generic": [fault_reasons],
    "csbs.domain.refusals": [csbs_reasons, imagelock_reasons],
    "ims.domain.refusals": [ims_reasons],
    "ecs.domain.refusals": [ecs_reasons],
}


def refusals_of(home: str) -> list[type[Refusal]]:
    """The refusal classes that a module defines."""
    module = importlib.import_module(home)
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Refusal)]
    return [each for each in found if each.__module__ == home]


REFUSALS = [refusal for home in HOMES for refusal in refusals_of(home)]
BY_NAME = {f"{refusal.__module__}.{refusal.__name__}": refusal for refusal in REFUSALS}
BY_NAME |= {f"recast.faults.{refusal.__name__}": refusal for refusal in refusals_of("recast.faults.generic")}


def facts_of(refusal: type[Refusal]) -> set[str]:
    """The facts that a refusal cannot do without: those in its message, and the resource in the way."""
    names = {name for _, name, _, _ in string.Formatter().parse(refusal.message) if name}
    return names | ({refusal.in_the_way} if refusal.in_the_way else set())


def named(refusal: type[Refusal]) -> str:
    """A refusal's name in a test's name."""
    return f"{refusal.__module__}.{refusal.__name__}"


@pytest.mark.parametrize("home", HOMES)
def test_refusals_and_reasons_are_the_same(home: str) -> None:
    """Every refusal's reason stands in the contract, and every reason of the contract is some refusal's."""
    prefix = "ERROR_REASON_"
    promised = {name.removeprefix(prefix) for module in HOMES[home] for name, _ in module.ErrorReason.items()}
    assert {refusal.reason for refusal in refusals_of(home)} | {"UNSPECIFIED"} == promised


def test_released_reservations_are_refused_by_known_reasons() -> None:
    """The reasons by which work is known to have been faster are refusals of the services."""
    assert RELEASED.issubset(refusal.reason for refusal in REFUSALS)


def test_each_reason_is_one_refusal() -> None:
    """No service has two refusals of one reason, and none has one of the reasons that all share."""
    shared = {refusal.reason for refusal in refusals_of("recast.faults.generic")}
    for home in HOMES:
        reasons = [refusal.reason for refusal in refusals_of(home)]
        assert len(reasons) == len(set(reasons))
        assert home == "recast.faults.generic" or not shared & set(reasons)


@pytest.mark.parametrize("refusal", REFUSALS, ids=named)
def test_a_refusal_arrives_as_it_was_raised(refusal: type[Refusal]) -> None:
    """A refusal that became a status and a refusal again is the same in all its attributes."""
    facts = {fact: f"projects/demo/{fact}s/{{x}} é" for fact in facts_of(refusal)}
    raised = refusal(
        fields=[FieldViolation("disks[0].size_bytes", "is too small"), FieldViolation("name", "is missing")],
        violations=[Violation(refusal.reason, "projects/demo/x", "is there"), Violation("OTHER", "", "too")],
        **facts,
    )
    for sent in (raised, refusal(**facts)):
        arrived = refusal_from_status(status_from_refusal(sent, "test.recast"))
        assert isinstance(arrived, RemoteRefusal)
        assert (arrived.kind, arrived.reason, arrived.text) == (sent.kind, sent.reason, sent.text)
        assert arrived.domain == "test.recast"
        assert (arrived.metadata(), arrived.rule) == (sent.metadata(), sent.rule)
        assert (arrived.violations, arrived.fields) == (sent.violations, sent.fields)
        assert arrived.retry_seconds == sent.retry_seconds
        again = refusal_from_status(status_from_refusal(arrived, "another.recast"))
        assert vars(again) == vars(arrived)


def test_vendor_codes_are_of_reasons_that_the_contracts_have() -> None:
    """Every row of the table of the vendor's codes names a service and a reason of its contract."""
    reasons = {
        (home.partition(".")[0], refusal.reason)
        for home in HOMES
        if home.endswith(".domain.refusals")
        for refusal in refusals_of(home)
    }
    assert VENDOR_CODES.keys() - reasons == set()


def test_a_status_has_the_vendor_s_code() -> None:
    """A status has the vendor's code for its domain and reason; a reason without a code has none."""
    refusal = RemoteRefusal(Kind.FAILED_PRECONDITION, "RESTORE_TARGET_INVALID", "text")
    for domain, code in (("csbs.recast", "CSBS.6014"), ("ecs.recast", None)):
        arrived = refusal_from_status(status_from_refusal(refusal, domain))
        assert arrived.facts.get("vendor_code") == code


@pytest.mark.parametrize("refusal", REFUSALS, ids=named)
def test_a_refusal_is_complete(refusal: type[Refusal]) -> None:
    """A refusal has a kind, a reason and a message; one of FAILED_PRECONDITION names the obstacle."""
    assert isinstance(refusal.kind, Kind)
    assert refusal.reason.isupper()
    assert refusal.message
    assert refusal.__doc__


def raisings() -> Iterator[tuple[str, type[Refusal], ast.Call]]:
    """Every place in the code that makes a refusal."""
    for folder in ("libs", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "contracts" in path.parts:
                continue
            tree = ast.parse(path.read_text())
            imported = dict(_imports(tree))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    written = ast.unparse(node.func)
                    first, _, rest = written.partition(".")
                    full = imported.get(first, "") + (f".{rest}" if rest else "")
                    if full in BY_NAME:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", BY_NAME[full], node


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def test_refusals_are_raised_with_their_facts() -> None:
    """Every place that raises a refusal gives the facts of its message and the resource in the way."""
    places = list(raisings())
    assert len(places) > 50
    lacking = []
    for place, refusal, call in places:
        given = {keyword.arg for keyword in call.keywords}
        missing = facts_of(refusal) - given
        if missing and None not in given:  # `**facts` cannot be read here
            lacking.append(f"{place}: {refusal.__name__} without {sorted(missing)}")
        if call.args:
            lacking.append(f"{place}: {refusal.__name__} takes its facts by name")
    assert lacking == []


def test_every_refusal_is_raised() -> None:
    """A refusal that nothing raises promises a check that does not exist."""
    raised = {refusal for _, refusal, _ in raisings()}
    assert sorted(named(refusal) for refusal in REFUSALS if refusal not in raised) == []
