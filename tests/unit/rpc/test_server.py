"""A server's life: its port, its shutdown, its certificates."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic_settings import SettingsConfigDict

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.csbs.v1 import backup_service_pb2_grpc as csbs_grpc
from recast.faults import Kind, RemoteRefusal
from recast.rpc.access import PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import Caller, Signer, Verifier
from recast.rpc.limits import Limits
from recast.rpc.process import server_credentials
from recast.rpc.server import Registration, Server
from recast.rpc.settings import ServiceSettings
from tests.harness.expectations import until

GET = csbs.GetBackupRequest(name="projects/demo/backups/nightly")
HEALTH = health_pb2.HealthCheckRequest()


class Settings(ServiceSettings):
    """A service's settings."""

    model_config = SettingsConfigDict(env_prefix="RECAST_TEST_")


class Holding(csbs_grpc.BackupServiceServicer):
    """Answers GetBackup when its event is set."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()
        self.before_answer: Callable[[], object] = lambda: None

    def GetBackup(self, request: object, context: object) -> csbs.GetBackupResponse:
        """Waits, and answers."""
        self.reached.set()
        self.let_go.wait(60)
        self.before_answer()
        return csbs.GetBackupResponse()


@pytest.fixture
def token(keys: Path) -> Callable[[], str]:
    """A user's token."""
    caller = Caller("me", "demo", "user")
    return lambda: Signer.load(keys / "people.pem").token(caller, now=time.time(), lifetime_seconds=60)


@pytest.fixture
def make(keys: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers, and stops them after the test."""
    made: list[Server] = []

    def server(
        servicer: object, address: str = "127.0.0.1:0", credentials: Any = None, **settings: Any
    ) -> Server:
        registration = Registration(
            "recast.csbs.v1.BackupService",
            csbs_grpc.add_BackupServiceServicer_to_server,
            servicer,
            PEOPLE,
        )
        verifier = Verifier.load(keys / "trusted.json")
        made.append(Server("life", address, verifier, [registration], credentials, **settings))
        return made[-1]

    yield server
    for each in made:
        each.stop(0)


def write_certificate(folder: Path) -> bytes:
    """Writes a new key and its certificate for 127.0.0.1; gives the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recast")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(encoding))
    return certificate.public_bytes(encoding)


def test_two_servers_do_not_share_a_port(make: Callable[..., Server]) -> None:
    """A second server on a port that is taken does not start."""
    first = make(Holding())
    first.start()
    with pytest.raises(RuntimeError):
        make(Holding(), f"127.0.0.1:{first.port}")


def test_a_stopping_server_finishes_its_calls(make: Callable[..., Server], token: Callable[[], str]) -> None:
    """A server that stops answers the calls under way, takes no new ones, and leaves no thread."""
    servicer = Holding()
    server = make(servicer)
    server.start()
    stub = csbs_grpc.BackupServiceStub(connect(f"127.0.0.1:{server.port}", token))
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(stub.GetBackup, GET)
        assert servicer.reached.wait(10)
        other = csbs_grpc.BackupServiceStub(grpc.insecure_channel(f"127.0.0.1:{server.port}"))

        def answer() -> grpc.StatusCode:
            # A connection that the closing port still took is never answered: a short deadline ends its call.
            with pytest.raises(grpc.RpcError) as refused:
                other.GetBackup(GET, timeout=1)
            code: grpc.StatusCode = refused.value.code()
            return code

        assert answer() is grpc.StatusCode.UNAUTHENTICATED
        stopping = pool.submit(server.stop, 50)
        until(lambda: answer() is grpc.StatusCode.UNAVAILABLE)
        assert not call.done()
        servicer.let_go.set()
        assert call.result(10) == csbs.GetBackupResponse()
        stopping.result(10)
    for thread in threading.enumerate():
        if thread.name.startswith("life-rpc"):
            thread.join(10)
    assert not any(thread.name.startswith("life-rpc") for thread in threading.enumerate())


def test_a_server_that_has_not_started_does_not_serve(
    make: Callable[..., Server], token: Callable[[], str]
) -> None:
    """A server answers SERVING after its start, and is not there before."""
    server = make(Holding())
    stub = health_pb2_grpc.HealthStub(connect(f"127.0.0.1:{server.port}", token))
    with pytest.raises(RemoteRefusal) as refused:
        stub.Check(HEALTH, timeout=0.2)
    assert refused.value.kind in {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED}
    server.start()
    assert stub.Check(HEALTH, timeout=10).status == health_pb2.HealthCheckResponse.SERVING


def test_a_renewed_certificate_needs_no_restart(
    make: Callable[..., Server], token: Callable[[], str], tmp_path: Path
) -> None:
    """A certificate that was replaced on disk is the one that the next connection gets."""
    first = write_certificate(tmp_path)
    settings = Settings(
        address="127.0.0.1:0",
        database_url="sqlite://",
        trusted_keys_file=tmp_path / "trusted.json",
        signing_key_file=tmp_path / "test.pem",
        tls_certificate_file=tmp_path / "certificate.pem",
        tls_key_file=tmp_path / "key.pem",
    )
    server = make(Holding(), credentials=server_credentials(settings))
    server.start()

    def serves(trusted: bytes) -> bool:
        credentials = grpc.ssl_channel_credentials(trusted)
        channel = connect(f"127.0.0.1:{server.port}", token, credentials=credentials)
        try:
            health_pb2_grpc.HealthStub(channel).Check(HEALTH, timeout=5)
        except RemoteRefusal as refusal:
            return refusal.kind is not Kind.UNAVAILABLE
        return True

    assert serves(first)
    second = write_certificate(tmp_path)
    assert serves(second)
    assert not serves(first)


def test_an_answer_and_its_row_agree(make: Callable[..., Server], token: Callable[[], str]) -> None:
    """A handler that is amid its write when the server stops ends it, and its client gets the answer."""
    rows: list[str] = []
    servicer = Holding()
    servicer.before_answer = lambda: rows.append("written")
    server = make(servicer)
    server.start()
    stub = csbs_grpc.BackupServiceStub(connect(f"127.0.0.1:{server.port}", token))
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(stub.GetBackup, GET)
        assert servicer.reached.wait(10)
        stopping = pool.submit(server.stop, 10)
        servicer.let_go.set()
        stopping.result(10)
        assert rows == ["written"]
        assert call.result(10) == csbs.GetBackupResponse()


def test_a_handler_longer_than_the_grace_is_waited_for(
    make: Callable[..., Server], token: Callable[[], str]
) -> None:
    """A handler that outlives the grace loses its call, but the server has not stopped before it ends."""
    servicer = Holding()
    server = make(servicer)
    server.start()
    stub = csbs_grpc.BackupServiceStub(grpc.insecure_channel(f"127.0.0.1:{server.port}"))
    with ThreadPoolExecutor(2) as pool:
        metadata = [("authorization", f"Bearer {token()}")]
        call = pool.submit(lambda: stub.GetBackup(GET, metadata=metadata))
        assert servicer.reached.wait(10)
        stopping = pool.submit(server.stop, 0.05)
        with pytest.raises(grpc.RpcError):
            call.result(10)
        assert not stopping.done()
        servicer.let_go.set()
        stopping.result(10)


class Counting(csbs_grpc.BackupServiceServicer):
    """Holds every GetBackup, and answers ListBackups."""

    def __init__(self) -> None:
        self.running = 0
        self.let_go = threading.Event()
        self._lock = threading.Lock()

    def GetBackup(self, request: object, context: object) -> csbs.GetBackupResponse:
        """Waits, and answers."""
        with self._lock:
            self.running += 1
        self.let_go.wait(20)
        return csbs.GetBackupResponse()

    def ListBackups(self, request: object, context: object) -> csbs.ListBackupsResponse:
        """Answers."""
        return csbs.ListBackupsResponse()


def test_a_project_has_its_share_of_the_threads(make: Callable[..., Server], keys: Path) -> None:
    """A project's calls past its threads wait, past its calls are refused; other projects are answered."""
    servicer = Counting()
    server = make(servicer, limits=Limits(threads=3, threads_of_a_project=2, calls_of_a_project=4))
    server.start()

    def stub(project: str) -> csbs_grpc.BackupServiceStub:
        caller = Caller("me", project, "user")
        token = Signer.load(keys / "people.pem").token(caller, now=time.time(), lifetime_seconds=60)
        return csbs_grpc.BackupServiceStub(connect(f"127.0.0.1:{server.port}", lambda: token))

    mine, other = stub("demo"), stub("other")
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(mine.GetBackup, GET) for _ in range(5)]
        refused = until(lambda: [each for each in calls if each.done()], "one to be refused")
        problem = refused[0].exception()
        assert isinstance(problem, RemoteRefusal)
        assert (problem.reason, problem.facts["caller"]) == ("TOO_MANY_CALLS", "project demo")
        assert (problem.retry_seconds, problem.facts["limit"]) == (1.0, "4")
        until(lambda: servicer.running == 2, "the threads to be taken")
        other.ListBackups(csbs.ListBackupsRequest(parent="projects/other"))
        assert servicer.running == 2
        servicer.let_go.set()
        assert [each.exception() for each in calls if each is not refused[0]] == [None] * 4
    mine.ListBackups(csbs.ListBackupsRequest(parent="projects/demo"))


def test_a_cancelled_call_s_handler_runs_to_its_end(
    make: Callable[..., Server], token: Callable[[], str]
) -> None:
    """A cancel by the client does not cut the transaction of its call."""
    ended = threading.Event()
    servicer = Holding()
    servicer.before_answer = ended.set
    server = make(servicer)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = csbs_grpc.BackupServiceStub(channel)
        call = stub.GetBackup.future(GET, metadata=[("authorization", f"Bearer {token()}")])
        assert servicer.reached.wait(10)
        call.cancel()
    servicer.let_go.set()
    assert ended.wait(10)


def test_reflection_can_be_switched_off(make: Callable[..., Server]) -> None:
    """A server without reflection does not serve its contracts."""
    server = make(Holding(), reflection=False)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as refused:
            list(call(iter([]), timeout=10))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_watch_sees_the_shutdown(make: Callable[..., Server]) -> None:
    """A watch of the health of a server gets NOT_SERVING before the server ends; an unknown service is
    SERVICE_UNKNOWN to a watch, NOT_FOUND to a check.
    """
    server = make(Holding())
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        unknown = health_pb2.HealthCheckRequest(service="unknown")
        with pytest.raises(grpc.RpcError) as refused:
            stub.Check(unknown)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        other = stub.Watch(unknown, timeout=20)
        assert next(other).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        other.cancel()
        watch = stub.Watch(HEALTH, timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.stop(0.2)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
