"""Retention: what is kept and removed, and the reason of each decision."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from recast.backups.domain.retention import BackupFacts, Condition, Retention, plan_retention
from tests.unit.backups.histories import drawn_history, expected_kept

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def backup(name: str, days_old: float, **facts: object) -> BackupFacts:
    """A good backup of a schedule."""
    fields = {"condition": Condition.GOOD, "is_scheduled": True} | facts
    return BackupFacts(name, NOW - timedelta(days=days_old), **fields)  # type: ignore[arg-type]


def kept(backups: list[BackupFacts], **rules: object) -> set[str]:
    """The names of the backups that rules keep."""
    plan = plan_retention(backups, Retention(BERLIN, **rules), NOW)  # type: ignore[arg-type]
    assert [each.backup for each in plan] == [each.name for each in backups]
    assert all(each.reasons for each in plan)
    return {each.backup for each in plan if each.keep}


FOUR = [backup("d", 0), backup("c", 1), backup("b", 2), backup("a", 3)]


def test_drawn_histories_are_decided_as_by_the_reference() -> None:
    """2,000 drawn histories: what is kept is what a reference written otherwise keeps."""
    for seed in range(2000):
        backups, retention, now = drawn_history(Random(seed))
        plan = plan_retention(backups, retention, now)
        assert {each.backup for each in plan if each.keep} == expected_kept(backups, retention, now), seed


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, "abcd"),
        ({"permanent": True, "max_backups": 1}, "abcd"),
        ({"max_backups": 2}, "cd"),
        ({"max_backups": 0}, "d"),
        ({"max_age": timedelta(days=1)}, "cd"),
        ({"max_backups": 1, "max_age": timedelta(days=2)}, "bcd"),
        ({"days": 2}, "cd"),
        ({"weeks": 1}, "d"),
        ({"years": 1, "days": 1}, "d"),
    ],
)
def test_a_backup_is_kept_when_one_rule_keeps_it(rules: dict[str, object], expected: str) -> None:
    """The union of the rules is kept; permanent wins; no rule at all is permanent."""
    assert kept(FOUR, **rules) == set(expected)


def test_backups_with_images_are_neither_counted_nor_removed() -> None:
    """R16, R18, R19: max_backups=2 leaves two others beside the imaged one, however old it is."""
    backups = [*FOUR, backup("imaged", 400, image="images/x"), backup("imaged-new", 0.5, image="images/y")]
    assert kept(backups, max_backups=2) == {"c", "d", "imaged", "imaged-new"}


def test_the_last_good_backup_is_never_removed() -> None:
    """Neither age nor count removes the newest backup whose bytes are complete and sound."""
    backups = [backup("old", 900), backup("bad", 1, condition=Condition.DAMAGED), backup("failed", 0.5)]
    backups[2] = backups[2]._replace(condition=Condition.FAILED)
    assert kept(backups, max_backups=0) == {"old", "failed"}


def test_failed_backups_are_kept_ten_and_a_month() -> None:
    """At most the ten newest that failed, and those for a month; they are not counted."""
    failed = [backup(f"f{number:02}", number, condition=Condition.FAILED) for number in range(12)]
    failed += [backup("ancient", 31, condition=Condition.FAILED)]
    assert kept([*failed, *FOUR], max_backups=1) == {f"f{number:02}" for number in range(10)} | {"d"}
    assert kept(failed[-1:], max_backups=1) == set()


def test_a_locked_backup_is_kept_until_its_time() -> None:
    """The lock keeps it to the second."""
    locked = [each._replace(locked_until=NOW + timedelta(seconds=1)) for each in FOUR[3:]]
    ended = [each._replace(locked_until=NOW) for each in FOUR[3:]]
    assert kept([*FOUR[:3], *locked], max_backups=1) == {"a", "d"}
    assert kept([*FOUR[:3], *ended], max_backups=1) == {"d"}


def test_periods_are_those_of_the_zone() -> None:
    """Two backups of one UTC day are of two days in Berlin, across the end of summer time too."""
    evening = BackupFacts("evening", datetime(2026, 10, 24, 21, 59, tzinfo=UTC), Condition.GOOD, True)
    night = BackupFacts("night", datetime(2026, 10, 24, 22, 1, tzinfo=UTC), Condition.GOOD, True)
    last = BackupFacts("last", datetime(2026, 10, 25, 22, 59, tzinfo=UTC), Condition.GOOD, True)
    assert kept([evening, night, last], days=2) == {"last", "evening"}
    assert kept([evening, night], days=2) == {"night", "evening"}


_OUT = "there are 1 newer ones and it is over 1 days old and it is not the last of a week that is kept"


def test_each_decision_says_why() -> None:
    """The reasons name the rules that keep a backup, or what each rule found against it."""
    plan = plan_retention(
        [*FOUR, backup("hand", 500, is_scheduled=False)],
        Retention(BERLIN, max_backups=1, max_age=timedelta(days=1), weeks=1),
        NOW,
    )
    assert [(each.backup, each.keep, each.reasons) for each in plan] == [
        (
            "d",
            True,
            (
                "the last good backup of the server",
                "one of the newest 1",
                "at most 1 days old",
                "the last of its week",
            ),
        ),
        ("c", True, ("at most 1 days old",)),
        ("b", False, (_OUT,)),
        ("a", False, (_OUT,)),
        ("hand", True, ("no schedule made it",)),
    ]
