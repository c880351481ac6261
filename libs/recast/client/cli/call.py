"""`recast call`: any method of the contracts, found by name in their descriptors."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from recast.client.cli.arguments import ArgumentInvalid
from recast.client.cli.command import command
from recast.client.cli.session import Session
from recast.contracts import descriptor_set
from recast.contracts.services import Service, services_serving
from recast.csbs.v1 import backup_service_pb2
from recast.ecs.v1 import (
    backup_source_service_pb2,
    disk_service_pb2,
    image_source_service_pb2,
    server_service_pb2,
)
from recast.imagelock.v1 import image_eligibility_service_pb2, image_lock_service_pb2
from recast.ims.v1 import image_service_pb2, provisioning_service_pb2

_MODULES: tuple[Any, ...] = (
    backup_service_pb2,
    image_eligibility_service_pb2,
    image_lock_service_pb2,
    image_service_pb2,
    provisioning_service_pb2,
    server_service_pb2,
    disk_service_pb2,
    backup_source_service_pb2,
    image_source_service_pb2,
    operations_pb2,
)
# The service that may call a method which people may not: the default of its token.
_CALLERS: Mapping[str, Service] = {
    "ImageLockService": "ims",
    "ImageSourceService": "ims",
    "ProvisioningService": "ecs",
    "BackupSourceService": "csbs",
}
_OPERATOR_METHODS = ("GetDiskConnection",)
# An upload may be slow; other calls have the channel's deadline.
_STREAM_SECONDS = 600.0


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the command."""
    command(parent, name, help=help_line, panel=panel)(call)


def methods() -> dict[str, MethodDescriptor]:
    """Every method of the contracts, by `Service.Method`."""
    services = [each for module in _MODULES for each in module.DESCRIPTOR.services_by_name.values()]
    return {f"{service.name}.{method.name}": method for service in services for method in service.methods}


def call(
    session: Session,
    method: Annotated[str, typer.Argument(metavar="[SERVICE.METHOD]", show_default=False)] = "",
    message: Annotated[
        str, typer.Argument(metavar="[JSON]", help="The request; @FILE, or - for stdin.")
    ] = "{}",
    service: Annotated[
        Service | None, typer.Option("--service", "-s", help="The service, for Operations.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print the example of its comment; call nothing.")
    ] = False,
) -> None:
    """Without a method, lists them all. Full names and a slash are accepted too. A streaming method takes
    several messages.

    \b
    recast call BackupService.GetBackup '{"name": "projects/demo/backups/nightly"}'
    recast call recast.csbs.v1.BackupService/ListBackups --example
    recast call Operations.ListOperations '{"name": "projects/demo"}' --service csbs
    """
    if not method:
        session.out.print("\n".join(methods()), highlight=False)
        return
    found = _find(method)
    if example:
        session.out.print(_example(found), markup=False, highlight=False, soft_wrap=True)
        return
    requests = list(_requests(found, message))
    target = _target(found, service)
    session.show_json(_invoke(session, found, target, requests))


def _find(text: str) -> MethodDescriptor:
    parts = re.split(r"[./]", text.strip("/"))
    known = methods()
    # The method alone is unique: no two services have one of the same name.
    whole = next((name for name in known if name.endswith(f".{parts[-1]}")), "") if len(parts) == 1 else ""
    found = known.get(whole or ".".join(parts[-2:]))
    if not found:
        alike = [each for each in known if parts[-1].lower() in each.lower()][:5]
        raise ArgumentInvalid(
            "method", f"{text!r} is not known; {', '.join(alike) or 'recast call lists them all'}"
        )
    return found


def _target(method: MethodDescriptor, chosen: Service | None) -> Service:
    """The service that serves a method, by its package; each serves Operations."""
    if chosen:
        return chosen
    serving = services_serving(method.full_name)
    if len(serving) > 1:
        raise ArgumentInvalid("--service", f"is needed for {method.name}: {', '.join(serving)}")
    return serving[0]


def _requests(method: MethodDescriptor, text: str) -> Iterator[Message]:
    try:
        source = (
            sys.stdin.read() if text == "-" else Path(text[1:]).read_text() if text.startswith("@") else text
        )
        make = message_factory.GetMessageClass(method.input_type)
        for each in _documents(source):
            yield json_format.ParseDict(each, make())
    except (json_format.ParseError, ValueError, OSError) as problem:
        raise ArgumentInvalid("message", f"cannot be read: {problem}") from None


def _documents(text: str) -> Iterator[Any]:
    """The concatenated JSON values of a text."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        yield value
        rest = rest[end:].lstrip()


def _invoke(session: Session, method: MethodDescriptor, target: Service, requests: list[Message]) -> Message:
    own = method.containing_service
    role = "operator" if method.name in _OPERATOR_METHODS else "user"
    streaming = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(streaming)
    path = f"/{own.full_name}/{method.name}"
    answer = message_factory.GetMessageClass(method.output_type)
    codec = {"request_serializer": _serialized, "response_deserializer": answer.FromString}
    with session.recast_for(role, _CALLERS.get(own.name)) as recast:
        channel: Any = recast.channel(target)
        if streaming.client_streaming:
            return channel.stream_unary(path, **codec)(iter(requests), timeout=_STREAM_SECONDS)  # type: ignore[no-any-return]
        if len(requests) != 1:
            raise ArgumentInvalid("message", f"must be one request, not {len(requests)}")
        return channel.unary_unary(path, **codec)(requests[0])  # type: ignore[no-any-return]


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _example(method: MethodDescriptor) -> str:
    """The example request in the comment of a method."""
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        for number, service in enumerate(file.service):
            names = [each.name for each in service.method]
            if (
                f"{file.package}.{service.name}" != method.containing_service.full_name
                or method.name not in names
            ):
                continue
            path = [6, number, 2, names.index(method.name)]  # service and method, by their field numbers
            for location in file.source_code_info.location:
                found = re.search(r"Example: (\{.*\})", location.leading_comments)
                if list(location.path) == path and found:
                    return found.group(1)
    raise ArgumentInvalid("method", f"{method.full_name} has no example")
