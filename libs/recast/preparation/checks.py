"""Checks, and running them against a system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recast.preparation.filetree import FileTree, TolerantTree
from recast.preparation.report import Finding, Verdict, printable

_MAX_PROBLEMS = 3  # named in a detail


Question = Callable[[TolerantTree], "Answer"]


@dataclass(frozen=True)
class Answer:
    """The outcome of a check."""

    verdict: Verdict
    detail: str
    by_absence: bool = False
    """Whether the verdict relies on something not being there: it then holds only if everything was read."""


def met(detail: str, *, by_absence: bool = False) -> Answer:
    """Answer that the check is met."""
    return Answer(Verdict.OK, detail, by_absence)


def missing(detail: str, *, by_absence: bool = False) -> Answer:
    """Answer that the check is not met."""
    return Answer(Verdict.MISSING, detail, by_absence)


def unknown(detail: str) -> Answer:
    """Answer that the disk does not decide the check."""
    return Answer(Verdict.UNKNOWN, detail)


def decide(question: Question, tree: FileTree) -> Answer:
    """Return the answer to `question` about the system in `tree`.

    What was seen decides, whatever else is unreadable. What was not seen decides only if all was readable.
    """
    tolerant = TolerantTree(tree.tree if isinstance(tree, TolerantTree) else tree)
    answer = question(tolerant)
    problems = "; ".join(tolerant.problems[:_MAX_PROBLEMS])
    if problems and answer.by_absence:
        return unknown(problems)
    if problems and answer.verdict is Verdict.UNKNOWN:
        return unknown(f"{answer.detail}; {problems}")
    return answer


@dataclass(frozen=True)
class Check:
    """One question about a disk."""

    name: str
    required: bool
    remedy: str

    def finding(self, answer: Answer) -> Finding:
        """Return this check's finding for `answer`."""
        # An order to mend what was not seen would be a guess.
        remedy = self.remedy if answer.verdict is Verdict.MISSING else ""
        return Finding(self.name, answer.verdict, printable(answer.detail), remedy, self.required)


@dataclass(frozen=True)
class FileCheck(Check):
    """One question about a system's files."""

    run: Question


def run_checks(checks: Sequence[FileCheck], tree: FileTree) -> tuple[Finding, ...]:
    """Run every check on the system in `tree`; a file unreadable for one does not affect the others."""
    return tuple(check.finding(decide(check.run, tree)) for check in checks)
