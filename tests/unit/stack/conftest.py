"""Small programs in the place of the three services: `python -m csbs` finds them before the real ones."""

import os
import sys

import pytest

# Logs its settings and serves health on its address. By an environment variable with its name it is BROKEN
# (ends at once), FALLS (ends at SIGUSR1) or is STUBBORN (ignores SIGTERM).
SERVICE = """
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
import grpc
from grpc_health.v1 import health, health_pb2_grpc

name = os.path.basename(__file__).removesuffix(".py")
if os.environ.get("BROKEN") == name:
    sys.exit("no database")
stopped, fallen = threading.Event(), threading.Event()
if os.environ.get("FALLS") == name:
    signal.signal(signal.SIGUSR1, lambda *_: (fallen.set(), stopped.set()))
signal.signal(signal.SIGTERM, lambda *_: None if os.environ.get("STUBBORN") == name else stopped.set())
settings = {key: value for key, value in os.environ.items() if key.startswith(f"RECAST_{name.upper()}_")}
def log(**entry):
    print(json.dumps(entry), flush=True)

log(level="info", event="settings", settings=settings, pid=os.getpid())
log(level="warning", event="disk is nearly full", free_bytes=7)
server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
server.add_insecure_port(settings[f"RECAST_{name.upper()}_ADDRESS"])
server.start()
stopped.wait()
if fallen.is_set():
    sys.exit("fell over")
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which a stack starts the small programs."""
    folder = tmp_path_factory.mktemp("programs")
    for service in ("csbs", "ims", "ecs"):
        (folder / f"{service}.py").write_text(SERVICE)
    return {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
