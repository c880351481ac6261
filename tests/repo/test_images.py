"""The content of the images, and their configuration in docker-compose.yml."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from recast.contracts.services import PORTS, SERVICES
from recast.stack.secrets import NAMES

ROOT = Path(__file__).resolve().parents[2]
NEEDS_QEMU_IMG = {"ims", "ecs"}


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("needs", ROOT / "docker" / "needs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


needs = _loaded()


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    """Each of the three."""
    return str(request.param)


@pytest.fixture
def written(service: str, tmp_path: Path) -> Path:
    """The folder that the image of a service is made of."""
    needs.main(f"services/{service}", tmp_path)
    return tmp_path


def locked(lock: str) -> dict[str, str]:
    """The packages of a lock file, each with its lines."""
    return {name: entry for name, entry, _ in needs.entries(lock)}


def test_an_image_s_lock_is_a_part_of_the_lock(written: Path) -> None:
    """Every line of an image's lock, versions and hashes, stands so in requirements.lock."""
    whole = locked((ROOT / "requirements.lock").read_text())
    for name in ("requirements.lock", "build.lock"):
        part = locked((written / name).read_text())
        assert part.items() <= whole.items()
        assert "".join(part.values()) == (written / name).read_text()


def test_an_image_s_lock_is_complete(written: Path) -> None:
    """Every requirement of a locked package, by its own metadata, is locked too, with
    the requested extras.
    """
    part = locked((written / "requirements.lock").read_text())
    lacking = [
        (name, required.name)
        for name in part
        for required in map(Requirement, requires(name) or ())
        if not required.marker or required.marker.evaluate({"extra": "", "python_version": "3.13"})
        if needs.normal(required.name) not in part
    ]
    assert lacking == []
    assert {"psycopg-binary", "cryptography"} <= part.keys()  # from extras


def test_an_image_holds_what_its_service_needs_alone(service: str, written: Path) -> None:
    """No tools of development, and no library that only another service's libs are built on."""
    part = locked((written / "requirements.lock").read_text())
    assert not {"pytest", "mypy", "ruff", "hatchling", "typer", "grpcio-tools"} & part.keys()
    assert ("pytsk3" in part) == (service == "ims")
    assert {each.name for each in (written / "projects").iterdir()} == {"libs", "contracts", service}


SOURCES = [(ROOT / "services" / service / "src", service) for service in SERVICES]


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """The imports of each module of ours, by its dotted name; whole dotted names."""
    found = {}
    for folder, within in ((ROOT / "libs", "recast"), (ROOT / "libs/contracts", "recast"), *SOURCES):
        for path in (folder / within).rglob("*.py"):
            name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
            found[name] = {each for node in ast.walk(ast.parse(path.read_text())) for each in _imported(node)}
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names] if node.level == 0 else []
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_an_image_holds_every_package_that_is_imported(
    service: str, written: Path, imports: dict[str, set[str]]
) -> None:
    """Every import of the service's modules, and of the modules of ours that these import, is locked."""
    reached, waiting = set(), [name for name in imports if name.split(".")[0] == service]
    others = set()
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for each in imports[name]:
            parts = each.split(".")
            known = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
            ours = [name for name in known if name in imports]
            waiting += ours
            if not ours and parts[0] not in (*sys.stdlib_module_names, "recast", "buf"):
                others.add(parts[0])
    provided = packages_distributions()
    locked_here = locked((written / "requirements.lock").read_text())
    lacking = {
        each for each in others if not {needs.normal(name) for name in provided[each]} & locked_here.keys()
    }
    assert lacking == set()
    assert {"grpc", "sqlalchemy"} <= others


def test_a_package_that_is_not_locked_is_refused() -> None:
    """A name that the lock file does not have is an error, not a smaller image."""
    with pytest.raises(ValueError, match="no-such-package"):
        needs.part_of((ROOT / "requirements.lock").read_text(), ["grpcio", "no-such-package"])


def test_the_dockerfiles_are_one() -> None:
    """The three differ by name, port and description, and by qemu-img where the service runs it."""
    shapes = set()
    for service, port in PORTS.items():
        text = (ROOT / "services" / service / "Dockerfile").read_text()
        installed = re.search(r"# .*qemu-img\.\nRUN apt-get (?:.*\\\n)+.*\n", text)
        assert bool(installed) == (service in NEEDS_QEMU_IMG)
        text = text.replace(installed[0], "") if installed else text
        text = re.sub(r'description=".*"', "", text).replace(str(port), "PORT")
        shapes.add(re.sub(rf"(?i)(?<![a-z]){service}(?![a-z])", "SERVICE", text))
    assert len(shapes) == 1


# docker-compose.yml, as Compose itself reads it.


@cache
def compose(*profiles: str) -> dict[str, Any]:
    """The project with these profiles, or with those of .env; in an empty environment."""
    program = Path(sys.executable).parent / "docker-compose"
    chosen = [argument for profile in profiles for argument in ("--profile", profile)]
    done = subprocess.run(
        [program, "--project-directory", ROOT, *chosen, "config", "--format", "json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    config: dict[str, Any] = json.loads(done.stdout)
    return config


EVERYTHING = ("local", "scale")


def test_a_profile_is_one_installation() -> None:
    """`up` alone starts one of each; `--profile scale` none of those."""
    assert set(compose()["services"]) == set(SERVICES)
    scaled = compose("scale")["services"]
    assert set(scaled) == {"postgres", "s3", "csbs-replica", "ims-replica", "ecs-a", "ecs-b"}
    assert [scaled[f"{each}-replica"]["deploy"]["replicas"] for each in ("csbs", "ims")] == [2, 2]


def test_containers_may_do_little() -> None:
    """Each has a read-only root, no capability and no way to one, ports on loopback, and no fixed name."""
    for name, each in compose(*EVERYTHING)["services"].items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert {port["host_ip"] for port in each.get("ports", ())} <= {"127.0.0.1"}, name
        assert "container_name" not in each, name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & each.keys(), name


@pytest.mark.fault("FAULT-LIMITS")
def test_a_container_has_limits() -> None:
    """Each has at most so much memory, so many processes and threads, and so long a log."""
    for name, each in compose(*EVERYTHING)["services"].items():
        assert 0 < int(each["mem_limit"]) <= 4 << 30, name
        assert 0 < each["pids_limit"] <= 1024, name
        assert each["logging"] == {
            "driver": "json-file",
            "options": {"max-size": "20m", "max-file": "5"},
        }, name


def test_no_secret_stands_in_an_environment() -> None:
    """Keys, passwords and URLs that hold one come by files."""
    for name, each in compose(*EVERYTHING)["services"].items():
        for variable, value in each.get("environment", {}).items():
            is_secret = re.search(r"KEY|PASSWORD|CREDENTIALS|SECRET", variable)
            assert not is_secret or value.startswith("/run/secrets/"), (name, variable)
            assert "@" not in value, (name, variable)


def test_each_secret_is_made_and_used() -> None:
    """`make secrets` makes the secrets that the file names, and people's key, which no container is given."""
    project = compose(*EVERYTHING)
    files = {name: Path(each["file"]).name for name, each in project["secrets"].items()}
    assert set(files.values()) | {"people.pem"} == set(NAMES)
    given = {secret["source"] for each in project["services"].values() for secret in each["secrets"]}
    assert given == set(files)


def test_a_service_is_given_its_own_secrets_alone() -> None:
    """No service gets another's signing key, store key or database."""
    for name, each in compose(*EVERYTHING)["services"].items():
        own = name.partition("-")[0]
        secrets = {secret["source"] for secret in each["secrets"]}
        others = {s for s in secrets for other in SERVICES if s.startswith(other) and other != own}
        assert name == "postgres" or others == set(), name


@pytest.mark.fault("FAULT-N24")
@pytest.mark.parametrize("service", SERVICES)
def test_a_busy_host_makes_no_service_unhealthy(service: str) -> None:
    """A probe, a process of its own, may take half a minute, and six in a row must fail: three minutes."""
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    [(timeout, retries)] = re.findall(
        r"^HEALTHCHECK .*--timeout=(\d+)s .*--retries=(\d+)", text, re.MULTILINE
    )
    waits = sum(int(each) for each in re.findall(r"-(?:connect|rpc)-timeout=(\d+)s", text))
    assert int(timeout) >= 30
    assert int(timeout) * int(retries) >= 180
    assert 20 <= waits < int(timeout)  # the probe ends by itself, with its reason


@pytest.mark.parametrize(
    ("profile", "suffix", "hosts"), [("local", "", ["ecs"]), ("scale", "-replica", ["ecs-a", "ecs-b"])]
)
@pytest.mark.fault("FAULT-STORES")
def test_the_lists_of_stores_are_the_peers_stores(profile: str, suffix: str, hosts: list[str]) -> None:
    """ECS opens the stores of CSBS and IMS and no other, IMS that of CSBS."""
    services = compose(profile)["services"]
    stores = {
        each: services[f"{each}{suffix}"]["environment"][f"RECAST_{each.upper()}_STORE_URL"]
        for each in ("csbs", "ims")
    }
    for host in hosts:
        listed = services[host]["environment"]["RECAST_ECS_PEER_STORE_URLS"]
        assert listed.split() == list(stores.values())
    assert services[f"ims{suffix}"]["environment"]["RECAST_IMS_PEER_STORE_URLS"] == stores["csbs"]
