"""The output about images: warnings at the end of their creation, and the reasons in their list."""

from pathlib import Path
from typing import Any

import pytest

from recast.faults import Conflict
from recast.ims.v1.image_pb2 import Image, ImageState
from recast.ims.v1.image_service_pb2 import (
    CreateImageResponse,
    GetImageResponse,
    ImportImageResponse,
    ListImagesResponse,
)
from recast.rpc.status import status_from_refusal

WARNING = "all required checks are unknown: SYSTEM_READABLE (the disk holds xfs, which is not read)"
REFUSAL = status_from_refusal(Conflict(resource="x"), "ims.recast")


def image(**fields: Any) -> Image:
    """A NORMAL image, with other fields."""
    given = {"name": "projects/demo/images/i", "state": ImageState.IMAGE_STATE_NORMAL} | fields
    return Image(**given)


@pytest.mark.fault("FAULT-N10")
@pytest.mark.parametrize("output", ["table", "json", "name"])
@pytest.mark.parametrize("verb", ["create", "import"])
def test_warnings_are_printed_last(
    run: Any, services: Any, operation: Any, tmp_path: Path, verb: str, output: str
) -> None:
    """The warnings of the image that was made are on stderr, a line each, whatever the output."""
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(512))
    creating = image(state=ImageState.IMAGE_STATE_CREATING)
    services.answers["ImageService.CreateImage"] = CreateImageResponse(image=creating, operation=operation())
    services.answers["ImageService.ImportImage"] = ImportImageResponse(image=creating, operation=operation())
    made = image(warnings=[WARNING, "another"])
    services.answers["Operations.WaitOperation"] = operation(response=made)
    given = ["--backup", "b"] if verb == "create" else [str(file), "--kind", "system-disk", "--format", "raw"]
    found = run("image", verb, *given, "--accept-disclaimer", "--wait", "-o", output)
    assert found.code == 0
    assert found.err.endswith(f"warning: {WARNING}\nwarning: another\n")


@pytest.mark.fault("FAULT-N10", "FAULT-N19", "FAULT-N25")
def test_the_list_has_a_mark_for_warnings_and_the_reason_of_an_error(run: Any, services: Any) -> None:
    """A list has the number of an image's warnings, and the reason why an image is in ERROR."""
    failed = image(name="projects/demo/images/f", state=ImageState.IMAGE_STATE_ERROR, error=REFUSAL)
    listed = ListImagesResponse(images=[image(size_bytes=512), image(warnings=[WARNING]), failed])
    services.answers["ImageService.ListImages"] = listed
    head, fine, warned, error = run("image", "list").out.splitlines()
    assert head.endswith("WARNINGS  ERROR")
    assert (fine.split()[-1], warned.split()[-1]) == ("B", "1")
    assert error.endswith(f"  CONFLICT: {REFUSAL.message}")
    assert "0 B" not in error  # its size is not known


@pytest.mark.fault("FAULT-N19")
def test_an_image_is_shown_with_its_error_and_warnings(run: Any, services: Any) -> None:
    """One image has the sentences of its warnings and of its error."""
    services.answers["ImageService.GetImage"] = GetImageResponse(
        image=image(warnings=[WARNING], error=REFUSAL)
    )
    out = run("image", "get", "i").out
    assert WARNING in out
    assert f"CONFLICT: {REFUSAL.message}" in out
