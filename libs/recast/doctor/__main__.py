"""`python -m recast.doctor --root .recast`."""

import sys

from recast.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
