"""When a policy backs up: recurrence rules of iCalendar, in the wall-clock time of a time zone.

Source: RFC 5545, 3.3.10. dateutil expands the rules in naive local time; this module decides which rules are
taken, and maps local times to instants.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import DAILY, WEEKLY, rrule

MAX_RULES = 24
MAX_POINTS_A_DAY = 24
MIN_DISTANCE = timedelta(hours=1)
MAX_INTERVAL = {"DAILY": 366, "WEEKLY": 52}
_HORIZON = timedelta(days=2 * 366)
"""A rule that is due less often is never due: no rule of these intervals is."""
_GAP = timedelta(days=1)
"""More than any time zone ever skipped at a change, except the change of a date line."""
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEK = timedelta(weeks=1)
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class RecurrenceInvalid(ValueError):
    """A rule, a time zone or a whole recurrence that is not taken; the message is one sentence for people.

    `rule` is the number of the rule from 0, None when the recurrence as a whole is refused.
    """

    def __init__(self, problem: str, rule: int | None = None) -> None:
        super().__init__(problem)
        self.rule = rule


@dataclass(frozen=True)
class Rule:
    """One rule: every `interval`-th day or week, on `weekdays` (0 is Monday), at each of the `times`."""

    frequency: str
    interval: int
    weekdays: tuple[int, ...]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]

    @property
    def times(self) -> list[time]:
        """The times of a day, in order."""
        return [time(hour, minute) for hour in self.hours for minute in self.minutes]


@dataclass(frozen=True)
class Recurrence:
    """The rules of a policy, in a time zone. Intervals count from the day `anchor`."""

    rules: tuple[Rule, ...]
    zone: ZoneInfo
    anchor: date

    def points(self, after: datetime, before: datetime | None = None) -> Iterator[datetime]:
        """The instants later than `after` and not later than `before`, in order, each once, in UTC.

        A local time that the zone skips is due as much later as the zone skips; one that it has twice is due
        the first time.
        """
        begin = after.astimezone(self.zone).replace(tzinfo=None) - _GAP
        end = begin + _HORIZON if before is None else before.astimezone(self.zone).replace(tzinfo=None) + _GAP
        last = after
        # A shifted time may come after the next local time: a window of an hour or two orders them.
        for point in _ordered(map(self._instant, self._local(begin, end))):
            if point > last and (before is None or point <= before):
                yield point
                last = point

    def last_point(self, after: datetime, now: datetime) -> datetime | None:
        """The newest instant later than `after` that has come, None when none has.

        So points that were missed are made up once. A clock that was put back finds none.
        """
        earliest = max(after, now - _HORIZON)
        found: datetime | None = None
        for point in self.points(earliest, now):
            found = point
        return found

    def _local(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        found = {point for rule in self.rules for point in _between(rule, self.anchor, begin, end)}
        return iter(sorted(found))

    def _instant(self, local: datetime) -> datetime:
        # PEP 495: with fold=0 a skipped time has the offset of before the gap, and a doubled one its first.
        return local.replace(tzinfo=self.zone, fold=0).astimezone(UTC)


def parse_recurrence(rules: Sequence[str], zone: str, anchor: date) -> Recurrence:
    """The recurrence of a policy; RecurrenceInvalid names the part that is not taken.

    Taken are FREQ=DAILY and WEEKLY with INTERVAL, BYDAY, BYHOUR and BYMINUTE. All points are at least an
    hour apart.
    """
    if not 1 <= len(rules) <= MAX_RULES:
        raise RecurrenceInvalid(f"a schedule has 1 to {MAX_RULES} rules")
    try:
        found = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RecurrenceInvalid(f"there is no time zone {zone!r}; write one like Europe/Berlin") from None
    parsed = tuple(_parse_rule(text, number) for number, text in enumerate(rules))
    _check_distances(parsed)
    recurrence = Recurrence(parsed, found, anchor)
    begin = datetime.combine(anchor, time())
    for number, rule in enumerate(parsed):
        if next(_between(rule, anchor, begin, begin + _HORIZON), None) is None:
            raise RecurrenceInvalid(f"no day is one of BYDAY and of INTERVAL={rule.interval} days", number)
    return recurrence


def next_points(recurrence: Recurrence, after: datetime, count: int) -> list[datetime]:
    """The next `count` instants; fewer only if they are more than two years away."""
    return list(islice(recurrence.points(after), count))


def _parse_rule(text: str, number: int) -> Rule:
    parts: dict[str, str] = {}
    for part in text.removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if not value or name in parts:
            raise RecurrenceInvalid(f"{part!r} is no part of a rule, or is there twice", number)
        parts[name] = value
    known = ("FREQ", "INTERVAL", "BYDAY", "BYHOUR", "BYMINUTE")
    if unknown := sorted(parts.keys() - set(known)):
        raise RecurrenceInvalid(f"{unknown[0]} is not honoured; write {', '.join(known)}", number)
    frequency = parts.get("FREQ", "")
    if frequency not in MAX_INTERVAL:
        raise RecurrenceInvalid(f"FREQ={frequency} is not honoured; write FREQ=DAILY or FREQ=WEEKLY", number)
    if "BYHOUR" not in parts:
        raise RecurrenceInvalid("BYHOUR is missing: the hours of the day, like BYHOUR=2,14", number)
    if frequency == "WEEKLY" and "BYDAY" not in parts:
        raise RecurrenceInvalid("BYDAY is missing: the days of the week, like BYDAY=MO,TH", number)
    days = parts.get("BYDAY", ",".join(_WEEKDAYS)).split(",")
    if wrong := [day for day in days if day not in _WEEKDAYS]:
        raise RecurrenceInvalid(f"BYDAY={wrong[0]} is not honoured; write {', '.join(_WEEKDAYS)}", number)
    return Rule(
        frequency,
        _numbers(parts.get("INTERVAL", "1"), "INTERVAL", 1, MAX_INTERVAL[frequency], number, most=1)[0],
        tuple(sorted({_WEEKDAYS.index(day) for day in days})),
        _numbers(parts["BYHOUR"], "BYHOUR", 0, 23, number),
        _numbers(parts.get("BYMINUTE", "0"), "BYMINUTE", 0, 59, number),
    )


def _numbers(text: str, name: str, least: int, greatest: int, rule: int, most: int = 60) -> tuple[int, ...]:
    values = text.split(",")
    is_number = all(value.isascii() and value.isdecimal() and len(value) <= 4 for value in values)
    if not is_number or len(values) > most or not all(least <= int(value) <= greatest for value in values):
        raise RecurrenceInvalid(f"{name}={text[:40]} is not honoured: {least} to {greatest}", rule)
    return tuple(sorted({int(value) for value in values}))


def _check_distances(rules: Sequence[Rule]) -> None:
    """Every two points an hour apart, in any week: rules of several weeks may meet in one of them."""
    week = sorted(
        {timedelta(days=day, hours=at.hour, minutes=at.minute)
         for rule in rules for day in rule.weekdays for at in rule.times}
    )  # fmt: skip
    a_day = max(sum(point.days == day for point in week) for day in range(7))
    if a_day > MAX_POINTS_A_DAY:
        raise RecurrenceInvalid(f"{a_day} points on one day; there may be {MAX_POINTS_A_DAY}")
    for first, second in pairwise([*week, week[0] + _WEEK]):
        if second - first < MIN_DISTANCE:
            names = [_told(point) for point in (first, second)]
            raise RecurrenceInvalid(f"{names[0]} and {names[1]} are less than an hour apart")


def _told(point: timedelta) -> str:
    """A point of a week, from its Monday, for people."""
    minutes = point.seconds // 60
    return f"{_DAY_NAMES[point.days % 7]} {minutes // 60:02}:{minutes % 60:02}"


def _between(rule: Rule, anchor: date, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The local times of a rule, not before its anchor. Expansion begins near `begin`, however old it is."""
    start = datetime.combine(anchor, time())
    period = timedelta(days=rule.interval * (1 if rule.frequency == "DAILY" else 7))
    if rule.frequency == "WEEKLY":
        start -= timedelta(days=start.weekday())
    if begin > start:
        start += (begin - start) // period * period
    expanded = rrule(
        WEEKLY if rule.frequency == "WEEKLY" else DAILY,
        dtstart=start,
        interval=rule.interval,
        byweekday=rule.weekdays,
        byhour=rule.hours,
        byminute=rule.minutes,
        bysecond=0,
        until=end,
    )
    first = max(begin, datetime.combine(anchor, time()))
    return (point for point in expanded if point >= first)


def _ordered(points: Iterable[datetime]) -> Iterator[datetime]:
    """Points that are in order but for shifts of less than a day, in order."""
    waiting: list[datetime] = []
    for point in points:
        waiting.append(point)
        waiting.sort()
        while waiting[-1] - waiting[0] > _GAP:
            yield waiting.pop(0)
    yield from waiting
