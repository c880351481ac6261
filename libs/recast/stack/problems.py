"""The reasons why a stack does not run, as messages for people."""

from pathlib import Path


class StackProblem(Exception):
    """The stack cannot run; the text gives the reason and the remedy."""


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
    """A service ended, or did not start in time; the text has the end of its log."""

    def __init__(self, service: str, what: str, log: Path, tail: str) -> None:
        log_text = (
            f"the warnings and errors in {log}:\n{tail}" if tail else f"{log} has no warning or error of it"
        )
        super().__init__(f"{service} {what}; {log_text}")
