"""`make bench`: every benchmark in one run, as JSON.

Figures are medians; machines are noisy, so compare ratios.

python -m tests.bench.bench [--report FILE] [--data-mib 1024]
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(program: str, *arguments: str) -> object:
    """The JSON that one benchmark prints; each has a process, and so memory, of its own."""
    command = [sys.executable, str(HERE / program), *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Runs all, prints the report, and writes it to `--report`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--data-mib", type=int, default=1024)
    options = parser.parse_args()
    report = {
        "machine": {"python": platform.python_version(), "system": platform.platform()},
        "control_path": run("control_path.py"),
        "chunk_store": run("chunkstore_bench.py", "--data-mib", str(options.data_mib)),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text + "\n")


if __name__ == "__main__":
    main()
