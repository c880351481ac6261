"""`recast-health-probe`: a gRPC server's health, with the flags and exit codes of grpc_health_probe.

Run every few seconds in every container, so it imports only gRPC and the health contract.
"""

import argparse
import re
import ssl
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING, INVALID_FLAGS, NO_CONNECTION, RPC_FAILED, NOT_SERVING = range(5)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_QUICK = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_http_proxy", 0),
]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(INVALID_FLAGS, f"error: {message}\n")


class _Version(argparse.Action):
    """Reads the version only when the option is given."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        try:
            installed = version("recast")
        except PackageNotFoundError:  # run from the sources, without being installed
            installed = "uninstalled"
        parser.exit(SERVING, f"{installed}\n")


def _seconds(text: str) -> float:
    """A duration in Go's format: `1s`, `250ms`, `1m30s`. ValueError for anything else, and for 0."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise ValueError(text)
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise ValueError(text)
    return name.strip().lower(), value.strip()


def _flags(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="recast-health-probe", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("-addr", "--addr", help="host:port of the server")
    add("-service", "--service", default="", help="the service to check; empty: the whole server")
    add("-connect-timeout", "--connect-timeout", type=_seconds, default=1.0, help="1s")
    add("-rpc-timeout", "--rpc-timeout", type=_seconds, default=1.0, help="1s")
    add("-tls", "--tls", action="store_true", help="TLS; without it plain text")
    add(
        "-tls-ca-cert",
        "--tls-ca-cert",
        type=Path,
        help="certificates to trust, in PEM (default: the system's)",
    )
    add("-tls-no-verify", "--tls-no-verify", action="store_true", help="accept any certificate")
    add("-tls-server-name", "--tls-server-name", help="the name that the certificate must have")
    add("-user-agent", "--user-agent", default="recast-health-probe")
    add(
        "-rpc-header",
        "--rpc-header",
        type=_header,
        action="append",
        default=[],
        help="`name: value`, repeated",
    )
    add("-v", "--v", action="store_true", help="print the times")
    add("-version", "--version", action=_Version, help="print the version and exit")
    flags = parser.parse_args(arguments)
    if not flags.addr:
        parser.error("-addr is required")
    if not flags.tls:
        for name in ("tls_ca_cert", "tls_no_verify", "tls_server_name"):
            if getattr(flags, name):
                parser.error(f"-{name.replace('_', '-')} goes with -tls")
    if flags.tls_no_verify and (flags.tls_ca_cert or flags.tls_server_name):
        parser.error("-tls-no-verify goes neither with -tls-ca-cert nor with -tls-server-name")
    return flags


def _server_certificate(address: str, timeout: float) -> tuple[bytes, str]:
    """The server's certificate, and a name in it: OSError when there is none.

    gRPC always verifies; so, to accept any certificate, the server's own is fetched first and trusted.
    """
    from cryptography import x509  # noqa: PLC0415  # slow to import, and rarely needed

    host, _, port = address.rpartition(":")
    pem = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=timeout).encode()
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName) + [
            str(each) for each in names.get_values_for_type(x509.IPAddress)
        ]
    except x509.ExtensionNotFound:
        found = [
            str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        ]
    return pem, found[0].replace("*", "any") if found else host


def _channel(flags: argparse.Namespace) -> grpc.Channel:
    """A channel by the flags; OSError when a file cannot be read or the server has no certificate."""
    user_agent = ("grpc.primary_user_agent", flags.user_agent)
    options: list[tuple[str, str | int]] = [*_QUICK, user_agent]
    if not flags.tls:
        return grpc.insecure_channel(flags.addr, options=options)
    roots, name = None, flags.tls_server_name
    if flags.tls_no_verify:
        roots, name = _server_certificate(flags.addr, flags.connect_timeout)
    elif flags.tls_ca_cert:
        roots = flags.tls_ca_cert.read_bytes()
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    return grpc.secure_channel(flags.addr, grpc.ssl_channel_credentials(roots), options=options)


def probe(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code for these flags, and a message. SystemExit for invalid flags."""
    flags = _flags(arguments)
    begun = time.monotonic()
    if flags.tls_ca_cert and not flags.tls_ca_cert.is_file():
        return INVALID_FLAGS, f"error: -tls-ca-cert: there is no file {flags.tls_ca_cert}"
    try:
        channel = _channel(flags)
    except (OSError, ValueError) as problem:  # ValueError: an address without a port
        return NO_CONNECTION, f"failed to connect to {flags.addr}: {problem}"
    with channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=flags.connect_timeout)
        except grpc.FutureTimeoutError:
            return NO_CONNECTION, f"failed to connect to {flags.addr} within {flags.connect_timeout:g} s"
        connected = time.monotonic()
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=flags.service),
                timeout=flags.rpc_timeout,
                metadata=flags.rpc_header,
            )
        except grpc.RpcError as error:
            return RPC_FAILED, f"health rpc failed: {error.code().name}: {error.details()}"
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    times = f" (connected in {connected - begun:.3f} s, answered in {time.monotonic() - connected:.3f} s)"
    code = SERVING if answer.status == health_pb2.HealthCheckResponse.SERVING else NOT_SERVING
    return code, f"status: {state}{times if flags.v else ''}"


def main() -> None:
    """The entry point."""
    code, text = probe(sys.argv[1:])
    (sys.stderr if code else sys.stdout).write(f"{text}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
