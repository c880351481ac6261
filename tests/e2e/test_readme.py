"""A new user's first minutes: the commands of the README, in a copy of the repository."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PROJECT = "recast-e2e-readme"  # always the same: the leftovers of a killed run are removed by the next
_SECTION = re.compile(r"^## In containers\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def commands() -> list[str]:
    """The commands of the README, first for one of each, then for more."""
    [section] = _SECTION.findall((ROOT / "README.md").read_text())
    return _COMMAND.findall(section)


@pytest.fixture(scope="module")
def ports() -> Mapping[str, str]:
    """Another port for each that the README names: its own may be in use."""
    named = ["7101", "7102", "7103", "7111", "7112", "7121", "7122", "7131", "7132"]
    first = _free_range(len(named))
    return {name: str(first + number) for number, name in enumerate(named)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, ports: Mapping[str, str]) -> Iterator["Copy"]:
    """The tracked files, with this environment's programs and wheels: those are not fetched again."""
    folder = tmp_path_factory.mktemp("readme") / "recast"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    for each in Path(sys.prefix).iterdir():
        if each.name != "ready":
            (folder / ".venv" / each.name).symlink_to(each)
    (folder / ".venv/ready").touch()  # it is set up: nothing is installed into the linked environment
    if (ROOT / ".build/wheelhouse").exists():
        shutil.copytree(ROOT / ".build/wheelhouse", folder / ".build/wheelhouse")
    made = Copy(folder, ports)
    made.run(_DOWN)
    yield made
    made.run(_DOWN)


_DOWN = "docker compose --profile local --profile scale down --volumes --timeout 1"


class Copy:
    """The copy, and a shell in it."""

    def __init__(self, folder: Path, ports: Mapping[str, str]) -> None:
        self._folder = folder
        self._ports = ports
        own = {
            "COMPOSE_PROJECT_NAME": _PROJECT,
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            # Secrets are made in the copy: Compose names the folder by it.
            "RECAST_SECRETS": str(folder / ".secrets"),
        }
        named = {"CSBS_PORT": "7101", "IMS_PORT": "7102", "ECS_PORT": "7103"}
        named |= {"ECS_A_PORT": "7131", "ECS_B_PORT": "7132"}
        own |= {f"RECAST_{name}": ports[port] for name, port in named.items()}
        own |= {
            "RECAST_CSBS_PORTS": f"{ports['7111']}-{ports['7112']}",
            "RECAST_IMS_PORTS": f"{ports['7121']}-{ports['7122']}",
        }
        own |= {
            f"RECAST_{service}_ENDPOINT": f"127.0.0.1:{ports[port]}"
            for service, port in (("CSBS", "7101"), ("IMS", "7102"), ("ECS", "7103"))
        }
        self._environment = dict(os.environ) | own

    def run(self, *commands: str) -> str:
        """The output of commands, each of which must succeed; with the other ports."""
        script = re.sub(r"\b71\d\d\b", lambda port: self._ports[port[0]], "\n".join(commands))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.mark.timeout(420)
def test_one_of_each_comes_up_by_the_readme_s_commands(copy: Copy, commands: list[str]) -> None:
    """The README's commands bring three services up, which take the data of the examples."""
    first = commands[: commands.index("recast status") + 1]
    assert first[:2] == ["make images secrets", "docker compose up -d --wait"]
    assert copy.run(*first).count(" SERVING") == 3
    keys = next(each for each in first if each.startswith("export RECAST_KEYS="))
    output = copy.run(keys, "make seed", "recast backup list --output name")
    assert "projects/demo/backups/nightly" in output
    copy.run(_DOWN)


@pytest.mark.timeout(420)
def test_the_scaled_stack_comes_up_by_the_readme_s_commands(copy: Copy, commands: list[str]) -> None:
    """The README's commands for more of each bring them up, and the client reaches them all."""
    more = [each for each in commands if each.startswith("export RECAST_") and "ENDPOINT" in each]
    assert len(more) == 3
    section = (ROOT / "README.md").read_text()
    up = "docker compose --profile scale up -d --wait"
    assert f"`{up}`" in section
    output = copy.run("make images secrets", up, "export RECAST_KEYS=.secrets", *more, "recast status")
    assert output.count(" SERVING") >= 3
    output = copy.run("docker compose --profile scale ps --format '{{.Service}}'")
    assert sorted(output.split()) == [
        "csbs-replica",
        "csbs-replica",
        "ecs-a",
        "ecs-b",
        "ims-replica",
        "ims-replica",
        "postgres",
        "s3",
    ]


def _free_range(count: int) -> int:
    """The first of several free ports in a row."""
    for first in range(17101, 27101, count):
        held: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
    raise AssertionError("no free ports")
