"""The results of a run of the demo: its steps, its checks, its bytes, and the report of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """A step that ended, well or not."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Check:
    """One checked fact; `rule` is the number of the rule that promises it, as in refusals."""

    name: str
    rule: str
    ok: bool


@dataclass(frozen=True)
class Failure:
    """The error that broke a step off, and the step."""

    step: str
    message: str


@dataclass
class Measures:
    """In bytes: the disks as a guest sees them, their content in the chunk store, the
    ten servers' own files.
    """

    logical: int = 0
    stored: int = 0
    provisioned: int = 0


@dataclass
class Record:
    """Filled while the demo runs. `finished` is set when no step is missing."""

    steps: list[Step] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    measures: Measures = field(default_factory=Measures)
    failure: Failure | None = None
    finished: bool = False

    @property
    def ok(self) -> bool:
        """Whether every step ended and every check holds."""
        return self.finished and self.failure is None and all(check.ok for check in self.checks)

    def write(self, path: Path) -> None:
        """Writes the report as JSON; `error` is there only when a step was broken off."""
        report: dict[str, object] = {
            "ok": self.ok,
            "steps": [asdict(step) for step in self.steps],
            "checks": [asdict(check) for check in self.checks],
            "bytes": asdict(self.measures),
        }
        if self.failure:
            report["error"] = asdict(self.failure)
        path.write_text(json.dumps(report, indent=2) + "\n")
