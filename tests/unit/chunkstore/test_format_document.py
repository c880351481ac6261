"""FORMAT.md names existing tests as its proofs."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
FORMAT = (REPOSITORY / "libs/recast/chunkstore/FORMAT.md").read_text()


def test_every_invariant_names_its_proof() -> None:
    """Each numbered invariant has a line in the table of proofs, and no line is without one."""
    invariants, proofs = FORMAT.split("## Proof")
    assert re.findall(r"^\| (F\d+) \|", proofs, re.M) == re.findall(
        r"^\| \*\*(F\d+)\*\* \|", invariants, re.M
    )


def test_every_test_that_is_named_exists() -> None:
    """Each test that the document names is defined in one of the chunk store's test files."""
    files = (REPOSITORY / "tests").glob("*/chunkstore/test_*.py")
    defined = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert set(re.findall(r"`(test_\w+)`", FORMAT)) <= defined


def test_every_number_that_the_code_cites_exists() -> None:
    """Each (F…) in the code is an invariant of the document."""
    stated = set(re.findall(r"^\| \*\*(F\d+)\*\* \|", FORMAT, re.M))
    sources = (REPOSITORY / "libs/recast/chunkstore").rglob("*.py")
    assert {cited for file in sources for cited in re.findall(r"\((F\d+)\)", file.read_text())} <= stated
