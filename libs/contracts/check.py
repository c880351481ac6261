"""Lints the contracts, compares them with the released ones, and checks that the generated code is theirs.

All offline: buf reads descriptor sets that protoc wrote. `--release` takes the contracts as they are
for released: from then on a change that breaks a caller fails.
"""

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from generate import ROOT, generate

HERE = Path(__file__).resolve().parent
RELEASED = HERE / "released.binpb"
_OURS_ALONE = [
    "--config",
    str(ROOT / "proto" / "buf.yaml"),
    "--exclude-path",
    "google",
    "--exclude-path",
    "buf",
]


def buf(*arguments: str) -> None:
    """Runs buf; exits when it finds something."""
    program = Path(sys.executable).with_name("buf")
    if subprocess.run([program, *arguments, *_OURS_ALONE], check=False).returncode != 0:
        sys.exit(f"buf {arguments[0]} found the above")


def main() -> None:
    """Checks; exits with a message at the first thing that is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        new = fresh / "recast" / "contracts" / "descriptor_set.binpb"
        if "--release" in sys.argv:
            shutil.copy(new, RELEASED)
        buf("lint", str(new))
        buf("breaking", str(new), "--against", str(RELEASED))
        stale = [
            str(path.relative_to(fresh))
            for path in sorted(fresh.rglob("*"))
            if path.is_file() and not _is_same(path, HERE / path.relative_to(fresh))
        ]
        if stale:
            sys.exit(f"generated code is stale, run `make generate`: {', '.join(stale)}")
    print("contracts: linted, compatible with the released ones, generated code fresh")  # noqa: T201


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)


if __name__ == "__main__":
    main()
