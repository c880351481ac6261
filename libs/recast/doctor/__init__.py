"""Checks a whole installation from outside the services, and reports its problems.

It shares no code with the services: it reads their databases by its own statements, their files by the libs
of the two formats. It changes nothing.
"""

from recast.doctor.examination import examine
from recast.doctor.findings import REMEDIES, Code, Counts, InProgress, Problem, Report
from recast.doctor.installation import Installation, Store, Unreadable

__all__ = [
    "REMEDIES",
    "Code",
    "Counts",
    "InProgress",
    "Installation",
    "Problem",
    "Report",
    "Store",
    "Unreadable",
    "examine",
]
