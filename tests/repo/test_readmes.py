"""The documents agree with the code."""

import re
import tomllib

import pytest

from ims.domain import disclaimer
from recast.contracts.services import SERVICES
from tests.repo.state_diagrams import ROOT, TABLES, drawn  # the diagrams are drawn by a program as well


@pytest.mark.parametrize(
    ("service", "noun", "module"), [(s, n, m) for s, nouns in TABLES.items() for n, m in nouns.items()]
)
def test_the_drawn_states_are_the_table(service: str, noun: str, module: str) -> None:
    """The state diagram in a service's README is the table in its code."""
    text = (ROOT / "services" / service / "README.md").read_text()
    assert drawn(text, noun, module) == text


LIBS = sorted(path.name for path in (ROOT / "libs/recast").iterdir() if (path / "__init__.py").exists())


@pytest.mark.parametrize("lib", LIBS)
def test_every_lib_has_a_readme(lib: str) -> None:
    """Every lib has a README of at most a page."""
    assert len((ROOT / "libs/recast" / lib / "README.md").read_text().splitlines()) <= 90


def test_every_lib_is_in_a_layer() -> None:
    """The list of the libs in libs/pyproject.toml has each folder once: none hides from the linter."""
    described = tomllib.loads((ROOT / "libs/pyproject.toml").read_text())["tool"]["recast"]["layers"]
    assert sorted(name for layer in described for name in layer) == LIBS


def test_every_service_is_listed() -> None:
    """The one list of the services in the code is that of the folders."""
    assert set(SERVICES) == {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")}


def test_no_registry_and_no_path_of_a_machine_is_named() -> None:
    """No tracked document names a package registry's host."""
    hosts = ("pythonhosted", "pypi" + ".org", "npmjs", "debian" + ".org/debian")
    texts = [
        *ROOT.glob("*.md"),
        *ROOT.glob("libs/**/*.md"),
        *ROOT.glob("services/**/*.md"),
        ROOT / "requirements.lock",
    ]
    assert [str(path) for path in texts for host in hosts if host in path.read_text()] == []


@pytest.mark.fault("FAULT-W11")
def test_the_disclaimer_that_is_shown_is_the_document() -> None:
    """IMS shows DISCLAIMER.md, and the text names its version."""
    assert (ROOT / "DISCLAIMER.md").read_text() == disclaimer.TEXT
    assert f"\nVersion {disclaimer.VERSION}.\n" in disclaimer.TEXT


@pytest.mark.fault("FAULT-W12")
def test_the_readme_has_the_rules_that_are_pending() -> None:
    """The README says which rules are not kept yet: those that RULES.md calls pending."""
    section = (ROOT / "README.md").read_text().partition("## Not built yet\n")[2].partition("\n## ")[0]
    pending = re.findall(r"^\| (R\d+) \| pending \|", (ROOT / "RULES.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"R\d+", section)) == pending
