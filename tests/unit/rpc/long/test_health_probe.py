"""The health probe: every exit code, against real servers, as the program that containers run."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

Status = health_pb2.HealthCheckResponse
NAME = "probed.example"


class Health(health_pb2_grpc.HealthServicer):
    """Answers for each service with the test's status; records the call's metadata."""

    def __init__(self, statuses: dict[str, Any]) -> None:
        self.statuses = statuses
        self.seen: dict[str, str | bytes] = {}
        self.held = threading.Event()

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Status:
        """One service's status; `slow` waits until it is released."""
        self.seen = dict(context.invocation_metadata())
        if request.service == "slow":
            self.held.wait(30)
        if request.service not in self.statuses:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return Status(status=self.statuses[request.service])


Serve = Callable[..., str]


@pytest.fixture
def health() -> Iterator[Health]:
    """The whole is SERVING, `sick` is not."""
    servicer = Health({"": Status.SERVING, "sick": Status.NOT_SERVING, "slow": Status.SERVING})
    yield servicer
    servicer.held.set()


@pytest.fixture
def serve(health: Health) -> Iterator[Serve]:
    """Starts a server, by default with `health`, and gives its address."""
    servers = []

    def start(*, with_health: bool = True, credentials: grpc.ServerCredentials | None = None) -> str:
        server = grpc.server(ThreadPoolExecutor(2))
        servers.append(server)
        if with_health:
            health_pb2_grpc.add_HealthServicer_to_server(health, server)
        address = "127.0.0.1:0"
        port = (
            server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        )
        server.start()
        return f"127.0.0.1:{port}"

    yield start
    health.held.set()
    for server in servers:
        server.stop(0).wait()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, grpc.ServerCredentials]:
    """A self-signed certificate that names `NAME`: its file, and the server's credentials with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(pem))
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    return path, grpc.ssl_server_credentials([(secret, made.public_bytes(pem))])


def probe(*flags: object) -> tuple[int, str]:
    """Runs the probe; its exit code, and all that it wrote."""
    command = [sys.executable, "-m", "recast.rpc.health_probe", *map(str, flags)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


def test_a_server_that_serves_is_0(serve: Serve) -> None:
    """SERVING ends with 0, for flags of one dash and of two, with `=` and without."""
    address = serve()
    assert probe(f"-addr={address}") == (0, "status: SERVING\n")
    assert probe("--addr", address, "-connect-timeout=2s", "-rpc-timeout", "1m30s")[0] == 0
    code, text = probe("-addr", address, "-v")
    assert (code, "connected in" in text) == (0, True)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ((), "-addr is required"),
        (("-addr=127.0.0.1:1", "-no-such-flag"), "-no-such-flag"),
        (("-addr=127.0.0.1:1", "-connect-timeout=soon"), "-connect-timeout"),
        (("-addr=127.0.0.1:1", "-rpc-timeout=0s"), "-rpc-timeout"),
        (("-addr=127.0.0.1:1", "-rpc-header=nameless"), "-rpc-header"),
        (("-addr=127.0.0.1:1", "-tls-no-verify"), "-tls-no-verify goes with -tls"),
        (("-addr=127.0.0.1:1", "-tls", "-tls-no-verify", "-tls-server-name=x"), "goes neither"),
        (("-addr=127.0.0.1:1", "-tls", "-tls-ca-cert=/no/such/file"), "there is no file"),
    ],
)
def test_wrong_flags_are_1(flags: tuple[str, ...], problem: str) -> None:
    """Flags that are missing, unknown, unreadable or do not go together end with 1, and are named."""
    code, text = probe(*flags)
    assert (code, problem in text) == (1, True), text


def test_no_listener_is_2() -> None:
    """A port without a listener ends with 2, within the given time."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        code, text = probe(f"-addr=127.0.0.1:{held.getsockname()[1]}", "-connect-timeout=300ms")
    assert (code, "within 0.3 s" in text) == (2, True), text


def test_a_silent_listener_is_2() -> None:
    """A port that takes the connection and never answers ends with 2, with TLS and without."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"-addr=127.0.0.1:{silent.getsockname()[1]}"
        assert probe(address, "-connect-timeout=300ms")[0] == 2
        assert probe(address, "-tls", "-tls-no-verify", "-connect-timeout=300ms")[0] == 2


def test_an_unknown_service_is_3(serve: Serve) -> None:
    """A failed call ends with 3, and prints its failure."""
    code, text = probe(f"-addr={serve()}", "-service=stranger")
    assert (code, text) == (3, "health rpc failed: NOT_FOUND: unknown service\n")


def test_a_server_without_health_is_3(serve: Serve) -> None:
    """A server that does not know the health service ends with 3."""
    code, text = probe(f"-addr={serve(with_health=False)}")
    assert (code, "UNIMPLEMENTED" in text) == (3, True), text


def test_a_slow_answer_is_3(serve: Serve) -> None:
    """An answer that does not come in time ends with 3."""
    code, text = probe(f"-addr={serve()}", "-service=slow", "-rpc-timeout=300ms")
    assert (code, "DEADLINE_EXCEEDED" in text) == (3, True), text


def test_a_sick_service_is_4(serve: Serve) -> None:
    """NOT_SERVING ends with 4, whatever the status of the whole server."""
    address = serve()
    assert probe(f"-addr={address}", "-service=sick") == (4, "status: NOT_SERVING\n")
    assert probe(f"-addr={address}")[0] == 0


def test_headers_and_user_agent_are_sent(serve: Serve, health: Health) -> None:
    """The server sees each header and the user agent."""
    assert probe(f"-addr={serve()}", "-rpc-header=X-One: 1", "-rpc-header=two:2", "-user-agent=me")[0] == 0
    assert (health.seen["x-one"], health.seen["two"]) == ("1", "2")
    assert str(health.seen["user-agent"]).startswith("me ")


def test_tls_is_checked(serve: Serve, certificate: tuple[Path, grpc.ServerCredentials]) -> None:
    """With the certificate and its name it is 0; with another name, without trust or without TLS it is 2."""
    path, credentials = certificate
    address = f"-addr={serve(credentials=credentials)}"
    trusting = (address, "-tls", f"-tls-ca-cert={path}")
    assert probe(*trusting, f"-tls-server-name={NAME}") == (0, "status: SERVING\n")
    assert probe(*trusting, "-tls-server-name=another.example")[0] == 2
    assert probe(*trusting)[0] == 2
    assert probe(address, "-tls", f"-tls-server-name={NAME}")[0] == 2
    assert probe(address)[0] == 2


def test_tls_without_verification(serve: Serve, certificate: tuple[Path, grpc.ServerCredentials]) -> None:
    """With -tls-no-verify any certificate does; a server without TLS does not."""
    _, credentials = certificate
    assert probe(f"-addr={serve(credentials=credentials)}", "-tls", "-tls-no-verify")[0] == 0
    assert probe(f"-addr={serve()}", "-tls", "-tls-no-verify")[0] == 2


def test_the_version_is_0() -> None:
    """-version needs no address."""
    code, text = probe("-version")
    assert (code, len(text.split())) == (0, 1)


def test_it_imports_little() -> None:
    """Run every few seconds, it loads neither our settings nor cryptography nor pydantic."""
    program = "import sys, recast.rpc.health_probe; print({'cryptography', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
