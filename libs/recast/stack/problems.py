"""Why a stack does not run, in words for the one who started it."""

from pathlib import Path


class StackProblem(Exception):
    """The stack cannot run; the text says why and what to do."""


class PortInUse(StackProblem):
    """Another program listens on a port that a service needs."""

    def __init__(self, service: str, port: int) -> None:
        super().__init__(
            f"port {port}, which {service} needs, is in use: stop the program that listens there "
            f"(`ss -ltnp 'sport = :{port}'` names it), or use other ports (make up FIRST_PORT=7201)"
        )


class FolderInUse(StackProblem):
    """Another stack runs on the same data."""

    def __init__(self, root: Path) -> None:
        super().__init__(f"another stack runs on {root}: stop it first, or use another folder")


class ServiceNotServing(StackProblem):
    """A service ended, or did not come up in time; the end of its log is part of the text."""

    def __init__(self, service: str, what: str, log: Path, tail: str) -> None:
        shown = f"the end of {log}:\n{tail}" if tail else f"{log} is empty"
        super().__init__(f"{service} {what}; {shown}")
