"""Looks at a whole installation from outside the services, and says what is wrong with it.

It shares no code with the services: their databases are read by statements of its own, their files by the
libs of the two formats. It changes nothing.
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
