"""The rule for display names in a refusal is that of the contract's comment."""

from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2

from csbs.domain import backup
from ecs.domain import server
from ims.domain import image
from recast.contracts import descriptor_set
from recast.faults import Refusal


def _comment(message: str, field: str) -> str:
    """The comment of a field, by the full name of its message."""
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
        for i, each in enumerate(file.message_type):
            if f"{file.package}.{each.name}" == message:
                [number] = [j for j, one in enumerate(each.field) if one.name == field]
                return comments[4, i, 2, number]
    raise AssertionError(message)


@pytest.mark.fault("FAULT-N15")
@pytest.mark.parametrize(
    ("message", "domain"),
    [
        ("recast.csbs.v1.Backup", backup),
        ("recast.ims.v1.Image", image),
        ("recast.ecs.v1.Server", server),
        ("recast.ecs.v1.Disk", server),
    ],
)
def test_a_refused_name_is_told_the_rule_of_the_contract(message: str, domain: ModuleType) -> None:
    """The refusal and the contract have one sentence, which names the scripts, spaces and the length."""
    assert f"{domain.DISPLAY_NAME}." in _comment(message, "display_name")
    with pytest.raises(Refusal) as refused:
        domain.check_texts("\N{ROCKET}", "")
    assert f"must be {domain.DISPLAY_NAME}" in str(refused.value)


@pytest.mark.fault("FAULT-N15")
@pytest.mark.parametrize(
    ("name", "backups", "images", "servers"),
    [
        ("web image", False, True, False),
        ("web.image", False, True, True),
        ("Übersicht_\u5317-1", True, True, True),
        ("a" * 128, True, True, True),
        ("a" * 129, True, False, False),
        ("a" * 256, False, False, False),
        (" web", False, False, False),
        ("", False, False, False),
    ],
)
def test_the_sentences_are_the_rules(name: str, backups: bool, images: bool, servers: bool) -> None:
    """What each sentence allows is taken, and nothing else."""
    for domain, is_allowed in ((backup, backups), (image, images), (server, servers)):
        try:
            domain.check_texts(name, "")
            was_allowed = True
        except Refusal:
            was_allowed = False
        assert was_allowed == is_allowed, domain.__name__
