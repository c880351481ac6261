"""Drawn histories of a server's backups, and an independent reference of retention."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from recast.backups.domain.retention import BackupFacts, Condition, Retention

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ["Europe/Berlin", "UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]


def drawn_history(random: Random) -> tuple[list[BackupFacts], Retention, datetime]:
    """Backups over some days or years, in any order; rules, and the time of the sweep."""
    now = BEGIN + timedelta(days=random.randint(1, 900), minutes=random.randint(0, 1440))
    span = random.choice([2, 40, 400, 900]) * 1440
    backups = [
        BackupFacts(
            name=f"backup-{number:03}",
            time=now
            - timedelta(minutes=random.choice([random.randint(0, span), 60 * random.randint(0, 50)])),
            condition=random.choices(list(Condition), [12, 1, 3, 1])[0],
            is_scheduled=random.random() < 0.85,
            image="images/x" if random.random() < 0.1 else "",
            locked_until=now + timedelta(hours=random.randint(-50, 50)) if random.random() < 0.1 else None,
            is_busy=random.random() < 0.05,
        )
        for number in range(random.randint(0, 40))
    ]
    retention = Retention(
        zone=ZoneInfo(random.choice(ZONES)),
        permanent=random.random() < 0.05,
        max_backups=random.choice([None, None, 0, 1, 2, 5, 30]),
        max_age=random.choice([None, None, timedelta(0), timedelta(days=1), timedelta(days=30)]),
        **{rule: random.choice([0, 0, 0, 1, 3, 10]) for rule in ("days", "weeks", "months", "years")},
    )
    return backups, retention, now


def expected_kept(backups: list[BackupFacts], retention: Retention, now: datetime) -> set[str]:
    """What is kept, told one backup at a time: each asks which others are newer."""

    def is_newer(other: BackupFacts, than: BackupFacts) -> bool:
        return (other.time, other.name) > (than.time, than.name)

    def newer(backup: BackupFacts, among: list[BackupFacts]) -> list[BackupFacts]:
        return [other for other in among if is_newer(other, backup)]

    def label(backup: BackupFacts, form: str) -> str:
        return backup.time.astimezone(retention.zone).strftime(form)

    good = [each for each in backups if each.condition == "GOOD"]
    failed = [each for each in backups if each.condition == "FAILED" and each.is_scheduled]
    counted = [
        each
        for each in backups
        if each.condition in ("GOOD", "DAMAGED") and each.is_scheduled and each.image == ""
    ]
    forms = {
        "%Y-%m-%d": retention.days,
        "%G-%V": retention.weeks,
        "%Y-%m": retention.months,
        "%Y": retention.years,
    }
    unset = retention.max_backups is None and retention.max_age is None and sum(forms.values()) == 0
    kept = set()
    for each in backups:
        keep = not each.is_scheduled or each.image != "" or each.is_busy or each.condition == "IN_WORK"
        keep = keep or (each.locked_until is not None and each.locked_until > now)
        keep = keep or (each in good and not newer(each, good))
        if each in failed:
            keep = keep or (len(newer(each, failed)) < 10 and each.time > now - timedelta(days=30))
        if each in counted:
            keep = keep or retention.permanent or unset
            later = newer(each, counted)
            keep = keep or (retention.max_backups is not None and len(later) < retention.max_backups)
            keep = keep or (retention.max_age is not None and each.time >= now - retention.max_age)
            for form, count in forms.items():
                periods = {label(other, form) for other in later}
                keep = keep or (label(each, form) not in periods and len(periods) < count)
        if keep:
            kept.add(each.name)
    return kept
