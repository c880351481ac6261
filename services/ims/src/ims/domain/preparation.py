"""The decision whether a source server was prepared well enough for an image."""

from collections.abc import Sequence
from dataclasses import dataclass

from ims.domain.refusals import SourceNotConfigured
from recast.faults import Violation


@dataclass(frozen=True)
class Finding:
    """The result of one check. `verdict` is OK, MISSING or UNKNOWN."""

    check: str
    verdict: str
    required: bool
    detail: str
    remedy: str


def decide_preparation(backup: str, findings: Sequence[Finding], *, enforce: bool) -> None:
    """R20, R21: with `enforce`, refuses a source that lacks a required item, of Linux or of Windows.

    A check that could not be made (UNKNOWN) is no reason to refuse; the image records it.
    """
    missing = [finding for finding in findings if finding.required and finding.verdict == "MISSING"]
    if missing and enforce:
        raise SourceNotConfigured(
            backup=backup,
            missing="; ".join(f"{finding.check} ({finding.detail})" for finding in missing),
            violations=[
                Violation(finding.check, backup, f"{finding.detail}; {finding.remedy}") for finding in missing
            ],
        )
