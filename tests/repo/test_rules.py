"""Each rule is named in code once and proven by a test, or is pending."""

from tests.repo.rules_matrix import read_rules  # the matrix is a program as well


def test_all_68_rules_are_listed() -> None:
    """RULES.md lists R01 to R68."""
    assert sorted(read_rules()) == [f"R{number:02d}" for number in range(1, 69)]


def test_kept_rules_have_one_home() -> None:
    """Every rule that is kept is named by exactly one definition, of one name if two services keep it."""
    kept = [rule for rule in read_rules().values() if rule.state == "kept"]
    names = {rule.number: {home.rpartition(":")[2] for home in rule.homes} for rule in kept}
    assert {number: found for number, found in names.items() if len(found) != 1} == {}
    services = {rule.number: [home.split("/")[1] for home in rule.homes] for rule in kept}
    assert {number: found for number, found in services.items() if len(found) != len(set(found))} == {}


def test_kept_rules_are_proven() -> None:
    """Every rule that is kept is cited by a test."""
    assert [r.number for r in read_rules().values() if r.state == "kept" and not r.tests] == []


def test_pending_rules_are_not_claimed() -> None:
    """No rule that is pending has a home or a test: then it would be kept."""
    pending = [r for r in read_rules().values() if r.state == "pending"]
    assert [r.number for r in pending if r.homes or r.tests] == []
