"""Server reflection with comments.

The stock servicer serves descriptors from generated code, which carry no comments. This one serves the
descriptor set that protoc wrote with source info, under both v1 and v1alpha, whose messages are the same on
the wire.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2 as messages

VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


class CommentedReflection:
    """Answers from a descriptor set, and for services that it lacks (health) from generated code."""

    def __init__(self, descriptor_set: bytes, services: Sequence[str]) -> None:
        self._services = sorted(services)
        self._files: dict[str, bytes] = {}
        self._dependencies: dict[str, list[str]] = {}
        self._symbols: dict[str, str] = {}
        self._extensions: dict[tuple[str, int], str] = {}
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
            self._add(file)

    def _add(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._files[file.name] = file.SerializeToString()
        self._dependencies[file.name] = list(file.dependency)
        prefix = f"{file.package}." if file.package else ""
        for message in file.message_type:
            self._add_message(prefix, message, file.name)
        for service in file.service:
            self._symbols[prefix + service.name] = file.name
            for method in service.method:
                self._symbols[f"{prefix}{service.name}.{method.name}"] = file.name
        for enum in file.enum_type:
            self._symbols[prefix + enum.name] = file.name
        for extension in file.extension:
            self._symbols[prefix + extension.name] = file.name
            self._extensions[extension.extendee.lstrip("."), extension.number] = file.name

    def _add_message(self, prefix: str, message: descriptor_pb2.DescriptorProto, file: str) -> None:
        self._symbols[prefix + message.name] = file
        for field in message.field:
            self._symbols[f"{prefix}{message.name}.{field.name}"] = file
        for enum in message.enum_type:
            self._symbols[f"{prefix}{message.name}.{enum.name}"] = file
        for nested in message.nested_type:
            self._add_message(f"{prefix}{message.name}.", nested, file)

    def handlers(self) -> list[Any]:
        """The handlers of both versions."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.ServerReflectionInfo,
            messages.ServerReflectionRequest.FromString,
            messages.ServerReflectionResponse.SerializeToString,
        )
        return [
            grpc.method_handlers_generic_handler(version, {"ServerReflectionInfo": handler})
            for version in VERSIONS
        ]

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[messages.ServerReflectionRequest], context: object
    ) -> AsyncIterator[messages.ServerReflectionResponse]:
        """Answers each request of the stream in turn; an idle stream holds no thread."""
        async for request in requests:
            response = self._answer(request)
            response.valid_host = request.host
            response.original_request.CopyFrom(request)
            yield response

    def _answer(self, request: messages.ServerReflectionRequest) -> messages.ServerReflectionResponse:
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            listed = [messages.ServiceResponse(name=name) for name in self._services]
            return messages.ServerReflectionResponse(
                list_services_response=messages.ListServiceResponse(service=listed)
            )
        if kind == "file_by_filename":
            return self._with_dependencies(lambda: request.file_by_filename)
        if kind == "file_containing_symbol":
            return self._with_dependencies(lambda: self._file_of(request.file_containing_symbol))
        if kind == "all_extension_numbers_of_type":
            # grpcurl sends this for every message in an Any, and does not print the message after an error.
            extendee = request.all_extension_numbers_of_type
            numbers = sorted(number for extended, number in self._extensions if extended == extendee)
            return messages.ServerReflectionResponse(
                all_extension_numbers_response=messages.ExtensionNumberResponse(
                    base_type_name=extendee, extension_number=numbers
                )
            )
        if kind == "file_containing_extension":
            wanted = request.file_containing_extension
            return self._with_dependencies(
                lambda: self._extensions[wanted.containing_type, wanted.extension_number]
            )
        return _not_found(f"{kind} is not served")

    def _file_of(self, symbol: str) -> str:
        if symbol not in self._symbols:
            file = descriptor_pb2.FileDescriptorProto()
            descriptor_pool.Default().FindFileContainingSymbol(symbol).CopyToProto(file)
            self._add(file)
        return self._symbols[symbol]

    def _with_dependencies(self, find: Callable[[], str]) -> messages.ServerReflectionResponse:
        """The file and everything that it imports, so that one round trip is enough."""
        wanted: list[str] = []
        try:
            todo = [find()]
            while todo:
                name = todo.pop()
                if name not in wanted:
                    self._load(name)
                    wanted.append(name)
                    todo.extend(self._dependencies[name])
        except KeyError as missing:
            return _not_found(f"{missing} is not known")
        return messages.ServerReflectionResponse(
            file_descriptor_response=messages.FileDescriptorResponse(
                file_descriptor_proto=[self._files[name] for name in wanted]
            )
        )

    def _load(self, name: str) -> None:
        if name not in self._files:
            file = descriptor_pb2.FileDescriptorProto()
            descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
            self._add(file)


def _not_found(text: str) -> messages.ServerReflectionResponse:
    return messages.ServerReflectionResponse(
        error_response=messages.ErrorResponse(
            error_code=grpc.StatusCode.NOT_FOUND.value[0], error_message=text
        )
    )
