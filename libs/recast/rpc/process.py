"""A service as a process: logs, metrics, serving until a signal."""

import argparse
import io
import logging
import os
import sys
from typing import Protocol, TextIO, TypeVar, cast

import grpc
import structlog
from prometheus_client import Counter, start_http_server
from pydantic import ValidationError

from recast.rpc.settings import ServiceSettings, problems_text
from recast.rpc.shutdown import ShutdownSignal

log = structlog.get_logger()
S = TypeVar("S", bound=ServiceSettings)


class App(Protocol):
    """A service, as its composition root makes it."""

    port: int

    def start(self) -> None:
        """Starts workers and server."""

    def stop(self) -> None:
        """Stops both; unfinished work resumes after the next start."""


def read_settings(service: str, kind: type[S]) -> S:
    """The settings from environment and `--role`; ends the process when they are invalid.

    It also has every file and folder that the process or a child makes be its owner's alone: the first files
    are made right after.
    """
    os.umask(0o077)
    prefix = kind.model_config["env_prefix"]
    parser = argparse.ArgumentParser(
        prog=f"python -m {service}",
        description=f"Runs {service}; settings are read from the environment, {prefix}*.",
        epilog=f"`python -m {service} move-database --help`: its database moves from SQLite to PostgreSQL.",
    )
    parser.add_argument(
        "--role",
        choices=["all", "api", "worker"],
        help="answer calls, do long-running work, or both (default)",
    )
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as problems:
        sys.exit(problems_text(service, problems))


_LOST = Counter("recast_log_lines_lost_total", "Log lines that could not be written, on a full storage.")


class LogStream(io.TextIOBase):
    """A stream for logs: a line that cannot be written is counted, and fails no call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text, or drops it."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # full, a closed pipe, a closed stream: the log has no other place
            _LOST.inc()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: each line is flushed when it is written."""


def configure_logs(settings: ServiceSettings) -> None:
    """Logs to stdout, one event a line, with the bound request, operation and project."""
    stream = cast(TextIO, LogStream(sys.stdout))
    for_people = settings.log_format == "console"
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if for_people:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()))
    else:
        processors += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=stream, format="%(message)s")


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """TLS by the settings' files, read again at each handshake: a renewed certificate needs no restart."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    certificate_file, key_file = settings.tls_certificate_file, settings.tls_key_file

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(key_file.read_bytes(), certificate_file.read_bytes())]
        )

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration)


def run(service: str, settings: ServiceSettings, app: App) -> None:
    """Serves until SIGTERM or SIGINT, then shuts down in order."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    app.start()
    log.info("serving", service=service, port=app.port)
    ShutdownSignal().wait()
    log.info("stopping", service=service)
    app.stop()
    log.info("stopped", service=service)
