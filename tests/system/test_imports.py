"""ImportImage: uploads that are in order, that break, and that are refused."""

import hashlib
import queue
import random
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as pb
from tests.harness.expectations import file_digest, refused, state_of, until
from tests.harness.project import Tenant

MIB = 1 << 20
BAD = Kind.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw file of 2.5 MiB."""
    path = tmp_path_factory.mktemp("noise") / "noise.raw"
    path.write_bytes(random.Random(7).randbytes(5 * MIB // 2))
    return path


def qcow2(path: Path, *options: str, size: str = "1M") -> Path:
    """Makes a qcow2 file."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size], check=True)
    return path


class Upload:
    """One upload, sent by hand: a header, then pieces of (offset, length) of a file."""

    def __init__(
        self, tenant: Tenant, path: Path, image_id: str, changes: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.tenant = tenant
        self.content = path.read_bytes()
        self.header = tenant.header(image_id, path, kind="DATA_DISK")
        for field, value in changes.items():
            self.header.ClearField(field)
            self.header.MergeFrom(pb.ImportImageHeader(**{field: value}))

    def piece(self, offset: int, length: int) -> pb.ImportImageRequest:
        """A piece of the file."""
        data = self.content[offset : offset + length]
        return pb.ImportImageRequest(chunk=pb.ImportImageChunk(offset=offset, data=data))

    def first(self) -> pb.ImportImageRequest:
        """The header as a message."""
        return pb.ImportImageRequest(header=self.header)

    def send(self, *pieces: tuple[int, int]) -> pb.ImportImageResponse:
        """Sends the header and these pieces."""
        return self.stream(self.first(), *(self.piece(*each) for each in pieces))

    def stream(self, *messages: pb.ImportImageRequest) -> pb.ImportImageResponse:
        """Sends these messages."""
        return self.tenant.recast.images.ImportImage(iter(messages))

    def received(self) -> int:
        """The number of received bytes in the image's message."""
        return self.tenant.get_image(self.header.image_id).uploaded_bytes

    def finish(self) -> image_pb2.Image:
        """Sends the whole file and waits for the image."""
        pieces = [(offset, MIB) for offset in range(0, len(self.content), MIB)]
        return self.tenant.result(self.send(*pieces).operation, "ims", image_pb2.Image)


@pytest.mark.rule("R47", "R63")
def test_an_upload_that_ended_early_goes_on_where_it_was(main: Tenant, noise: Path) -> None:
    """An upload cut short is refused with the bytes that came; the same header and the rest complete it, and
    the bytes are whole.
    """
    upload = Upload(main, noise, "resumed", {"sha256": hashlib.sha256(noise.read_bytes()).digest()})
    wanted = {"received_bytes": str(MIB), "size_bytes": str(5 * MIB // 2), "image": main.image("resumed")}
    with refused("UPLOAD_INCOMPLETE", **wanted):
        upload.send((0, MIB))
    assert (state_of(main.get_image("resumed")), upload.received()) == ("CREATING", MIB)
    answer = upload.send((MIB, MIB), (2 * MIB, MIB))
    assert state_of(main.result(answer.operation, "ims", image_pb2.Image)) == "NORMAL"
    main.create_disk("resumed", image_id="resumed")
    assert main.digest(main.disk("resumed")) == file_digest(noise)
    assert upload.received() == 0  # nothing stays in the staging folder


def test_a_piece_that_leaves_a_gap_is_refused(main: Tenant, noise: Path) -> None:
    """A piece that begins behind the received bytes is refused, and earlier bytes stay."""
    upload = Upload(main, noise, "gap")
    with refused("UPLOAD_OUT_OF_ORDER", Kind.OUT_OF_RANGE, offset=str(2 * MIB), received_bytes=str(MIB)):
        upload.send((0, MIB), (2 * MIB, MIB))
    assert upload.received() == MIB
    assert state_of(upload.finish()) == "NORMAL"


def test_overlapping_pieces_add_only_their_new_bytes(main: Tenant, noise: Path) -> None:
    """A piece may repeat received bytes; each byte is taken once, in its place."""
    digest = hashlib.sha256(noise.read_bytes()).digest()
    upload = Upload(main, noise, "overlap", {"sha256": digest})
    answer = upload.send((0, MIB), (0, MIB), (MIB // 2, MIB), (MIB, MIB), (2 * MIB - 512, MIB))
    assert state_of(main.result(answer.operation, "ims", image_pb2.Image)) == "NORMAL"


def test_more_bytes_than_announced_are_refused(main: Tenant, noise: Path) -> None:
    """Bytes beyond the announced size are refused, and none of that piece is taken."""
    upload = Upload(main, noise, "more", {"size_bytes": MIB + 512})
    with refused("UPLOAD_MISMATCH", BAD):
        upload.send((0, MIB), (MIB, MIB))
    assert upload.received() == MIB


def test_another_digest_fails_the_import(main: Tenant, noise: Path) -> None:
    """Bytes that are not those of the announced SHA-256 leave the image in ERROR, holding nothing."""
    upload = Upload(main, noise, "digest", {"sha256": bytes(32)})
    answer = upload.send((0, MIB), (MIB, MIB), (2 * MIB, MIB))
    with refused("UPLOAD_MISMATCH", BAD):
        main.wait(answer.operation, "ims")
    image = main.get_image("digest")
    assert (state_of(image), image.uploaded_bytes) == ("ERROR", 0)
    main.delete_image("digest")


def test_the_header_comes_once_and_first(main: Tenant, noise: Path) -> None:
    """A stream without a header, with two, with a piece before it, or empty, is malformed."""
    upload = Upload(main, noise, "malformed")
    with refused("REQUEST_INVALID", BAD) as seen:
        upload.stream(upload.piece(0, MIB), upload.first())
    assert [each.field for each in seen[0].fields] == ["header"]
    with refused("REQUEST_INVALID", BAD):
        upload.stream()
    with refused("REQUEST_INVALID", BAD):
        upload.stream(pb.ImportImageRequest())
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        main.get_image("malformed")
    with refused("REQUEST_INVALID", BAD):
        upload.stream(upload.first(), upload.piece(0, MIB), upload.first())
    assert upload.received() == MIB


@pytest.mark.parametrize("length", [0, MIB + 1])
def test_a_piece_has_one_byte_to_one_mebibyte(main: Tenant, noise: Path, length: int) -> None:
    """A piece that is empty or larger than 1 MiB breaks its field's rule."""
    upload = Upload(main, noise, f"piece-{length}")
    with refused("REQUEST_INVALID", BAD):
        upload.send((0, length))


def test_a_message_beyond_the_servers_limit_is_refused(main: Tenant, noise: Path) -> None:
    """A message of more than 4 MiB is not taken in."""
    upload = Upload(main, noise, "huge")
    huge = pb.ImportImageRequest(chunk=pb.ImportImageChunk(data=bytes(5 * MIB)))
    with pytest.raises(RemoteRefusal) as caught:
        upload.stream(upload.first(), huge)
    assert caught.value.kind is Kind.RESOURCE_EXHAUSTED


def test_of_two_streams_of_one_upload_one_is_refused(main: Tenant, noise: Path) -> None:
    """While one stream sends an upload another is refused; the first is not disturbed."""
    upload = Upload(main, noise, "streams")
    waiting: queue.Queue[pb.ImportImageRequest | None] = queue.Queue()
    waiting.put(upload.first())
    waiting.put(upload.piece(0, MIB))
    messages: Iterator[pb.ImportImageRequest] = iter(waiting.get, None)
    thread = ThreadPoolExecutor(1)
    answer = thread.submit(main.recast.images.ImportImage, messages)
    until(lambda: _exists(main, "streams") and upload.received() == MIB, "the first piece")
    with refused("IMAGE_BUSY", image=main.image("streams"), state="being uploaded by another stream"):
        upload.send((0, MIB))
    for each in (upload.piece(MIB, MIB), upload.piece(2 * MIB, MIB), None):
        waiting.put(each)
    image = main.result(answer.result().operation, "ims", image_pb2.Image)
    assert state_of(image) == "NORMAL"
    thread.shutdown()


def test_a_finished_upload_sent_again_gets_the_first_answer(main: Tenant, noise: Path) -> None:
    """The header of an upload that is complete, sent again, gets the answer that it got, also when the image
    is deleted.
    """
    upload = Upload(main, noise, "again")
    first = upload.send((0, MIB), (MIB, MIB), (2 * MIB, MIB))
    assert upload.send() == first
    main.wait(first.operation, "ims")
    main.delete_image("again")
    assert upload.send() == first
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        main.get_image("again")


def test_another_header_under_a_known_request_id_is_refused(main: Tenant, noise: Path) -> None:
    """A request id names one upload: another header under it is refused, before and after the upload is
    complete.
    """
    upload = Upload(main, noise, "named-once")
    with refused("UPLOAD_INCOMPLETE"):
        upload.send((0, MIB))
    other = Upload(main, noise, "named-twice", {"request_id": upload.header.request_id})
    with refused("REQUEST_ID_REUSED", BAD):
        other.send((0, MIB))
    upload.finish()
    with refused("REQUEST_ID_REUSED", BAD):
        other.send((0, MIB))


def test_an_unfinished_upload_is_deleted_with_its_bytes(main: Tenant, noise: Path) -> None:
    """An image whose upload is not complete can be deleted; its bytes go with it."""
    upload = Upload(main, noise, "abandoned")
    with refused("UPLOAD_INCOMPLETE"):
        upload.send((0, MIB))
    staging = main.cloud.root / "ims-staging"
    files = {path.name for path in staging.iterdir()}
    main.delete_image("abandoned")
    assert len(files - {path.name for path in staging.iterdir()}) == 1


@pytest.mark.parametrize("kind", [0, 99])
@pytest.mark.rule("R49")
def test_an_unknown_kind_is_refused(main: Tenant, noise: Path, kind: int) -> None:
    """A kind that is missing, or that the contract does not have, is refused and named."""
    upload = Upload(main, noise, f"kind-{kind}", {"image": image_pb2.Image(display_name="x", kind=kind)})
    with refused("IMAGE_KIND_UNSUPPORTED", BAD, rule="R49") as seen:
        upload.send()
    assert [each.field for each in seen[0].fields] == ["image.kind"]


@pytest.mark.rule("R47", "R49")
def test_a_full_server_image_is_not_imported(main: Tenant, noise: Path) -> None:
    """A full-server image is made of a backup; importing one is refused."""
    image = image_pb2.Image(display_name="x", kind=image_pb2.IMAGE_KIND_FULL_SERVER)
    with refused("IMAGE_KIND_UNSUPPORTED", BAD):
        Upload(main, noise, "full", {"image": image}).send()


def test_an_iso_is_raw(main: Tenant, tmp_path: Path) -> None:
    """An ISO image in a qcow2 file is refused."""
    image = image_pb2.Image(display_name="x", kind=image_pb2.IMAGE_KIND_ISO)
    with refused("IMAGE_KIND_UNSUPPORTED", BAD) as seen:
        Upload(main, qcow2(tmp_path / "iso.qcow2"), "iso-qcow2", {"image": image}).send()
    assert [each.field for each in seen[0].fields] == ["disk_format"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parent", "projects/"),
        ("parent", "projects/main/images/x"),
        ("image_id", "Upper"),
        ("image_id", "a" * 64),
        ("image_id", "-dash"),
        ("disk_format", 0),
        ("disk_format", 9),
        ("size_bytes", 0),
        ("size_bytes", -512),
        ("sha256", bytes(33)),
        ("request_id", ""),
        ("request_id", "r" * 65),
    ],
)
def test_a_header_with_a_broken_field_is_refused(
    main: Tenant, noise: Path, field: str, value: object
) -> None:
    """Every field of the header is held against its rule, and the broken one is named."""
    upload = Upload(main, noise, "broken", {field: value})
    with refused("REQUEST_INVALID", BAD) as seen:
        upload.send()
    assert [each.field.split(".")[-1] for each in seen[0].fields] == [field]


@pytest.mark.rule("R59")
def test_nothing_is_imported_without_the_disclaimer(main: Tenant, noise: Path) -> None:
    """An import without the agreement to the Image Disclaimer is refused."""
    with refused("DISCLAIMER_NOT_ACCEPTED", rule="R59"):
        Upload(main, noise, "unread", {"disclaimer_accepted": False}).send()
    with refused("DISCLAIMER_NOT_ACCEPTED", rule="R59"):
        Upload(main, noise, "unread", {"disclaimer_version": "0"}).send()


def _backing(folder: Path) -> Path:
    (folder / "secret").write_bytes(bytes(MIB))
    return qcow2(folder / "backed.qcow2", "-b", str(folder / "secret"), "-F", "raw")


def _data_file(folder: Path) -> Path:
    return qcow2(folder / "split.qcow2", "-o", f"data_file={folder / 'data'}")


def _encrypted(folder: Path) -> Path:
    path = qcow2(folder / "locked.qcow2")
    content = bytearray(path.read_bytes())
    content[32:36] = struct.pack(">I", 2)  # crypt_method: LUKS
    path.write_bytes(content)
    return path


def _raw_as_qcow2(folder: Path) -> Path:
    (folder / "raw.qcow2").write_bytes(bytes(MIB))
    return folder / "raw.qcow2"


def _qcow2_as_raw(folder: Path) -> Path:
    return qcow2(folder / "qcow2.raw")


def _cut(folder: Path) -> Path:
    path = qcow2(folder / "cut.qcow2")
    path.write_bytes(path.read_bytes()[:70_000])
    return path


@pytest.mark.parametrize("make", [_backing, _data_file, _encrypted, _raw_as_qcow2, _qcow2_as_raw, _cut])
def test_a_file_of_another_format_or_with_references_is_refused(
    main: Tenant, tmp_path: Path, make: Any
) -> None:
    """A file that has a backing or a data file, is encrypted, damaged, or of another format leaves its image
    in ERROR.
    """
    path = make(tmp_path)
    image_id = f"refused{make.__name__}".replace("_", "-")
    answer = main.recast.import_image(path, main.header(image_id, path, kind="DATA_DISK"))
    with refused("FILE_REFUSED", BAD):
        main.wait(answer.operation, "ims")
    assert state_of(main.get_image(image_id)) == "ERROR"
    with refused("IMAGE_NOT_NORMAL", state="ERROR"):
        main.create_disk("from-refused", image_id=image_id)
    main.delete_image(image_id)


def _ends_in_header(folder: Path) -> Path:
    path = qcow2(folder / "header.qcow2")
    path.write_bytes(path.read_bytes()[:60])
    return path


def _large(folder: Path) -> Path:
    return qcow2(folder / "large.qcow2", size="101M")


def _no_system(folder: Path) -> Path:
    (folder / "no-system.raw").write_bytes(bytes(MIB))
    return folder / "no-system.raw"


@pytest.mark.fault("FAULT-N19")
@pytest.mark.parametrize("make", [_ends_in_header, _cut, _qcow2_as_raw, _encrypted, _large, _no_system])
def test_a_refused_file_is_named_as_its_sender_names_it(strict: Tenant, tmp_path: Path, make: Any) -> None:
    """The refusal has the display name, and neither a generated id nor the name of a staged file."""
    path = make(tmp_path)
    header = strict.header("", path)
    header.image.display_name = "my old disk"
    answer = strict.recast.import_image(path, header)
    with pytest.raises(RemoteRefusal) as caught:
        strict.wait(answer.operation, "ims")
    assert "my old disk" in caught.value.text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", caught.value.text)


def test_a_disk_beyond_the_limit_is_refused(strict: Tenant, tmp_path: Path) -> None:
    """A small file that holds a disk larger than the service takes leaves its image in ERROR."""
    path = qcow2(tmp_path / "large.qcow2", size="101M")
    answer = strict.recast.import_image(path, strict.header("large", path, kind="DATA_DISK"))
    with refused("VIRTUAL_SIZE_TOO_LARGE", BAD, vendor_code="IMG.0055"):
        strict.wait(answer.operation, "ims")
    assert state_of(strict.get_image("large")) == "ERROR"


def _exists(tenant: Tenant, image_id: str) -> bool:
    try:
        return bool(tenant.get_image(image_id).name)
    except RemoteRefusal:
        return False
