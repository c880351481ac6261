"""recast.testing, as in its users' tests; and that nothing is left of it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.testing import ContainerNotServing, CsbsContainer, remove_leftovers
from recast.testing.session import engine
from tests.e2e.container_project import again

ROOT = Path(__file__).parents[2]
_BEGIN = """
import sys
from recast.testing import RecastStack
stack = RecastStack().start()
print(stack.name, stack.folder, flush=True)
sys.stdin.readline()
"""


def left_of(stack: str) -> list[str]:
    """The containers, networks and volumes of a stack."""
    label = {"label": f"recast.testing.stack={stack}"}
    with engine() as client:
        found = [
            *client.containers.list(all=True, filters=label),
            *client.networks.list(filters=label),
            *client.volumes.list(filters=label),
        ]
    return [each.name for each in found]


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process, with a stack of its own until it gets a line."""
    child = subprocess.Popen(
        [sys.executable, "-c", _BEGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield child
    child.kill()
    child.wait()
    remove_leftovers()


def begun(other: subprocess.Popen[str]) -> tuple[str, Path]:
    """The name and the folder of the other process's stack."""
    assert other.stdout
    name, folder = other.stdout.readline().split()
    assert len(left_of(name)) == 3 + 1 + 4  # containers, a network, volumes
    return name, Path(folder)


def test_leftovers_of_a_killed_process_are_removed_by_the_next(other: subprocess.Popen[str]) -> None:
    """A stack stays while its process lives, and goes once that was killed, its secrets too."""
    name, folder = begun(other)
    remove_leftovers()
    assert len(left_of(name)) == 8
    other.send_signal(signal.SIGKILL)
    other.wait()
    remove_leftovers()
    assert left_of(name) == []
    assert not folder.exists()


def test_a_process_that_forgets_to_stop_its_stack_leaves_nothing(other: subprocess.Popen[str]) -> None:
    """A process that ends without having stopped its stack removes it on its way out."""
    name, folder = begun(other)
    other.communicate("\n", timeout=60)
    assert other.returncode == 0
    assert left_of(name) == []
    assert not folder.exists()


def test_the_readme_s_example_is_a_test_that_passes(tmp_path: Path) -> None:
    """The example of the README runs as it stands there."""
    [example] = re.findall(
        r"```python\n(.*?)```", (ROOT / "libs/recast/testing/README.md").read_text(), flags=re.DOTALL
    )
    (tmp_path / "test_example.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_one_service_alone_serves() -> None:
    """A service without peers answers calls that need none, also after a kill, on its port."""
    with CsbsContainer() as alone:
        request = csbs.ListBackupsRequest(parent="projects/demo")
        with alone.client("demo") as recast:
            assert list(recast.backups.ListBackups(request).backups) == []
            before = alone.endpoint
            alone.kill()
            alone.start_again()
            assert alone.endpoint == before
            assert list(again(lambda: recast.backups.ListBackups(request)).backups) == []
        name, folder = alone.stack, alone.folder
        assert len(left_of(name)) == 1
        assert folder.exists()
    assert left_of(name) == []
    assert not folder.exists()


def test_a_service_that_does_not_come_up_is_reported_and_removed() -> None:
    """A container that ends at its start is an error with the end of its log, and nothing of it is left."""
    broken = CsbsContainer(environment={"RECAST_CSBS_DATABASE_URL": "nonsense"})
    with pytest.raises(ContainerNotServing, match=r"csbs ended; the end of its log:\n.*URL cannot be read"):
        broken.start()
    assert left_of(broken.stack) == []
    assert not broken.folder.exists()
