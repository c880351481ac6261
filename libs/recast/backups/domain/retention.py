"""Which backups of a server a policy keeps, and why each.

A backup is removed only when no rule keeps it. One pure function gives every decision with its reasons; the
sweep, its preview and the preview of a draft call it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

MAX_FAILED = 10
FAILED_AGE = timedelta(days=30)


class Condition(StrEnum):
    """What retention needs to know of a backup's state."""

    GOOD = "GOOD"
    """Its bytes are complete, and no damage is known."""
    DAMAGED = "DAMAGED"
    """Complete, and damage was found."""
    FAILED = "FAILED"
    """It never became complete."""
    IN_WORK = "IN_WORK"
    """It is being made or removed."""


class BackupFacts(NamedTuple):
    """The facts about one backup of a server that retention needs."""

    name: str
    time: datetime
    """The instant whose bytes it has; for one without bytes, when it was begun."""
    condition: Condition
    is_scheduled: bool
    """Whether a schedule made it; hand-made ones, also of a policy, are never removed automatically."""
    image: str = ""
    """The image that stands on it."""
    locked_until: datetime | None = None
    is_busy: bool = False
    """Complete, and in use by a restore."""


@dataclass(frozen=True)
class Retention:
    """The rules of a policy. None: the rule is not set. Periods are those of the `zone`."""

    zone: ZoneInfo
    permanent: bool = False
    max_backups: int | None = None
    max_age: timedelta | None = None
    days: int = 0
    weeks: int = 0
    months: int = 0
    years: int = 0

    @property
    def keeps_all(self) -> bool:
        """`permanent`, or no rule at all."""
        is_unset = self.max_backups is None and self.max_age is None
        return self.permanent or (is_unset and not any((self.days, self.weeks, self.months, self.years)))


class Decision(NamedTuple):
    """Whether a backup is kept, and why: each rule that keeps it, or the sentence why none does."""

    backup: str
    keep: bool
    reasons: tuple[str, ...]


Period = tuple[int, ...]
_PERIODS: tuple[tuple[str, str, Callable[[datetime], Period]], ...] = (
    ("days", "day", lambda at: (at.year, at.month, at.day)),
    ("weeks", "week", lambda at: tuple(at.isocalendar())[:2]),
    ("months", "month", lambda at: (at.year, at.month)),
    ("years", "year", lambda at: (at.year,)),
)


def plan_retention(backups: Sequence[BackupFacts], retention: Retention, now: datetime) -> list[Decision]:
    """The decision on every backup of one server, in the order given."""
    newest_first = sorted(backups, key=lambda each: (each.time, each.name), reverse=True)
    reasons: dict[str, list[str]] = {each.name: list(_always(each, now)) for each in backups}
    for name in _last_good(newest_first):
        reasons[name].append("the last good backup of the server")
    failed = [each for each in newest_first if each.condition is Condition.FAILED and each.is_scheduled]
    for place, each in enumerate(failed):
        if place < MAX_FAILED and now - each.time < FAILED_AGE:
            reasons[each.name].append(
                f"one of the {MAX_FAILED} newest that failed, within {FAILED_AGE.days} days"
            )
    counted = [each for each in newest_first if _is_counted(each)]
    for name, reason in _by_rules(counted, retention, now):
        reasons[name].append(reason)
    return [
        Decision(each.name, bool(found := reasons[each.name]), tuple(found) or (_no_rule(each, retention),))
        for each in backups
    ]


def _always(backup: BackupFacts, now: datetime) -> Iterator[str]:
    """What keeps a backup whatever the policy says."""
    if not backup.is_scheduled:
        yield "no schedule made it"
    if backup.image:
        yield f"image {backup.image} stands on it"
    if backup.locked_until is not None and backup.locked_until > now:
        yield f"it is locked until {backup.locked_until.isoformat()}"
    if backup.condition is Condition.IN_WORK:
        yield "it is being made or removed"
    if backup.is_busy:
        yield "a restore reads it"


def _last_good(newest_first: Sequence[BackupFacts]) -> list[str]:
    """Age and count never remove the last good backup of a server: a decision of this product."""
    return [each.name for each in newest_first if each.condition is Condition.GOOD][:1]


def _is_counted(backup: BackupFacts) -> bool:
    """What holds an image is not counted (R18); nor is what failed, and what no schedule made."""
    is_complete = backup.condition in (Condition.GOOD, Condition.DAMAGED)
    return is_complete and backup.is_scheduled and not backup.image


def _by_rules(
    counted: Sequence[BackupFacts], retention: Retention, now: datetime
) -> Iterator[tuple[str, str]]:
    if retention.keeps_all:
        yield from ((each.name, "the policy keeps backups permanently") for each in counted)
        return
    if retention.max_backups is not None:
        for each in counted[: retention.max_backups]:
            yield each.name, f"one of the newest {retention.max_backups}"
    if retention.max_age is not None:
        for each in counted:
            if now - each.time <= retention.max_age:
                yield each.name, f"at most {retention.max_age.days} days old"
    for rule, noun, period_of in _PERIODS:
        seen: set[Period] = set()
        for each in counted:
            period = period_of(each.time.astimezone(retention.zone))
            if period not in seen and len(seen) < getattr(retention, rule):
                seen.add(period)
                yield each.name, f"the last of its {noun}"


def _no_rule(backup: BackupFacts, retention: Retention) -> str:
    if backup.condition is Condition.FAILED:
        return f"it failed, over {FAILED_AGE.days} days ago or before the {MAX_FAILED} newest that did"
    rules = []
    if retention.max_backups is not None:
        rules.append(f"there are {retention.max_backups} newer ones")
    if retention.max_age is not None:
        rules.append(f"it is over {retention.max_age.days} days old")
    periods = [noun for rule, noun, _ in _PERIODS if getattr(retention, rule)]
    if periods:
        rules.append(f"it is not the last of a {' or '.join(periods)} that is kept")
    return " and ".join(rules)
