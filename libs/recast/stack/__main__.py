"""`python -m recast.stack --root .recast`, the command of `make up`."""

import argparse
import sys
from pathlib import Path

from recast.contracts.services import PORTS, SERVICES
from recast.stack.foreground import run


def main() -> int:
    """Parses the arguments, and runs the stack until a signal stops it."""
    parser = argparse.ArgumentParser(prog="python -m recast.stack", description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(".recast"), help="the folder of keys, data and logs"
    )
    parser.add_argument(
        "--first-port",
        type=int,
        default=PORTS[SERVICES[0]],
        help="of the first service; the others follow; 0: any free ones",
    )
    given = parser.parse_args()
    return run(given.root, given.first_port)


if __name__ == "__main__":
    sys.exit(main())
