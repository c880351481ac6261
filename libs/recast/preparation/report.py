"""What an inspection found, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

DETAIL_LIMIT = 300  # characters; a detail quotes what the disk says, and the disk may say anything


class Verdict(Enum):
    """The answer to one check."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"


def printable(text: str, limit: int = DETAIL_LIMIT) -> str:
    """Return `text` fit for a message or a log: no control characters, at most `limit` characters."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


@dataclass(frozen=True)
class Finding:
    """The answer to one check, what it rests on, and what to do about it."""

    check: str
    """The check's stable name, in UPPER_SNAKE."""
    verdict: Verdict
    detail: str
    """What was seen, and where."""
    remedy: str
    """What to do when the verdict is not OK: one sentence."""
    required: bool
    """Whether a server is unprepared when this is missing."""


@dataclass(frozen=True)
class FileSystem:
    """What begins at one partition, or at the start of a disk without partitions (slot 0)."""

    slot: int
    type: str
    """"ext4", "ntfs", "xfs", "lvm2" ...; "unknown" if not recognised, "outside" if beyond the disk's end."""
    offset_bytes: int


@dataclass(frozen=True)
class Report:
    """Everything one inspection found. It holds facts only: what they lead to is the caller's decision."""

    os_type: str
    """"linux", "windows" or "unknown"."""
    os_name: str
    os_version: str
    firmware: str
    """"bios", "uefi" or "unknown"; a disk that boots both ways is called "bios"."""
    partition_table: str
    """"gpt", "mbr" or "none"."""
    file_systems: tuple[FileSystem, ...]
    findings: tuple[Finding, ...]

    @property
    def missing(self) -> tuple[Finding, ...]:
        """The required findings that are certainly not met."""
        return tuple(f for f in self.findings if f.required and f.verdict is Verdict.MISSING)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """The required findings that could not be read."""
        return tuple(f for f in self.findings if f.required and f.verdict is Verdict.UNKNOWN)


def json_from_report(report: Report) -> dict[str, Any]:
    """Return `report` as values that JSON can carry."""
    findings = [asdict(f) | {"verdict": f.verdict.value} for f in report.findings]
    return asdict(report) | {"findings": findings}


def report_from_json(values: dict[str, Any]) -> Report:
    """Return the report that `json_from_report` took apart.

    Raises KeyError, TypeError or ValueError when the values do not have that shape.
    """
    findings = tuple(Finding(**f | {"verdict": Verdict(f["verdict"])}) for f in values["findings"])
    file_systems = tuple(FileSystem(**f) for f in values["file_systems"])
    return replace(Report(**values), findings=findings, file_systems=file_systems)
