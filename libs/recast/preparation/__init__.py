"""Reads from a system disk's own bytes whether its server was prepared to be cloned.

`inspect(reader)` returns a Report: the system, how it boots, its file systems, and a Finding for each check.
It states facts; whether they refuse an image is the caller's decision.
"""

from recast.preparation.content import ContentReader
from recast.preparation.isolation import Inspector, inspect
from recast.preparation.report import FileSystem, Finding, Report, Verdict

__all__ = ["ContentReader", "FileSystem", "Finding", "Inspector", "Report", "Verdict", "inspect"]
