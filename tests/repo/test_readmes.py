"""The documents say what the code does."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from state_diagrams import ROOT, TABLES, drawn  # the diagrams are drawn by a program as well


@pytest.mark.parametrize(
    ("service", "noun", "module"), [(s, n, m) for s, nouns in TABLES.items() for n, m in nouns.items()]
)
def test_the_drawn_states_are_the_table(service: str, noun: str, module: str) -> None:
    """The state diagram in a service's README is the table in its code."""
    text = (ROOT / "services" / service / "README.md").read_text()
    assert drawn(text, noun, module) == text


@pytest.mark.parametrize("folder", sorted(p.name for p in (ROOT / "libs").iterdir() if p.is_dir()))
def test_every_lib_says_what_it_is(folder: str) -> None:
    """Every lib has a README of at most a page, and a project file."""
    lib = ROOT / "libs" / folder
    assert len((lib / "README.md").read_text().splitlines()) <= 90
    assert (lib / "pyproject.toml").exists()


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
