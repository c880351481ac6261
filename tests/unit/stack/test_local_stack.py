"""A stack starts, stops and reports errors."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recast.client import SERVICES, Recast, Settings
from recast.client.tokens import token_source
from recast.rpc.identity import Caller, Verifier
from recast.stack import FolderInUse, LocalStack, PortInUse, ServiceNotServing
from recast.stack.layout import Layout

Environment = dict[str, str]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _logged_settings(stack: LocalStack, service: Any) -> list[dict[str, Any]]:
    """The settings that a service logged, once for each start."""
    entries = [json.loads(line) for line in stack.log(service).read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == "settings"]


@pytest.fixture(scope="module")
def stack(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A running stack."""
    with LocalStack(tmp_path_factory.mktemp("stack"), environment=environment) as running:
        yield running


def test_services_get_their_settings(stack: LocalStack) -> None:
    """Each of the three serves on a port of its own, with its own settings and those of its peers."""
    root, ends = str(stack.keys.parent), stack.endpoints
    logged = {service: _logged_settings(stack, service)[0] for service in SERVICES}
    assert {service: logged[service]["pid"] for service in SERVICES} == {
        each: stack.pid(each) for each in SERVICES
    }
    assert len(set(ends.values())) == 3
    assert logged["csbs"]["settings"] == {
        "RECAST_CSBS_ADDRESS": ends["csbs"],
        "RECAST_CSBS_DATABASE_URL": f"sqlite:///{root}/data/csbs.db",
        "RECAST_CSBS_TRUSTED_KEYS_FILE": f"{root}/keys/trusted.json",
        "RECAST_CSBS_SIGNING_KEY_FILE": f"{root}/keys/csbs.pem",
        "RECAST_CSBS_LOG_FORMAT": "json",
        "RECAST_CSBS_STORE_URL": f"file://{root}/store/csbs",
        "RECAST_CSBS_STORE_KEY_FILE": f"{root}/keys/csbs-store.key",
        "RECAST_CSBS_ECS_TARGET": ends["ecs"],
    }
    assert logged["ims"]["settings"]["RECAST_IMS_STORE_URL"] == f"file://{root}/store/ims"
    assert logged["ims"]["settings"]["RECAST_IMS_STAGING_DIR"] == f"{root}/data/ims-staging"
    assert logged["ims"]["settings"]["RECAST_IMS_CSBS_TARGET"] == ends["csbs"]
    assert logged["ims"]["settings"]["RECAST_IMS_ECS_TARGET"] == ends["ecs"]
    assert logged["ecs"]["settings"]["RECAST_ECS_DATA_DIR"] == f"{root}/data/ecs"
    assert logged["ecs"]["settings"]["RECAST_ECS_HOST"] == "local"
    assert logged["ecs"]["settings"]["RECAST_ECS_IMS_TARGET"] == ends["ims"]


def test_secrets_are_the_owners(stack: LocalStack) -> None:
    """Keys can be read by their owner alone, and each store has its own key of 32 bytes."""
    secrets = ["people.pem", "csbs.pem", "ims.pem", "ecs.pem", "csbs-store.key", "ims-store.key"]
    assert {stat.S_IMODE((stack.keys / name).stat().st_mode) for name in secrets} == {0o600}
    store_keys = {(stack.keys / f"{service}-store.key").read_bytes() for service in ("csbs", "ims")}
    assert [len(key) for key in store_keys] == [32, 32]


def test_store_keys_stay(tmp_path: Path) -> None:
    """Laying out a folder again retains its stores' keys; one that was half written is written anew."""
    layout = Layout(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ims-store.new").write_bytes(b"half")
    layout.create()
    first = layout.store_key("ims").read_bytes()
    layout.create()
    assert (layout.store_key("ims").read_bytes(), len(first)) == (first, 32)


def test_client_is_trusted_by_the_stack(stack: LocalStack) -> None:
    """The stack's environment is complete for the command, and its tokens are of trusted keys."""
    given = stack.environment("shop")
    with stack.client("shop", "operator") as client, Recast.from_environment(given) as other:
        assert client.channel("ims")
        assert other.channel("ims")
    token = token_source(Settings.from_environment(given | {"USER": "ada"}), given["RECAST_PROJECT"])()
    assert given["RECAST_IMS_ENDPOINT"] == stack.endpoints["ims"]
    assert Verifier.load(stack.keys / "trusted.json").verify(token) == Caller("ada", "shop", "user")


def test_folder_in_use_is_refused(stack: LocalStack) -> None:
    """Two stacks do not run on one folder at once."""
    with pytest.raises(FolderInUse, match="another stack runs on"):
        LocalStack(stack.keys.parent).start()


def test_killed_service_comes_back_on_its_port(stack: LocalStack) -> None:
    """A killed service is gone at once; restarted, it has its port and log again; the others live on."""
    before = {service: stack.pid(service) for service in SERVICES}
    stack.kill("ims")
    assert not _lives(before["ims"])
    assert (stack.exit_code("ims"), stack.is_serving("ims")) == (-9, False)
    stack.restart("ims", {"RECAST_IMS_MODE": "strict"})
    assert (stack.exit_code("ims"), stack.is_serving("ims")) == (None, True)
    first, second = _logged_settings(stack, "ims")
    assert (stack.pid("csbs"), stack.pid("ecs")) == (before["csbs"], before["ecs"])
    assert first["settings"] | {"RECAST_IMS_MODE": "strict"} == second["settings"]


def test_stopped_stack_leaves_nothing(environment: Environment, tmp_path: Path) -> None:
    """When a stack has stopped none of its services is left, not even one that ignores SIGTERM."""
    stack = LocalStack(tmp_path, environment=environment | {"STUBBORN": "ecs"}, stop_seconds=0.5).start()
    pids = [stack.pid(service) for service in SERVICES]
    stack.stop()
    assert not any(_lives(pid) for pid in pids)
    stack.stop()


def test_port_in_use_is_refused_before_anything_starts(environment: Environment, tmp_path: Path) -> None:
    """A port in use is named, with the service that needs it, and no service is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = LocalStack(tmp_path, ports=dict.fromkeys(SERVICES, port), environment=environment)
        with pytest.raises(PortInUse, match=f"port {port}, which csbs needs, is in use"):
            stack.start()
    assert not stack.log("csbs").exists()


def test_the_port_of_a_killed_service_stays_reserved(stack: LocalStack) -> None:
    """No other process can bind the port of a service that was killed; when the stack stops it is free."""
    port = int(stack.endpoints["ims"].rpartition(":")[2])
    stack.kill("ims")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    stack.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()


def test_service_that_dies_at_once_is_reported_with_its_log(environment: Environment, tmp_path: Path) -> None:
    """A service that ends while starting is named with the errors of its log, and nothing is left running."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ims.log").write_text("of an earlier run\n")
    stack = LocalStack(tmp_path, environment=environment | {"BROKEN": "ims"})
    with pytest.raises(ServiceNotServing) as raised:
        stack.start()
    assert (
        str(raised.value)
        == f"ims ended with code 1; the warnings and errors in {tmp_path}/logs/ims.log:\n  no database"
    )
    assert not any(
        _lives(entry["pid"]) for entry in [*_logged_settings(stack, "csbs"), *_logged_settings(stack, "ecs")]
    )


def test_service_that_does_not_come_up_is_reported(environment: Environment, tmp_path: Path) -> None:
    """A service that does not serve in time is reported, also without a line in its log."""
    stack = LocalStack(tmp_path, environment=environment, start_seconds=0.0)
    with pytest.raises(ServiceNotServing, match=r"csbs did not serve within 0 s; .*csbs\.log has no warning"):
        stack.start()
