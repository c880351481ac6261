"""The rules of IMS as values: states, kinds, names, uploads, preparation."""

import itertools

import pytest

from ims.domain import image as images
from ims.domain.content import Content, content_warnings, decide_content
from ims.domain.image import Image, ImageEvent, ImageKind, ImageState
from ims.domain.preparation import Finding, decide_preparation, preparation_warnings
from ims.domain.refusals import (
    DisclaimerNotAccepted,
    ImageBusy,
    ImageContentMismatch,
    ImageDescriptionInvalid,
    ImageIdTaken,
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
    """Required items that are missing refuse, all at once, when enforced; optional items,
    and unknown ones where others were read, do not.
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


UNREADABLE = [Finding("SYSTEM_READABLE", "UNKNOWN", True, "the disk holds xfs, which is not read", "")]
HALF_READ = [
    Finding("A", "OK", True, "a", ""),
    Finding("B", "UNKNOWN", True, "/b is damaged", ""),
    Finding("C", "UNKNOWN", True, "/b is damaged", ""),
    Finding("D", "UNKNOWN", False, "d", ""),
]
BLIND = [Finding(check, "UNKNOWN", True, "the journal is not read", "") for check in "AB"]


@pytest.mark.fault("FAULT-W05")
@pytest.mark.rule("R20", "R22")
@pytest.mark.parametrize(
    ("findings", "refuse_unknown", "refused"),
    [
        (UNREADABLE, False, ["SYSTEM_READABLE"]),
        (UNREADABLE, True, ["SYSTEM_READABLE"]),
        (BLIND, False, ["A", "B"]),
        ([*BLIND, Finding("E", "OK", False, "e", "")], False, ["A", "B"]),
        (HALF_READ, False, []),
        (HALF_READ, True, ["B", "C"]),
        ([*HALF_READ, Finding("E", "MISSING", True, "e", "do e")], False, ["E"]),
        ([*HALF_READ, Finding("E", "MISSING", True, "e", "do e")], True, ["E", "B", "C"]),
        ([Finding("E", "MISSING", True, "e", "do e"), *BLIND], False, ["E"]),
        ([], True, []),
    ],
)
def test_unknown_checks_refuse_where_nothing_was_read(
    findings: list[Finding], refuse_unknown: bool, refused: list[str]
) -> None:
    """`allow` refuses a source of which every required check is unknown, `refuse` one with any."""
    decide_preparation("backup", findings, enforce=False, refuse_unknown=refuse_unknown)
    if not refused:
        decide_preparation("backup", findings, enforce=True, refuse_unknown=refuse_unknown)
        return
    with pytest.raises(SourceNotConfigured) as caught:
        decide_preparation("backup", findings, enforce=True, refuse_unknown=refuse_unknown)
    assert [each.reason for each in caught.value.violations] == refused
    assert all(finding.detail in caught.value.text for finding in findings if finding.check in refused)


@pytest.mark.fault("FAULT-W05", "FAULT-N10")
def test_the_refusal_of_what_is_unknown_claims_nothing() -> None:
    """A source that could not be read is not called unprepared, and no order to mend it is given."""
    with pytest.raises(SourceNotConfigured) as caught:
        decide_preparation("backup", UNREADABLE, enforce=True)
    assert "is not known to be prepared" in caught.value.text
    assert [each.description for each in caught.value.violations] == ["the disk holds xfs, which is not read"]


@pytest.mark.fault("FAULT-W05", "FAULT-N10")
@pytest.mark.parametrize(
    ("findings", "wanted"),
    [
        (
            UNREADABLE,
            ["all required checks are unknown: SYSTEM_READABLE (the disk holds xfs, which is not read)"],
        ),
        (BLIND, ["all required checks are unknown: A, B (the journal is not read)"]),
        (HALF_READ, ["2 required checks are unknown: B, C (/b is damaged)"]),
        (
            [*HALF_READ[:2], Finding("E", "MISSING", True, "no e", "")],
            ["1 required check is unknown: B (/b is damaged)", "1 required check is not met: E (no e)"],
        ),
        ([Finding("A", "OK", True, "a", ""), Finding("D", "UNKNOWN", False, "d", "")], []),
    ],
)
def test_warnings_are_words(findings: list[Finding], wanted: list[str]) -> None:
    """An image carries what is unknown or missing in a sentence each, with every reason once."""
    assert preparation_warnings(findings) == wanted


@pytest.mark.fault("FAULT-W10")
@pytest.mark.rule("R66")
@pytest.mark.parametrize(
    ("kind", "holds_system", "optical_format", "is_taken"),
    [
        (ImageKind.SYSTEM_DISK, True, "", True),
        (ImageKind.SYSTEM_DISK, None, "", True),
        (ImageKind.SYSTEM_DISK, None, "iso9660", True),
        (ImageKind.SYSTEM_DISK, False, "", False),
        (ImageKind.SYSTEM_DISK, False, "iso9660", False),
        (ImageKind.ISO, False, "iso9660", True),
        (ImageKind.ISO, None, "udf", True),
        (ImageKind.ISO, True, "", False),
        (ImageKind.ISO, None, "", False),
        (ImageKind.DATA_DISK, False, "", True),
        (ImageKind.DATA_DISK, True, "", True),
        (ImageKind.DATA_DISK, None, "udf", True),
    ],
)
def test_the_content_is_of_the_kind(
    kind: ImageKind, holds_system: bool | None, optical_format: str, is_taken: bool
) -> None:
    """An ISO is an optical disc's content, a system disk may hold a system; a data disk is anything."""
    content = Content(holds_system, optical_format, "the disk holds swap")
    if is_taken:
        decide_content("my disk", kind, content)
        return
    with pytest.raises(ImageContentMismatch) as caught:
        decide_content("my disk", kind, content)
    assert "my disk" in caught.value.text


@pytest.mark.fault("FAULT-W10")
@pytest.mark.rule("R66")
def test_a_system_on_a_data_disk_is_a_warning() -> None:
    """Only a data disk that holds an operating system is warned of, by the system's name."""
    (warning,) = content_warnings(ImageKind.DATA_DISK, Content(True, "", "Debian"))
    assert "Debian" in warning
    assert content_warnings(ImageKind.DATA_DISK, Content(None, "", "xfs")) == []
    assert content_warnings(ImageKind.SYSTEM_DISK, Content(True, "", "Debian")) == []


@pytest.mark.fault("FAULT-W07")
def test_the_id_of_an_image_is_free_when_its_creation_failed() -> None:
    """Only an image in ERROR that holds nothing leaves its id to another."""
    images.decide_replacement(Image("i", ImageState.ERROR))
    taken = [Image("i", each) for each in ImageState if each is not ImageState.ERROR]
    for image in (*taken, Image("i", ImageState.ERROR, holds_content=True)):
        with pytest.raises(ImageIdTaken):
            images.decide_replacement(image)
