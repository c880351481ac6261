"""The command as a process: an interrupt during the imports, output that cannot be written or encoded."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recast.faults import Kind, RemoteRefusal
from recast.ims.v1.image_pb2 import Image
from recast.ims.v1.image_service_pb2 import GetImageResponse

pytestmark = pytest.mark.fault("FAULT-N20")

RECAST = [sys.executable, "-c", "from recast.client.entry import main; main()"]
# A shell that runs the tests in the background has them ignore SIGINT.
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
INTERRUPTS = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


def _environment(services: Any, **more: str) -> dict[str, str]:
    path = os.pathsep.join([*filter(None, [more.pop("first", "")]), *sys.path])
    return os.environ | services.environment | {"PYTHONPATH": path} | more


@pytest.mark.parametrize(
    ("program", "imported"),
    [
        ("from recast.client.entry import main; main()", "typer"),
        ("import runpy; runpy.run_module('recast.stack', run_name='__main__')", "grpc"),
        ("import runpy; runpy.run_module('recast.stack', run_name='__main__')", "rich"),
    ],
    ids=["recast", "make up", "make up, later"],
)
def test_an_interrupt_during_the_imports_is_quiet(
    program: str, imported: str, services: Any, tmp_path: Path
) -> None:
    """Ctrl-C while the program is imported ends it by the signal, without a traceback."""
    (tmp_path / f"{imported}.py").write_text(INTERRUPTS)
    environment = _environment(services, first=str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", HEARS + program], env=environment, capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize(
    "arguments", ["image get debian", "image get debian -o json", "image get debian -o name", "--help"]
)
def test_an_answer_that_cannot_be_written_is_one_line(arguments: str, services: Any) -> None:
    """On a full disk the command prints one line and fails: nothing is not taken for an answer."""
    services.answers["ImageService.GetImage"] = GetImageResponse(
        image=Image(name="projects/demo/images/debian")
    )
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*RECAST, *arguments.split()],
            env=_environment(services),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (
        1,
        "recast: the answer cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_gets_the_letters_that_it_has(encoding: str, services: Any) -> None:
    """A name with other letters is escaped on a terminal without UTF-8; JSON stays JSON of the same value."""
    name = "Übersicht \u5317"
    image = Image(name="projects/demo/images/debian", display_name=name)
    services.answers["ImageService.GetImage"] = GetImageResponse(image=image)

    def out(*more: str) -> str:
        ended = subprocess.run(
            [*RECAST, "image", "get", "debian", *more],
            env=_environment(services, PYTHONIOENCODING=encoding),
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
        return ended.stdout.decode(encoding)

    assert json.loads(out("-o", "json"))["image"]["display_name"] == name
    assert f"display_name  {name.encode(encoding, 'backslashreplace').decode(encoding)}\n" in out()


def test_a_refusal_is_printed_on_any_terminal(services: Any) -> None:
    """A refusal with other letters is printed too, and has its exit code."""
    services.answers["ImageService.GetImage"] = RemoteRefusal(
        Kind.NOT_FOUND, "IMAGE_NOT_FOUND", "no Übersicht"
    )
    ended = subprocess.run(
        [*RECAST, "image", "get", "debian"],
        env=_environment(services, PYTHONIOENCODING="ascii"),
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 3
    assert b"no \\xdcbersicht\n" in ended.stderr
