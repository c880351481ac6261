"""Checks, and running them against a system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recast.preparation.content import UnreadableError
from recast.preparation.filetree import FileTree
from recast.preparation.report import Finding, Verdict, printable


@dataclass(frozen=True)
class Answer:
    """The outcome of a check."""

    verdict: Verdict
    detail: str


def met(detail: str) -> Answer:
    """Answer that the check is met."""
    return Answer(Verdict.OK, detail)


def missing(detail: str) -> Answer:
    """Answer that the check is not met."""
    return Answer(Verdict.MISSING, detail)


def unknown(detail: str) -> Answer:
    """Answer that the disk does not decide the check."""
    return Answer(Verdict.UNKNOWN, detail)


@dataclass(frozen=True)
class Check:
    """One question about a disk."""

    name: str
    required: bool
    remedy: str

    def finding(self, answer: Answer) -> Finding:
        """Return this check's finding for `answer`."""
        return Finding(self.name, answer.verdict, printable(answer.detail), self.remedy, self.required)


@dataclass(frozen=True)
class FileCheck(Check):
    """One question about a system's files. If `run` raises UnreadableError the verdict is UNKNOWN."""

    run: Callable[[FileTree], Answer]


def run_checks(checks: Sequence[FileCheck], tree: FileTree) -> tuple[Finding, ...]:
    """Run every check on the system in `tree`; a file unreadable for one does not affect the others."""
    return tuple(check.finding(_run(check, tree)) for check in checks)


def all_unknown(checks: Sequence[Check], reason: str) -> tuple[Finding, ...]:
    """Answer every check with UNKNOWN for one reason."""
    return tuple(check.finding(unknown(reason)) for check in checks)


def _run(check: FileCheck, tree: FileTree) -> Answer:
    try:
        return check.run(tree)
    except UnreadableError as error:
        return unknown(str(error))
