"""The stack in the foreground, for people: endpoints, warnings, Ctrl-C to stop."""

import shlex
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.text import Text

from recast.client import SERVICES, Service
from recast.contracts.services import PORTS
from recast.rpc.shutdown import ShutdownSignal
from recast.stack.local import LocalStack
from recast.stack.log_lines import LOUD, entry_of
from recast.stack.problems import StackProblem
from recast.stack.supervisor import Supervisor

_POLL_SECONDS = 0.3
_COLOURS = dict(zip(SERVICES, cycle(("cyan", "magenta", "blue", "green", "yellow")), strict=False))


def run(root: Path, first_port: int = PORTS[SERVICES[0]], console: Console | None = None) -> int:
    """Runs the stack until SIGINT or SIGTERM; returns 0, or 1 when it could not run.

    `first_port` is the first service's port, and the others get the following ones; 0 takes free ports.
    """
    console = console or Console(soft_wrap=True)
    shutdown = ShutdownSignal()
    following = {str(service): first_port + number for number, service in enumerate(SERVICES)}
    stack = LocalStack(root, ports=following if first_port else None)
    try:
        return _run(stack, root, console, shutdown)
    except StackProblem as problem:
        return _fail(console, str(problem))
    except OSError as problem:  # of the root: a file, or a folder in which nothing can be written
        return _fail(console, f"{root} cannot be used: {problem}; give another folder by --root")
    finally:
        shutdown.restore()


def _fail(console: Console, text: str) -> int:
    console.print(Text(text, style="red"), highlight=False)
    return 1


def _run(stack: LocalStack, root: Path, console: Console, shutdown: ShutdownSignal) -> int:
    console.print(f"starting {', '.join(SERVICES)} ...", style="dim")
    # Made before the start, so that warnings of the start are printed too.
    logs = [LogFollower(service, stack.log(service)) for service in SERVICES]
    with stack:
        console.print(_welcome(stack, root), highlight=False)
        supervisor = Supervisor(
            stack, root, lambda line, style: console.print(Text(line, style=style), highlight=False)
        )
        while not shutdown.wait(_POLL_SECONDS):
            for line in (line for log in logs for line in log.new_lines()):
                console.print(line, highlight=False)
            supervisor.step()
        console.print("stopping ...", style="dim")
    console.print(f"stopped; the data stays in {root}", style="dim")
    return 0


def _welcome(stack: LocalStack, root: Path) -> Text:
    ends = stack.endpoints
    text = Text("Recast is up\n", style="bold green")
    for service in SERVICES:
        text.append(f"  {service:5}", style=_COLOURS[service])
        text.append(f"{ends[service]}   log {root}/logs/{service}.log\n", style="not bold default")
    # The endpoints are beside the keys: one variable leads to both.
    setting = "" if root == Path(".recast") else f"RECAST_KEYS={shlex.quote(str(root.absolute() / 'keys'))} "
    text.append("\nin another terminal:\n", style="not bold default")
    text.append(f"  {setting}recast server list\n", style="not bold default")
    text.append(
        f'  grpcurl -plaintext -H "authorization: Bearer $({setting}recast token)" \\\n'
        f'    -d \'{{"parent": "projects/demo"}}\' {ends["csbs"]} recast.csbs.v1.BackupService/ListBackups\n',
        style="not bold default",
    )
    text.append("\nwarnings and errors of the services follow; Ctrl-C stops all three", style="dim not bold")
    return text


class LogFollower:
    """Reads new lines of a service's log, and selects warnings and errors.

    Lines that are not JSON are passed unchanged: a traceback, or the interpreter's messages.
    """

    def __init__(self, service: Service, log: Path) -> None:
        self._service = service
        self._log = log
        self._offset = log.stat().st_size if log.exists() else 0
        self._rest = b""

    def new_lines(self) -> Iterator[Text]:
        """The lines since the last call, for the terminal."""
        if not self._log.exists():
            return
        with self._log.open("rb") as log:
            log.seek(self._offset)
            written = log.read()
        self._offset += len(written)
        *lines, self._rest = (self._rest + written).split(b"\n")
        for line in lines:
            text = self._text(line.decode(errors="replace"))
            if text:
                yield text

    def _text(self, line: str) -> Text | None:
        entry = entry_of(line)
        level = entry.pop("level", "")
        if entry and level not in LOUD:
            return None
        text = Text(f"{self._service:5}", style=_COLOURS[self._service])
        if not entry:
            return text.append(line, style="default")
        text.append(f"{level:8}", style="red" if level != "warning" else "yellow")
        text.append(str(entry.pop("event", "")), style="default bold")
        entry.pop("timestamp", None)
        trace = entry.pop("exception", None)
        text.append("".join(f" {key}={value}" for key, value in entry.items()), style="default not bold")
        return text.append(f"\n{trace}", style="default not bold") if trace else text
