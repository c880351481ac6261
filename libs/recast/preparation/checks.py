"""What a check is, and how one is put to a system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recast.preparation.content import UnreadableError
from recast.preparation.filetree import FileTree
from recast.preparation.report import Finding, Verdict, printable


@dataclass(frozen=True)
class Answer:
    """What a check saw."""

    verdict: Verdict
    detail: str


def met(detail: str) -> Answer:
    """Answer that the check is met."""
    return Answer(Verdict.OK, detail)


def missing(detail: str) -> Answer:
    """Answer that the check is certainly not met."""
    return Answer(Verdict.MISSING, detail)


def unknown(detail: str) -> Answer:
    """Answer that the disk does not tell."""
    return Answer(Verdict.UNKNOWN, detail)


@dataclass(frozen=True)
class Check:
    """One question about a disk."""

    name: str
    required: bool
    remedy: str

    def finding(self, answer: Answer) -> Finding:
        """Return the finding that `answer` makes."""
        return Finding(self.name, answer.verdict, printable(answer.detail), self.remedy, self.required)


@dataclass(frozen=True)
class FileCheck(Check):
    """One question about a system's files. `ask` may raise UnreadableError: the verdict is then UNKNOWN."""

    ask: Callable[[FileTree], Answer]


def ask_all(checks: Sequence[FileCheck], tree: FileTree) -> tuple[Finding, ...]:
    """Put every check to the system in `tree`; what is unreadable for one does not touch the others."""
    return tuple(check.finding(_ask(check, tree)) for check in checks)


def all_unknown(checks: Sequence[Check], reason: str) -> tuple[Finding, ...]:
    """Answer every check with UNKNOWN for one reason."""
    return tuple(check.finding(unknown(reason)) for check in checks)


def _ask(check: FileCheck, tree: FileTree) -> Answer:
    try:
        return check.ask(tree)
    except UnreadableError as error:
        return unknown(str(error))
