"""What is said where the database does not do its part in time. Callers may come back."""

from recast.faults import Unavailable


def busy() -> Unavailable:
    """To a write that did not begin."""
    return Unavailable(problem="the database is busy")


def unknown() -> Unavailable:
    """To a write that somebody else does, and has not come to an end."""
    return Unavailable(problem="it is not known whether the database has it: the commit takes long")


def unanswered(problem: BaseException) -> Unavailable:
    """To whoever asked what ended so; a write may have been done. The driver's hints are not for callers."""
    return Unavailable(problem=f"the database did not answer: {_told(problem)}")


def uncommitted(problem: BaseException) -> Unavailable:
    """To each of those whose commit failed."""
    return Unavailable(problem=f"the database did not commit: {_told(problem)}")


def _told(problem: BaseException) -> str:
    return str(problem).partition("\n")[0]
