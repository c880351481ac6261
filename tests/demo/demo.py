"""Recast's main job on real disks, from the backup of a server to ten servers of it, with proof of each step.

Runs CSBS, IMS and ECS as processes of this machine, in a folder of its own, and calls them as any client
does. Every check is computed from observed data. The exit status is 0 only when all hold.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from recast.client import SERVICES
from recast.faults import Refusal
from recast.stack import LocalStack, StackProblem
from tests.demo import making, proving
from tests.demo.guest import TOOLS, GuestProblem
from tests.demo.record import Failure, Record
from tests.demo.scene import SCALES, Scale, Scene, sized
from tests.demo.screen import Screen, human_size
from tests.demo.tenant import PROJECT, Tenant
from tests.harness.disks import ToolMissingError, find_program

STEPS: Sequence[tuple[str, Callable[[Scene], None]]] = (
    ("Build a server's disks, offline", making.build),
    ("Import them as images", making.import_disks),
    ("Create the server web from them, and start it", making.create_source),
    ("Back it up, while its guest writes", making.back_up),
    ("Read the write after the freeze", making.write_on),
    ("Make a full-server image of the backup", making.make_image),
    (f"Make {proving.COUNT} servers of it, and prove every byte", proving.provision),
    ("Change the OS of one of them", proving.change_os),
    ("Delete the source, build it again, clean up", proving.rebuild),
)
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo and gives its exit status."""
    wanted = _parser().parse_args(arguments)
    request_id = f"demo-{secrets.token_hex(4)}"
    # The channel sends it with each call, so that the services' logs identify the calls of this run.
    structlog.contextvars.bind_contextvars(request_id=request_id)
    screen, record = Screen(request_id), Record()
    # Ctrl-C and `kill` end the demo's services with it.
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell began us with interrupts ignored
        signal.signal(number, signal.default_int_handler)
    try:
        folder = _new_folder(wanted.root, SCALES[wanted.scale], wanted.report)
    except (ToolMissingError, OSError) as problem:
        screen.problem("The demo cannot run", str(problem))
        return 1
    code = _run(wanted, folder, screen, record)
    if wanted.report:
        record.write(wanted.report)
    _clean_up(folder, screen, keep=wanted.keep or code == 1, explain=code == 1)
    _say_the_end(screen, record)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write steps, checks and bytes here, as JSON"
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        default=Path(".recast/demo"),
        help="work in a new folder in this one",
    )
    parser.add_argument("--scale", choices=sorted(SCALES), default="full", help="how large the disks are")
    parser.add_argument("--keep", action="store_true", help="keep that folder at the end")
    parser.add_argument(
        "--break-byte",
        action="store_true",
        help="change one byte of a new server's disk behind Recast's back: the demo must find it, and fail",
    )
    return parser


def _new_folder(root: Path, scale: Scale, report: Path | None) -> Path:
    """A fresh folder, once it is sure that nothing is missing. Raises ToolMissingError, OSError."""
    for program, package in TOOLS.items():
        find_program(program, package)
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.touch()  # better now than after a minute's work
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < scale.free_bytes:
        needs = f"{human_size(scale.free_bytes)} of free space, and {root.resolve()} has {human_size(free)}"
        raise OSError(f"it needs {needs}: use --root, or --scale small")
    return Path(tempfile.mkdtemp(prefix="run-", dir=root)).resolve()


def _run(wanted: argparse.Namespace, folder: Path, screen: Screen, record: Record) -> int:
    screen.title(
        "Recast",
        (
            "The backup of a whole server becomes an image, and the image becomes servers.",
            f"Three services are started for it under {folder}; each ✓ is computed from observed data.",
        ),
    )
    stack = LocalStack(folder / "stack")
    try:
        with screen.busy("starting CSBS, IMS and ECS"):
            stack.start()
        with stack.client(PROJECT) as user, stack.client(PROJECT, "operator") as operator:
            tenant = Tenant(user, operator, screen)
            scene = Scene(SCALES[wanted.scale], folder, tenant, screen, record, break_byte=wanted.break_byte)
            for number, (title, step) in enumerate(STEPS, 1):
                with scene.step(number, title):
                    step(scene)
            record.finished = True
            _print_costs(scene)
    except KeyboardInterrupt:
        # Stopping takes a second: another Ctrl-C must not leave services behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        record.failure = Failure(_step_of(record), "interrupted")
        screen.problem("Interrupted", "stopping the services")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001  # any error is reported with its step
        record.failure = record.failure or Failure(_step_of(record), str(error))
        _print_error(screen, record.failure, error)
    finally:
        stack.stop()
    return 0 if record.ok else 1


def _step_of(record: Record) -> str:
    return record.failure.step if record.failure else "between the steps"


def _print_error(screen: Screen, failure: Failure, error: Exception) -> None:
    if isinstance(error, Refusal):
        screen.refusal(f"Broken off in “{failure.step}”:", error)
    elif isinstance(error, (StackProblem, GuestProblem, ToolMissingError)):
        screen.problem(f"Broken off in “{failure.step}”", str(error))
    else:
        screen.problem(f"Broken off in “{failure.step}”, by a bug", failure.message)
        screen.console.print_exception()


def _print_costs(scene: Scene) -> None:
    def size(count: int) -> str:
        return "" if not count else human_size(count) if count > 0 else f"-{human_size(-count)}"

    steps = scene.record.steps
    rows = [
        (
            f"{number}  {step.name}",
            f"{step.seconds:.2f} s",
            size(cost.logical),
            size(cost.stored),
            size(cost.host),
        )
        for number, (step, cost) in enumerate(zip(steps, scene.costs, strict=True), 1)
    ]
    seconds = sum(step.seconds for step in steps)
    stored, host = (sum(getattr(cost, name) for cost in scene.costs) for name in ("stored", "host"))
    scene.screen.table(
        ("Step", "Time", "Disks dealt with", "Chunk stores", "ECS host"),
        rows,
        ("Together, with the rest", f"{seconds:.2f} s", "", size(stored), size(host)),
    )
    bytes_of = scene.record.measures
    scene.screen.console.print()
    scene.screen.say("backup", sized((bytes_of.logical, "of disks"), (bytes_of.stored, "in the chunk store")))
    scene.screen.say(
        "ten servers",
        sized(
            (proving.COUNT * bytes_of.logical, "of disks"),
            (bytes_of.provisioned, "of their own on the host"),
            (scene.shared_bytes, "of bases that they share"),
        ),
    )


def _clean_up(folder: Path, screen: Screen, *, keep: bool, explain: bool) -> None:
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    stack = LocalStack(folder / "stack")
    screen.console.print()
    screen.say("folder", f"{folder}  (`python -m recast.stack --root {folder / 'stack'}` starts it again)")
    for service in SERVICES if explain else ():
        screen.say(f"{service} log", str(stack.log(service)))
    if explain:
        screen.say("request id", f"{screen.request_id}, in the logs with each call of this run")


def _say_the_end(screen: Screen, record: Record) -> None:
    failed = [check for check in record.checks if not check.ok]
    seconds = sum(step.seconds for step in record.steps)
    if record.ok:
        screen.verdict(f"All {len(record.checks)} checks hold. {seconds:.1f} s.", ok=True)
        return
    for check in failed:
        screen.check(check)
    if record.failure:
        screen.verdict(f"Broken off in “{record.failure.step}”: {record.failure.message}", ok=False)
    else:
        screen.verdict(f"{len(failed)} of {len(record.checks)} checks do not hold.", ok=False)


if __name__ == "__main__":
    sys.exit(main())
