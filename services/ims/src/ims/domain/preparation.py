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


def decide_preparation(
    backup: str, findings: Sequence[Finding], *, enforce: bool, refuse_unknown: bool = False
) -> None:
    """R20, R21: with `enforce`, refuses a source that lacks a required item, of Linux or of Windows.

    Required checks that could not be made (UNKNOWN) refuse if none could be made, or with `refuse_unknown`;
    otherwise they are warnings.
    """
    if not enforce:
        return
    missing, unknown = _required(findings, "MISSING"), _required(findings, "UNKNOWN")
    refused = [*missing, *(unknown if refuse_unknown or _nothing_was_read(findings) else ())]
    if refused:
        raise SourceNotConfigured(
            backup=backup,
            judgement="was not prepared" if missing else "is not known to be prepared",
            missing="; ".join(f"{finding.check} ({finding.detail})" for finding in refused),
            violations=[
                Violation(finding.check, backup, "; ".join(filter(None, (finding.detail, finding.remedy))))
                for finding in refused
            ],
        )


def preparation_warnings(findings: Sequence[Finding]) -> list[str]:
    """What the required checks leave open or found missing, in words: a sentence for each of the two."""
    unknown, missing = _required(findings, "UNKNOWN"), _required(findings, "MISSING")
    if _nothing_was_read(findings):
        return [f"all required checks are unknown: {_reasons(unknown)}"]
    judged = (("unknown", unknown), ("not met", missing))
    return [f"{_count(found)} {verdict}: {_reasons(found)}" for verdict, found in judged if found]


def _count(findings: Sequence[Finding]) -> str:
    return "1 required check is" if len(findings) == 1 else f"{len(findings)} required checks are"


def _reasons(findings: Sequence[Finding]) -> str:
    checks: dict[str, list[str]] = {}
    for finding in findings:  # one reason often holds for several checks
        checks.setdefault(finding.detail, []).append(finding.check)
    return "; ".join(f"{', '.join(names)} ({detail})" for detail, names in checks.items())


def _required(findings: Sequence[Finding], verdict: str) -> list[Finding]:
    return [finding for finding in findings if finding.required and finding.verdict == verdict]


def _nothing_was_read(findings: Sequence[Finding]) -> bool:
    """Whether every required check is unknown."""
    required = [finding for finding in findings if finding.required]
    return bool(required) and all(finding.verdict == "UNKNOWN" for finding in required)
