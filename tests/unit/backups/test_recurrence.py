"""Recurrences: instants of wall-clock rules, across changes of a zone's offset, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from recast.backups.domain.recurrence import (
    Recurrence,
    RecurrenceInvalid,
    next_points,
    parse_recurrence,
)

ANCHOR = date(2026, 1, 1)  # a Thursday
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC"]


def berlin(*rules: str, anchor: date = ANCHOR) -> Recurrence:
    """A recurrence in Berlin."""
    return parse_recurrence(rules, "Europe/Berlin", anchor)


def told(points: list[datetime]) -> list[str]:
    """Instants as people of Berlin write them, with the offset."""
    return [f"{point.astimezone(ZoneInfo('Europe/Berlin')):%m-%d %H:%M%z}" for point in points]


def at(*moment: int) -> datetime:
    """An instant in UTC."""
    return datetime(*moment, tzinfo=UTC)  # type: ignore[misc, arg-type]


def test_a_skipped_time_is_shifted_and_counts_once() -> None:
    """On the day without 02:30 the backup is at 03:30, once, also when 03:30 is a point itself."""
    recurrence = berlin("FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30")
    assert told(next_points(recurrence, at(2026, 3, 28, 12), 4)) == [
        "03-29 03:30+0200",
        "03-30 02:30+0200",
        "03-30 03:30+0200",
        "03-31 02:30+0200",
    ]


def test_a_doubled_time_is_its_first() -> None:
    """On the day with two 02:30 there is one backup, at the first."""
    recurrence = berlin("FREQ=DAILY;BYHOUR=2;BYMINUTE=30")
    assert told(next_points(recurrence, at(2026, 10, 24, 12), 2)) == ["10-25 02:30+0200", "10-26 02:30+0100"]


def test_a_point_of_every_hour_is_hourly_across_both_changes() -> None:
    """24 hours a day: 23 instants on the short day, and on the long day the second 02:00 has none."""
    recurrence = berlin("FREQ=DAILY;BYHOUR=" + ",".join(map(str, range(24))))
    short = list(recurrence.points(at(2026, 3, 28, 22, 59), at(2026, 3, 29, 21, 59)))
    long = list(recurrence.points(at(2026, 10, 24, 21, 59), at(2026, 10, 25, 22, 59)))
    assert (len(short), len(long)) == (23, 24)


def test_intervals_count_from_the_anchor_however_far_away() -> None:
    """Every third day, and every second week on two days, ten years later as on the first days."""
    third = berlin("FREQ=DAILY;INTERVAL=3;BYHOUR=0")
    for after in (at(2025, 12, 31), at(2036, 5, 5)):
        days = [point.astimezone(third.zone).date() for point in next_points(third, after, 5)]
        assert all((day - ANCHOR).days % 3 == 0 for day in days)
        assert {second - first for first, second in pairwise(days)} == {timedelta(days=3)}
    weeks = berlin("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;BYHOUR=5")
    days = [point.astimezone(weeks.zone).date() for point in next_points(weeks, at(2025, 12, 1), 5)]
    assert days == [
        date(2026, 1, 4),
        date(2026, 1, 12),
        date(2026, 1, 18),
        date(2026, 1, 26),
        date(2026, 2, 1),
    ]


def test_missed_points_are_made_up_once_and_none_twice() -> None:
    """After an outage the newest missed point counts alone; a clock that was put back finds none."""
    recurrence = berlin("FREQ=DAILY;BYHOUR=2,14")
    last = at(2026, 6, 1, 0)
    assert recurrence.last_point(last, at(2026, 6, 5, 6)) == at(2026, 6, 5, 0)
    assert recurrence.last_point(at(2026, 6, 5, 0), at(2026, 6, 5, 6)) is None
    assert recurrence.last_point(at(2026, 6, 5, 0), at(2026, 6, 4, 6)) is None


def expected_points(recurrence: Recurrence, after: datetime, before: datetime) -> list[datetime]:
    """Every minute of the wall clock, by the words of the rules, and the instants that have it."""
    instants: dict[datetime, datetime] = {}
    moment = after - timedelta(days=2)
    while moment <= before + timedelta(days=2):
        instants.setdefault(moment.astimezone(recurrence.zone).replace(tzinfo=None), moment)
        moment += timedelta(minutes=5)
    local = min(instants)
    found = set()
    while local <= max(instants):
        if any(_is_due(rule, local, recurrence.anchor) for rule in recurrence.rules):
            skipped = timedelta()
            while local + skipped not in instants:
                skipped += timedelta(minutes=5)
            # As late after the gap as it would be after its begin.
            begin = local
            while begin not in instants:
                begin -= timedelta(minutes=5)
            found.add(instants[begin] + (local - begin) if skipped else instants[local])
        local += timedelta(minutes=5)
    return sorted(each for each in found if after < each <= before)


def _is_due(rule: object, local: datetime, anchor: date) -> bool:
    days = (local.date() - anchor).days
    weeks = (
        (local.date() - timedelta(days=local.weekday())) - (anchor - timedelta(days=anchor.weekday()))
    ).days
    period = days if rule.frequency == "DAILY" else weeks // 7  # type: ignore[attr-defined]
    return (
        days >= 0
        and period % rule.interval == 0  # type: ignore[attr-defined]
        and local.weekday() in rule.weekdays  # type: ignore[attr-defined]
        and local.hour in rule.hours  # type: ignore[attr-defined]
        and local.minute in rule.minutes  # type: ignore[attr-defined]
    )


def test_drawn_rules_are_due_when_the_wall_clock_has_their_time() -> None:
    """Drawn rules in zones with every kind of change, near those changes, against a clock that is walked."""
    changes = [
        at(2026, 3, 29, 1),
        at(2026, 10, 25, 1),
        at(2026, 3, 8, 7),
        at(2026, 4, 4, 15),
        at(2011, 12, 30, 10),
    ]
    for seed in range(20):
        random = Random(seed)
        rules = []
        for _ in range(random.randint(1, 2)):
            hours = ",".join(map(str, random.sample(range(24), random.randint(1, 4))))
            days = ",".join(random.sample(["MO", "TU", "WE", "TH", "FR", "SA", "SU"], random.randint(1, 5)))
            frequency = random.choice(["FREQ=DAILY", "FREQ=WEEKLY"])
            minute = random.choice([0, 15, 30])
            rules.append(
                f"{frequency};INTERVAL={random.randint(1, 3)};BYDAY={days};BYHOUR={hours};BYMINUTE={minute}"
            )
        begin = random.choice(changes) - timedelta(days=1, hours=random.randint(0, 30))
        anchor = begin.date() - timedelta(days=random.randint(0, 500))
        try:
            recurrence = parse_recurrence(rules, random.choice(ZONES), anchor)
        except RecurrenceInvalid:
            continue
        end = begin + timedelta(days=4)
        assert list(recurrence.points(begin, end)) == expected_points(recurrence, begin, end), (seed, rules)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([], "1 to 24 rules"),
        (["FREQ=HOURLY;BYHOUR=1"], "FREQ=HOURLY is not honoured"),
        (["BYHOUR=1"], "FREQ= is not honoured"),
        (["FREQ=DAILY"], "BYHOUR is missing"),
        (["FREQ=WEEKLY;BYHOUR=1"], "BYDAY is missing"),
        (["FREQ=DAILY;BYHOUR=1;INTERVAL=0"], "INTERVAL=0 is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;INTERVAL=9999"], "INTERVAL=9999 is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;INTERVAL=1,2"], "INTERVAL=1,2 is not honoured"),
        (["FREQ=DAILY;BYHOUR=24"], "BYHOUR=24 is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;BYMINUTE=-1"], "BYMINUTE=-1 is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;BYSECOND=1"], "BYSECOND is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;COUNT=3"], "COUNT is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;UNTIL=20300101"], "UNTIL is not honoured"),
        (["FREQ=WEEKLY;BYDAY=2MO;BYHOUR=1"], "BYDAY=2MO is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;BYHOUR=2"], "'BYHOUR=2' is no part of a rule, or is there twice"),
        (["FREQ=DAILY;BYHOUR=1;;"], "'' is no part of a rule"),
        (["FREQ=DAILY;BYHOUR=²"], "BYHOUR=² is not honoured"),
        (["FREQ=DAILY;BYHOUR=1;BYMINUTE=0,30"], "Mon 01:00 and Mon 01:30 are less than an hour apart"),
        (["FREQ=DAILY;BYHOUR=0", "FREQ=DAILY;BYHOUR=23;BYMINUTE=30"], "less than an hour apart"),
        (
            ["FREQ=WEEKLY;BYDAY=SU;BYHOUR=23;BYMINUTE=30", "FREQ=WEEKLY;BYDAY=MO;BYHOUR=0"],
            "less than an hour",
        ),
        (["FREQ=DAILY;BYHOUR=1;BYMINUTE=" + ",".join(map(str, range(60)))], "60 points on one day"),
        (["FREQ=DAILY;INTERVAL=7;BYDAY=MO;BYHOUR=1"], "no day is one of BYDAY"),
        (25 * ["FREQ=DAILY;BYHOUR=1"], "1 to 24 rules"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(rules: list[str], problem: str) -> None:
    """The refusal names the part, and nothing of a rule is dropped in silence."""
    with pytest.raises(RecurrenceInvalid) as refused:
        parse_recurrence(rules, "Europe/Berlin", ANCHOR)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "UTC+25", "\0", "a" * 300]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    """A zone is a name of the time zone database, and no path."""
    with pytest.raises(RecurrenceInvalid):
        parse_recurrence(["FREQ=DAILY;BYHOUR=1"], zone, ANCHOR)


def test_rules_on_other_days_may_be_close() -> None:
    """The distance counts between points, not between times of a day."""
    berlin("FREQ=WEEKLY;BYDAY=MO;BYHOUR=10", "FREQ=WEEKLY;BYDAY=TU;BYHOUR=10;BYMINUTE=30")
