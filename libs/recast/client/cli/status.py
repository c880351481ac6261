"""`recast status`: the health of the three services."""

import json
import os
from collections.abc import Mapping
from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from recast.client.cli.failure import reporting
from recast.client.cli.groups import Command
from recast.client.cli.help_text import reflowed
from recast.client.cli.options import AnswerFormat
from recast.client.cli.render import table
from recast.client.settings import Settings
from recast.contracts.services import SERVICES, Service
from recast.rpc.channel import proxy_options

_PATIENCE_SECONDS = 2.0
_UNAVAILABLE = 5
# One that it alone serves: the health of an endpoint has each of its services.
_SERVED: Mapping[Service, str] = {
    "csbs": "recast.csbs.v1.BackupService",
    "ims": "recast.ims.v1.ImageService",
    "ecs": "recast.ecs.v1.ServerService",
}


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    help_text = reflowed(f"{help_line}\n\n{status.__doc__}")
    parent.command(name, help=help_text, rich_help_panel=panel, cls=Command)(status)


def status(
    output: Annotated[
        AnswerFormat, typer.Option("--output", "-o", help="The output format.")
    ] = AnswerFormat.table,
) -> None:
    """Needs no token; exits with 5 unless all three answer."""
    with reporting(json_wanted=output is AnswerFormat.json):
        endpoints = Settings.from_environment(os.environ).endpoints
    found = {service: health(endpoints[service], service) for service in SERVICES}
    rows = [(service, endpoints[service], found[service]) for service in SERVICES]
    if output is AnswerFormat.json:
        typer.echo(
            json.dumps([dict(zip(("service", "endpoint", "health"), row, strict=True)) for row in rows])
        )
    else:
        Console(soft_wrap=True).print(table(("SERVICE", "ENDPOINT", "HEALTH"), rows), end="")
    if set(found.values()) != {"SERVING"}:
        raise typer.Exit(_UNAVAILABLE)


def health(endpoint: str, service: Service | None = None) -> str:
    """The health of a service, or of any: SERVING, NOT_SERVING, ANOTHER SERVICE there, or UNREACHABLE."""
    with grpc.insecure_channel(endpoint, options=proxy_options(endpoint)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=_SERVED[service] if service else ""),
                timeout=_PATIENCE_SECONDS,
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return "ANOTHER SERVICE"
            return f"UNREACHABLE ({error.code().name})"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
