"""Refusals: their text, their facts, and how several make one."""

import pytest

from recast.faults import FieldViolation, Kind, Refusal, RemoteRefusal, Violation, all_of


class TooTall(Refusal):
    """Nothing is taller than the door."""

    reason = "TOO_TALL"
    rule = "R99"
    message = "{tree} is {height} tall, and the door {door}"
    in_the_way = "tree"


class NoSuchDoor(Refusal):
    """There is no such door."""

    kind = Kind.NOT_FOUND
    reason = "NO_SUCH_DOOR"
    message = "there is no door {door}"
    in_the_way = "door"


def test_the_facts_fill_the_text() -> None:
    """A refusal's text is its message with the facts in it, with braces in them too."""
    refusal = TooTall(tree="projects/{x}/trees/{0}", height=3, door=2)
    assert refusal.text == str(refusal) == "projects/{x}/trees/{0} is 3 tall, and the door 2"
    assert refusal.facts == {"tree": "projects/{x}/trees/{0}", "height": "3", "door": "2"}


def test_a_fact_that_the_message_needs_must_be_given() -> None:
    """A refusal without a fact that stands in its message is a bug where it is raised."""
    with pytest.raises(KeyError):
        TooTall(tree="t", height=3)


def test_the_metadata_holds_the_facts_and_the_rule() -> None:
    """Beside the reason travel the facts and the number of the rule."""
    assert TooTall(tree="t", height=3, door=2, more="extra").metadata() == {
        "tree": "t",
        "height": "3",
        "door": "2",
        "more": "extra",
        "rule": "R99",
    }
    assert NoSuchDoor(door="d").metadata() == {"door": "d"}


def test_a_failed_precondition_is_its_own_violation() -> None:
    """A refusal of FAILED_PRECONDITION names the obstacle; another kind has no violation."""
    refusal = TooTall(tree="t", height=3, door=2)
    assert refusal.violations == (Violation("TOO_TALL", "t", refusal.text),)
    assert NoSuchDoor(door="d").violations == ()


def test_several_refusals_are_one() -> None:
    """Several refusals make one: the first, with every one of them as a violation, each by its resource."""
    one = all_of(
        [TooTall(tree="a", height=3, door=2), TooTall(tree="b", height=4, door=2), NoSuchDoor(door="d")]
    )
    assert one.text.startswith("a is 3")
    assert [(each.reason, each.resource) for each in one.violations] == [
        ("TOO_TALL", "a"),
        ("TOO_TALL", "b"),
        ("NO_SUCH_DOOR", "d"),
    ]


@pytest.mark.parametrize(
    "name", ["violations", "fields", "self", "kind", "text", "domain", "metadata", "a b"]
)
def test_a_peer_s_fact_may_have_any_name(name: str) -> None:
    """A peer's refusal retains every fact, also one whose name has a meaning here."""
    refusal = RemoteRefusal(Kind.ABORTED, "REASON", "text with {braces}", metadata={name: "value"})
    assert refusal.facts == refusal.metadata() == {name: "value"}
    assert refusal.text == "text with {braces}"


def test_a_peer_s_refusal_arrives_whole() -> None:
    """A peer's refusal has the kind, reason, rule, fields and wait that arrived."""
    field = FieldViolation("disks[0].size_bytes", "too small")
    refusal = RemoteRefusal(
        Kind.INVALID_ARGUMENT, "REASON", "text", metadata={"rule": "R15"}, fields=[field], retry_seconds=2.5
    )
    assert (refusal.kind, refusal.reason, refusal.rule) == (Kind.INVALID_ARGUMENT, "REASON", "R15")
    assert (refusal.fields, refusal.retry_seconds) == ((field,), 2.5)
