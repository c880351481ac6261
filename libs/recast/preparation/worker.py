"""The program of the child process that isolation.py starts. Its argument: seconds of processor time."""

import sys

from recast.preparation.isolation import work

if __name__ == "__main__":
    work(int(sys.argv[1]))
