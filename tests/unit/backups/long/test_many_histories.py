"""Retention against its reference, over many more histories than `make test` has the time for."""

from random import Random

from recast.backups.domain.retention import plan_retention
from tests.unit.backups.histories import drawn_history, expected_kept

HISTORIES = 100_000


def test_many_drawn_histories_are_decided_as_by_the_reference() -> None:
    """The figure is printed: histories, backups, and how many were removed."""
    backups_seen = removed = 0
    for seed in range(2000, 2000 + HISTORIES):
        backups, retention, now = drawn_history(Random(seed))
        plan = plan_retention(backups, retention, now)
        assert {each.backup for each in plan if each.keep} == expected_kept(backups, retention, now), seed
        backups_seen += len(backups)
        removed += sum(not each.keep for each in plan)
    print(f"{HISTORIES} histories, {backups_seen} backups, {removed} removed")  # noqa: T201  # the figure
