"""Uploading a file as an image, over connections that break."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from recast.faults import Kind, Refusal, RemoteRefusal, Unavailable
from recast.ims.v1.image_pb2 import Image
from recast.ims.v1.image_service_pb2 import GetImageResponse, ImportImageHeader, ImportImageResponse
from recast.rpc.status import status_from_refusal

MIB = 1 << 20
CONTENT = b"".join(bytes([number]) * MIB for number in range(5)) + b"rest"


class UploadIncomplete(Refusal):
    """As IMS raises it."""

    reason = "UPLOAD_INCOMPLETE"
    message = "{received_bytes} bytes came"


class UploadOutOfOrder(Refusal):
    """As IMS raises it."""

    kind = Kind.OUT_OF_RANGE
    reason = "UPLOAD_OUT_OF_ORDER"
    message = "expected {received_bytes}"


@dataclass
class BreakingImport:
    """An ImportImage that retains the received bytes, and breaks each stream of `breaks`
    after so many pieces.
    """

    breaks: list[tuple[int, type[Refusal]]]
    received: bytearray = field(default_factory=bytearray)
    streams: list[int | None] = field(default_factory=list)

    def __call__(self, requests: Iterator[Any], context: grpc.ServicerContext) -> ImportImageResponse:
        """The handler."""
        pieces, refusal = self.breaks.pop(0) if self.breaks else (1000, Unavailable)
        header = next(requests).header
        self.streams.append(None)
        for number, each in enumerate(requests):
            if number == 0:
                self.streams[-1] = each.chunk.offset
            if number == pieces:
                self._refuse(refusal, context)
            if each.chunk.offset != len(self.received):
                self._refuse(UploadOutOfOrder, context)
            self.received += each.chunk.data
        if len(self.received) < header.size_bytes:
            self._refuse(UploadIncomplete, context)
        return ImportImageResponse(image=Image(name=f"{header.parent}/images/{header.image_id}"))

    def _refuse(self, refusal: type[Refusal], context: grpc.ServicerContext) -> None:
        given = refusal(problem="broken", received_bytes=len(self.received))
        if refusal is Unavailable:  # a connection that breaks carries no facts
            given = refusal(problem="broken")
        context.abort_with_status(rpc_status.to_status(status_from_refusal(given, "ims.recast")))

    def image(self, requests: Iterator[Any], context: grpc.ServicerContext) -> GetImageResponse:
        """GetImage while the upload is under way."""
        list(requests)
        return GetImageResponse(image=Image(uploaded_bytes=len(self.received)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of five pieces and a bit."""
    path = tmp_path / "disk.raw"
    path.write_bytes(CONTENT)
    return path


def _header(image_id: str = "disk") -> ImportImageHeader:
    return ImportImageHeader(parent="projects/demo", image_id=image_id, request_id="upload-1")


@pytest.mark.parametrize("refusal", [Unavailable, UploadIncomplete], ids=lambda each: each.__name__)
def test_upload_goes_on_where_it_broke(
    refusal: type[Refusal], recast: Any, services: Any, file: Path
) -> None:
    """After a broken stream the upload goes on after the received bytes, with the same request id."""
    fake = BreakingImport([(2, refusal), (1, refusal)])
    services.answers |= {"ImageService.ImportImage": fake, "ImageService.GetImage": fake.image}
    reported: list[tuple[int, int]] = []
    answer = recast.import_image(file, _header(), lambda sent, total: reported.append((sent, total)))
    assert answer.image.name == "projects/demo/images/disk"
    assert bytes(fake.received) == CONTENT
    assert fake.streams[-3:] == [0, 2 * MIB, 3 * MIB]
    assert reported[-1] == (len(CONTENT), len(CONTENT))
    headers = [call.requests[0].header for call in services.called("ImageService.ImportImage")]
    assert {(each.request_id, each.size_bytes) for each in headers} == {("upload-1", len(CONTENT))}


def test_upload_without_an_id_learns_its_offset_from_the_refusal(
    recast: Any, services: Any, file: Path
) -> None:
    """Without an image id the offset to go on at is learned from UPLOAD_OUT_OF_ORDER."""
    fake = BreakingImport([(3, Unavailable)])
    services.answers["ImageService.ImportImage"] = fake
    recast.import_image(file, _header(image_id=""))
    assert bytes(fake.received) == CONTENT
    assert fake.streams[-1] == 3 * MIB
    assert services.called("ImageService.GetImage") == []


def test_answer_that_was_lost_is_requested_again(recast: Any, services: Any, file: Path) -> None:
    """When all bytes came and the answer was lost, the header alone gets it."""
    fake = BreakingImport([])
    fake.received += CONTENT
    fake.breaks = [(0, Unavailable)]
    services.answers |= {"ImageService.ImportImage": fake, "ImageService.GetImage": fake.image}
    recast.import_image(file, _header())
    assert fake.streams[-1] is None


def test_upload_that_brings_nothing_is_given_up(recast: Any, services: Any, file: Path) -> None:
    """When stream after stream brings no byte, the last refusal is raised."""
    fake = BreakingImport([(0, UploadIncomplete)] * 20)
    services.answers |= {"ImageService.ImportImage": fake, "ImageService.GetImage": fake.image}
    with pytest.raises(RemoteRefusal, match="0 bytes came"):
        recast.import_image(file, _header())
    assert len(fake.streams) == 6


def test_refused_upload_is_not_repeated(recast: Any, services: Any, file: Path) -> None:
    """A refusal that is no sign of an unavailable service is raised at once."""
    refusal = RemoteRefusal(Kind.FAILED_PRECONDITION, "FILE_REFUSED", "a backing file")
    services.answers["ImageService.ImportImage"] = refusal
    with pytest.raises(RemoteRefusal, match="a backing file"):
        recast.import_image(file, _header())
    assert len(services.calls) == 1


def test_file_that_shrinks_is_an_error(recast: Any, services: Any, tmp_path: Path) -> None:
    """A file that becomes shorter while it is uploaded is an OSError, not a refusal."""
    path = tmp_path / "shrinks"
    path.write_bytes(CONTENT)

    def shrink(sent: int, total: int) -> None:
        with path.open("r+b") as content:
            content.truncate(sent)

    fake = BreakingImport([])
    services.answers |= {"ImageService.ImportImage": fake, "ImageService.GetImage": fake.image}
    with pytest.raises(OSError, match="became shorter"):
        recast.import_image(path, _header(), shrink)


def test_missing_file_makes_no_call(recast: Any, services: Any, tmp_path: Path) -> None:
    """A file that cannot be opened is an error before anything is sent."""
    with pytest.raises(FileNotFoundError):
        recast.import_image(tmp_path / "none", _header())
    assert services.calls == []


def test_command_uploads_with_checksum(run: Any, services: Any, file: Path) -> None:
    """`recast image import` sends the file's SHA-256 unless --no-checksum, and names the
    image after the file.
    """
    options = ("--kind", "data-disk", "--format", "raw", "--accept-disclaimer")
    for more, expected in (((), hashlib.sha256(CONTENT).digest()), (("--no-checksum",), b"")):
        fake = BreakingImport([])
        services.answers["ImageService.ImportImage"] = fake
        assert run("image", "import", str(file), *options, *more).code == 0
        header = services.calls[-1].requests[0].header
        assert (header.sha256, header.image.display_name, bytes(fake.received)) == (expected, "disk", CONTENT)
