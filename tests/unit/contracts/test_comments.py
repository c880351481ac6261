"""The examples in the contracts' comments, as the parsers of JSON read them."""

import json
import re

import pytest
from google.protobuf import descriptor_pb2, field_mask_pb2, json_format, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default

# The generated modules register the messages of the examples.
from recast.client.cli.call import methods
from recast.contracts import descriptor_set


def _comments() -> dict[str, str]:
    """The comment of each method, by its full name."""
    found = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
        for i, service in enumerate(file.service):
            for j, method in enumerate(service.method):
                found[f"{file.package}.{service.name}.{method.name}"] = comments.get((6, i, 2, j), "")
    return found


COMMENTS = _comments()
# What is held, by the method that holds it and the one that releases it.
HOLDS = {
    "LockBackup": "ReleaseLock",
    "ConfirmLock": "ReleaseLock",
    "PinImage": "UnpinImage",
    "HoldServer": "FreeServer",
    "FreezeServer": "ThawServer",
}


def _masks(message: Descriptor, given: dict[str, object]) -> list[str]:
    """The fields of an example that are field masks: grpcurl 1.8 reads another form than proto3 JSON."""
    found = []
    for name, value in given.items():
        kind = message.fields_by_name[name].message_type
        if kind is None:
            continue
        if kind.full_name == field_mask_pb2.FieldMask.DESCRIPTOR.full_name:
            found.append(name)
        elif isinstance(value, dict):
            found += _masks(kind, value)
    return found


@pytest.mark.fault("FAULT-N04")
@pytest.mark.parametrize("name", COMMENTS)
def test_an_example_reads_the_same_in_every_client(name: str) -> None:
    """Each RPC, of Operations too, has an example that proto3 JSON reads, without a field mask."""
    [example] = re.findall(r"^ Example: (\{.*\})$", COMMENTS[name], re.MULTILINE)
    service, _, method = name.rpartition(".")
    request = Default().FindServiceByName(service).FindMethodByName(method).input_type
    json_format.ParseDict(json.loads(example), message_factory.GetMessageClass(request)())
    assert _masks(request, json.loads(example)) == []


def test_every_method_has_a_comment() -> None:
    """The methods that the command knows are those with comments."""
    assert {".".join(name.split(".")[-2:]) for name in COMMENTS} == set(methods())


@pytest.mark.fault("FAULT-N23")
@pytest.mark.parametrize("holding", HOLDS)
def test_an_example_that_holds_names_its_release(holding: str) -> None:
    """The comment says what its example leaves behind, and the releasing method's comment refers to it."""
    by_method = {name.rpartition(".")[2]: " ".join(text.split()) for name, text in COMMENTS.items()}
    assert "The example leaves" in by_method[holding] or "It leaves" in by_method[holding]
    assert re.search(r"The example (releases|ends) .* of (\w+)'s example", by_method[HOLDS[holding]])
