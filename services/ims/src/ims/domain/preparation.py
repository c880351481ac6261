"""Whether a source server was prepared well enough to be made an image of."""

from collections.abc import Sequence
from dataclasses import dataclass

from ims.domain.refusals import SourceNotConfigured
from recast.faults import Violation


@dataclass(frozen=True)
class Finding:
    """One check, as it came out. `verdict` is OK, MISSING or UNKNOWN."""

    check: str
    verdict: str
    required: bool
    detail: str
    remedy: str


def decide_preparation(backup: str, findings: Sequence[Finding], *, enforce: bool) -> None:
    """R20, R21: refuses when a required item is missing, of Linux or of Windows.

    What could not be read does not refuse: it is on the image.
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
