"""The rules of every field of every request: no control character in any text of any RPC."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from recast.client.cli.call import methods
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.ecs.v1 import disk_service_pb2 as ecs
from recast.faults import RequestInvalid
from recast.rpc.field_rules import check_message

REQUESTS = {method.input_type.full_name: method.input_type for method in methods().values()}


def texts_of(kind: Descriptor, depth: int = 3) -> Iterator[list[Any]]:
    """The path of every text of a message, its messages included, as field descriptors."""
    for field in kind.fields:
        if field.type == field.TYPE_STRING:
            yield [field]
        elif field.type == field.TYPE_MESSAGE and depth:
            yield from ([field, *rest] for rest in texts_of(field.message_type, depth - 1))


def with_text(kind: Descriptor, path: list[Any], text: str) -> tuple[Message, str]:
    """A message that has the text in the field at the path, and the path as a refusal names it."""
    message: Any = message_factory.GetMessageClass(kind)()
    holder, names = message, []
    for field in path:
        value = getattr(holder, field.name)
        names.append(f"{field.name}[0]" if field.is_repeated else field.name)
        if field.type == field.TYPE_STRING:
            if field.is_repeated:
                value.append(text)
            else:
                setattr(holder, field.name, text)
        else:
            holder = value.add() if field.is_repeated else value
            holder.SetInParent()
    return message, ".".join(names)


TEXTS = [(name, path) for name, kind in REQUESTS.items() for path in texts_of(kind)]


def test_the_requests_have_texts() -> None:
    """The descriptors list the texts of every request."""
    assert len(TEXTS) > 100


@pytest.mark.parametrize("character", ["\0", "\x1b", "\n", "\x7f", "\x9b"])
@pytest.mark.fault("FAULT-CONTROL-CHARACTERS")
def test_a_control_character_is_refused_in_every_text(character: str) -> None:
    """A text with a control character is refused, with the path of its field."""
    unnamed = []
    for name, path in TEXTS:
        if character == "\n" and path[-1].name == "description":
            continue  # the field's own rule decides
        request, expected = with_text(REQUESTS[name], path, f"a{character}b")
        with pytest.raises(RequestInvalid) as refused:
            check_message(request)
        # Protobuf names a repeated field whose items break a rule with their number, or without it.
        if expected not in {each.field for each in refused.value.fields}:
            unnamed.append(f"{name}: {expected} not in {[each.field for each in refused.value.fields]}")
    assert unnamed == []


@pytest.mark.parametrize("text", ["é", "名前", "a b", "\u202e", "😀", "\xa0"])
def test_any_other_character_is_for_the_fields_own_rules(text: str) -> None:
    """A text of letters, marks or symbols breaks no rule of all texts."""
    for name, path in TEXTS:
        request, expected = with_text(REQUESTS[name], path, text)
        assert "control character" not in problem_of(request), expected


def problem_of(request: Message) -> str:
    """The text of the refusal of a request; empty when it is not refused."""
    try:
        check_message(request)
    except RequestInvalid as refused:
        return refused.text
    return ""


@pytest.mark.parametrize(
    ("request_", "field", "sentence"),
    [
        (
            csbs.CreateBackupRequest(parent="projects/demo", backup_id="UPPER"),
            "backup_id",
            "must be an id: 1 to 63 of a-z, 0-9 and -, and does not begin with -",
        ),
        (
            csbs.ListBackupsRequest(parent="projects/a b"),
            "parent",
            "must look like projects/{project}; an id",
        ),
        (
            csbs.GetBackupRequest(name="nightly"),
            "name",
            "must look like projects/{project}/backups/{backup};",
        ),
        (
            ecs.CreateDiskRequest(parent="projects/demo", image="x"),
            "image",
            "must look like projects/{project}/images/{image};",
        ),
    ],
)
@pytest.mark.fault("FAULT-N14")
def test_a_pattern_is_said_in_words(request_: Message, field: str, sentence: str) -> None:
    """The refusal of an id or a name says what an id is; it shows no regular expression."""
    with pytest.raises(RequestInvalid) as refused:
        check_message(request_)
    described = {each.field: each.description for each in refused.value.fields}
    assert described[field].startswith(sentence)
    assert "regex" not in refused.value.text


def test_no_pattern_of_the_contracts_is_shown() -> None:
    """For no text of any request a refusal shows a regular expression."""
    for name, path in TEXTS:
        request, _ = with_text(REQUESTS[name], path, "No Id/")
        assert "regex" not in problem_of(request), name
