"""`python -m recast.stack --root .recast`, the command of `make up`."""

import argparse
import sys
from pathlib import Path

from recast.client.interrupts import end_quietly_at_interrupts

_LAST_PORT = 65_535


def main() -> int:
    """Parses the arguments, and runs the stack until a signal stops it."""
    end_quietly_at_interrupts()
    # Imported here: gRPC takes a second, in which Ctrl-C must not print where it was.
    from recast.contracts.services import PORTS, SERVICES  # noqa: PLC0415
    from recast.stack.foreground import run  # noqa: PLC0415

    highest = _LAST_PORT - len(SERVICES) + 1

    def first_port(text: str) -> int:
        if not text.isdecimal() or int(text) > highest:
            raise argparse.ArgumentTypeError(f"must be 0 to {highest}, not {text}: the others follow it")
        return int(text)

    parser = argparse.ArgumentParser(prog="python -m recast.stack", description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(".recast"), help="the folder of keys, data and logs"
    )
    parser.add_argument(
        "--first-port",
        type=first_port,
        default=PORTS[SERVICES[0]],
        help="of the first service; the others follow; 0: any free ones",
    )
    given = parser.parse_args()
    return run(given.root, given.first_port)


if __name__ == "__main__":
    sys.exit(main())
