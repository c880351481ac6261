"""The rules of IMS as values: states, kinds, names, uploads, preparation."""

import itertools

import pytest

from ims.domain import image as images
from ims.domain.image import Image, ImageEvent, ImageKind, ImageState
from ims.domain.preparation import Finding, decide_preparation
from ims.domain.refusals import (
    DisclaimerNotAccepted,
    ImageBusy,
    ImageDescriptionInvalid,
    ImageInUse,
    ImageKindUnsupported,
    ImageNameInvalid,
    ImageNotNormal,
    SourceNotConfigured,
    UploadMismatch,
    UploadOutOfOrder,
)
from ims.domain.upload import new_bytes
from recast.ims.v1 import image_pb2


def test_the_states_and_kinds_are_the_contracts() -> None:
    """The domain's states and kinds are those of the contract's enums, by name."""
    for own, contract in ((ImageState, image_pb2.ImageState), (ImageKind, image_pb2.ImageKind)):
        prefix = f"IMAGE_{own.__name__.removeprefix('Image').upper()}_"
        names = {name.removeprefix(prefix) for name in contract.keys()}  # noqa: SIM118  # an enum wrapper is no dict
        assert {each.value for each in own} == names - {"UNSPECIFIED"}


def test_every_state_is_reached_and_deleting_ends() -> None:
    """From CREATING every state is reached, every event happens, and only a failure leads out of DELETING."""
    assert {ImageState.CREATING, *images.TRANSITIONS.values()} == set(ImageState)
    assert {event for _, event in images.TRANSITIONS} == set(ImageEvent)
    leaving = [event for before, event in images.TRANSITIONS if before is ImageState.DELETING]
    assert leaving == [ImageEvent.FAILED]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(ImageState, ImageEvent)))
def test_an_image_advances_by_the_table_alone(state: ImageState, event: ImageEvent) -> None:
    """Every pair of state and event that is not in the table is refused."""
    wanted = images.TRANSITIONS.get((state, event))
    if wanted is not None:
        assert images.advance(Image("i", state), event) is wanted
        return
    with pytest.raises(ImageBusy):
        images.advance(Image("i", state), event)


@pytest.mark.parametrize("state", ImageState)
@pytest.mark.rule("R37")
def test_an_image_is_used_when_it_is_normal(state: ImageState) -> None:
    """Only a NORMAL image is used."""
    if state is ImageState.NORMAL:
        images.decide_use(Image("i", state))
        return
    with pytest.raises(ImageNotNormal):
        images.decide_use(Image("i", state))


def test_every_reader_stands_in_the_way_of_a_deletion() -> None:
    """An image that is read is not deleted, and each reader is named; one that is uploading is abandoned."""
    with pytest.raises(ImageInUse) as caught:
        images.deletion_event(Image("i", ImageState.NORMAL, pins=["a", "b"]))
    assert [each.resource for each in caught.value.violations] == ["a", "b"]
    assert (
        images.deletion_event(Image("i", ImageState.CREATING, is_uploading=True))
        is ImageEvent.UPLOAD_ABANDONED
    )
    assert images.deletion_event(Image("i", ImageState.NORMAL)) is ImageEvent.DELETION_BEGUN


@pytest.mark.rule("R47", "R49")
def test_three_kinds_are_imported_and_an_iso_is_raw() -> None:
    """System disks and data disks are imported in either format, ISO files raw, whole servers not at all."""
    for kind in ("SYSTEM_DISK", "DATA_DISK"):
        assert [images.importable_kind(kind, is_raw) for is_raw in (True, False)] == 2 * [ImageKind(kind)]
    assert images.importable_kind("ISO", True) is ImageKind.ISO
    for kind, is_raw in (
        ("ISO", False),
        ("FULL_SERVER", True),
        ("UNSPECIFIED", True),
        ("99", True),
        ("", True),
    ):
        with pytest.raises(ImageKindUnsupported) as caught:
            images.importable_kind(kind, is_raw)
        assert len(caught.value.fields) == 1


@pytest.mark.parametrize("name", ["x", "web image", "a.b_c-d", "ü", "n" * 128])
@pytest.mark.rule("R54")
def test_well_formed_names_are_taken(name: str) -> None:
    """Letters, digits, spaces within, dots, dashes and underscores make a name of 1 to 128 characters."""
    images.check_texts(name, "")


@pytest.mark.parametrize("name", ["", " x", "x ", "n" * 129, "a/b", "a\tb", "a\n", "<x>"])
@pytest.mark.rule("R54")
def test_malformed_names_are_refused(name: str) -> None:
    """Any other name is refused."""
    with pytest.raises(ImageNameInvalid):
        images.check_texts(name, "")


@pytest.mark.parametrize("text", ["d" * 1025, "<", ">", "\r", "\n"])
@pytest.mark.rule("R58")
def test_malformed_descriptions_are_refused(text: str) -> None:
    """A description has at most 1024 characters, no line break and no angle bracket."""
    images.check_texts("x", "d" * 1024)
    with pytest.raises(ImageDescriptionInvalid):
        images.check_texts("x", text)


@pytest.mark.rule("R59")
def test_the_disclaimer_is_agreed_to() -> None:
    """Without the agreement an image is refused."""
    images.check_disclaimer(True)
    with pytest.raises(DisclaimerNotAccepted):
        images.check_disclaimer(False)


@pytest.mark.parametrize(
    ("offset", "length", "wanted"),
    [
        (10, 5, slice(0, 5)),
        (8, 5, slice(2, 5)),
        (0, 10, slice(10, 10)),
        (0, 4, slice(4, 4)),
        (10, 10, slice(0, 10)),
    ],
)
def test_of_a_piece_only_the_new_bytes_are_taken(offset: int, length: int, wanted: slice) -> None:
    """With 10 of 20 bytes received, the bytes of a piece behind them are taken."""
    assert new_bytes(10, 20, offset, length) == wanted


def test_a_piece_leaves_no_gap_and_stays_within() -> None:
    """A piece that begins behind the received bytes, or reaches past the announced size, is refused."""
    with pytest.raises(UploadOutOfOrder):
        new_bytes(10, 20, 11, 1)
    with pytest.raises(UploadMismatch):
        new_bytes(10, 20, 10, 11)


@pytest.mark.rule("R20", "R21", "R22")
def test_every_missing_required_item_refuses() -> None:
    """Required items that are missing refuse, all at once, when enforced; unknown or
    optional items do not.
    """
    findings = [
        Finding("A", "MISSING", True, "a", "do a"),
        Finding("B", "OK", True, "b", "do b"),
        Finding("C", "UNKNOWN", True, "c", "do c"),
        Finding("D", "MISSING", False, "d", "do d"),
        Finding("E", "MISSING", True, "e", "do e"),
    ]
    with pytest.raises(SourceNotConfigured) as caught:
        decide_preparation("backup", findings, enforce=True)
    assert [(each.reason, each.resource) for each in caught.value.violations] == [
        ("A", "backup"),
        ("E", "backup"),
    ]
    decide_preparation("backup", findings, enforce=False)
    decide_preparation("backup", findings[1:4], enforce=True)
