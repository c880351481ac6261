"""The result of an inspection, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

DETAIL_LIMIT = 300  # characters; a detail quotes the disk, whose content is arbitrary


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
    """The verdict of one check, with its evidence and the remedy."""

    check: str
    """The check's stable name, in UPPER_SNAKE."""
    verdict: Verdict
    detail: str
    """The evidence, with the path."""
    remedy: str
    """The remedy of what is MISSING: one sentence; empty for every other verdict."""
    required: bool
    """Whether a server is unprepared when this is missing."""


@dataclass(frozen=True)
class FileSystem:
    """The file system of one partition, or of a disk without partitions (slot 0)."""

    slot: int
    type: str
    """"ext4", "ntfs", "xfs", "lvm2" ...; "blank" if all is zero where a signature would be, "unknown" if not
    recognised, "outside" if beyond the disk's end."""
    offset_bytes: int


@dataclass(frozen=True)
class Report:
    """Everything one inspection found. It holds facts only: the caller decides."""

    os_type: str
    """"linux", "windows" or "unknown"."""
    os_name: str
    os_version: str
    firmware: str
    """"bios", "uefi" or "unknown"; a disk that boots both ways is called "bios"."""
    partition_table: str
    """"gpt", "mbr" or "none"."""
    optical_format: str
    """"iso9660" or "udf" if the content is an optical disc's, a hybrid one's too; else ""."""
    holds_system: bool | None
    """Whether there is an operating system; None if it may be in what was not read."""
    file_systems: tuple[FileSystem, ...]
    findings: tuple[Finding, ...]

    @property
    def missing(self) -> tuple[Finding, ...]:
        """The required findings that are not met."""
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
    """Return the report that `json_from_report` serialized.

    Raises KeyError, TypeError or ValueError when the values do not have that shape.
    """
    findings = tuple(Finding(**f | {"verdict": Verdict(f["verdict"])}) for f in values["findings"])
    file_systems = tuple(FileSystem(**f) for f in values["file_systems"])
    return replace(Report(**values), findings=findings, file_systems=file_systems)
