"""Arguments of the command line become fields of requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.client.cli.arguments import ArgumentInvalid, assignments, full_name, pair, size_bytes


@pytest.mark.parametrize(
    "typed", ["nightly", "backups/nightly", "projects/demo/backups/nightly"], ids=["id", "short", "full"]
)
def test_names_are_completed(typed: str) -> None:
    """A bare id, a collection with an id, and the full name all mean the full name."""
    assert full_name(typed, "backups", "demo") == "projects/demo/backups/nightly"


def test_full_name_retains_its_project() -> None:
    """A full name is not moved into the project of the command."""
    assert full_name("projects/other/backups/b", "backups", "demo") == "projects/other/backups/b"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "Nightly",
        "a_b",
        "images/i",
        "projects/demo/images/i",
        "projects//backups/b",
        "a/b/c",
        "-a",
        "a" * 64,
    ],
)
def test_other_names_are_refused(typed: str) -> None:
    """A name of another collection, or none at all, is refused before any call."""
    with pytest.raises(ArgumentInvalid, match="must be an id or projects/PROJECT/backups/ID"):
        full_name(typed, "backups", "demo")


@pytest.mark.parametrize(
    ("typed", "size"),
    [
        ("", 0),
        ("1", 1),
        ("512MiB", 512 << 20),
        ("10GiB", 10 << 30),
        ("10 GiB", 10 << 30),
        ("10G", 10 << 30),
        ("1.5T", 3 << 39),
        ("10GB", 10**10),
        ("8B", 8),
    ],
)
def test_sizes(typed: str, size: int) -> None:
    """GiB and G are binary, GB is decimal, a plain number is bytes."""
    assert size_bytes(typed) == size


@pytest.mark.parametrize("typed", ["GiB", "-1", "10gib", "1.5", "0.3KiB", "1e3", "ten"])
def test_other_sizes_are_refused(typed: str) -> None:
    """A text that is no whole number of bytes is refused."""
    with pytest.raises(ArgumentInvalid, match="--size"):
        size_bytes(typed)


@given(st.integers(min_value=0, max_value=1 << 62))
def test_sizes_lose_no_byte(size: int) -> None:
    """A size in bytes is read exactly, however large, and as thousandths of a KB too."""
    assert size_bytes(str(size)) == size
    assert size_bytes(f"{size // 1000}.{size % 1000:03}KB") == size


def test_assignments() -> None:
    """Key and value pairs are read, and a key alone means true."""
    assert assignments("size=1GiB,shared", ("size", "shared"), "--x") == {"size": "1GiB", "shared": "true"}


@pytest.mark.parametrize(("typed", "problem"), [("colour=red", "knows no colour"), ("", "is empty")])
def test_unknown_assignments_are_refused(typed: str, problem: str) -> None:
    """An unknown key is refused, with the list of the known ones."""
    with pytest.raises(ArgumentInvalid, match=f"--x {problem}; it takes size, shared"):
        assignments(typed, ("size", "shared"), "--x")


@pytest.mark.parametrize("typed", ["system", "=disk", "system="])
def test_pairs_need_two_sides(typed: str) -> None:
    """A pair without two sides is refused."""
    with pytest.raises(ArgumentInvalid, match="must look like A=B"):
        pair(typed, "--map", "A=B")
