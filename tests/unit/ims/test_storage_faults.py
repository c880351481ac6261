"""Errors of the storage and of files as refusals."""

import pytest

from ims.storage.chunks import storage_faults
from recast.diskimage import DiskImageError, IsDamaged, IsEmpty, IsTooLarge, QemuImgMissing
from recast.faults import Refusal

IMAGE = "projects/demo/images/d4db71d5-4573-46bb-a04b-64909a04440f"


@pytest.mark.fault("FAULT-N19")
@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (IsDamaged("it ends within its header"), "FILE_REFUSED"),
        (IsEmpty(), "FILE_REFUSED"),
        (IsTooLarge(2, 1), "VIRTUAL_SIZE_TOO_LARGE"),
    ],
)
def test_the_refusal_of_a_file_has_the_display_name(problem: Exception, reason: str) -> None:
    """The fault of a file is told by the image's display name, and not by its generated id."""
    with pytest.raises(Refusal) as caught, storage_faults(IMAGE, "my old disk"):
        raise problem
    assert caught.value.reason == reason
    assert caught.value.text.startswith("the file of my old disk is refused: ")
    assert "d4db71d5" not in caught.value.text


@pytest.mark.fault("FAULT-N19")
@pytest.mark.parametrize(
    ("problem", "reason", "advice"),
    [
        (QemuImgMissing("qemu-img", "qemu-utils"), "UNAVAILABLE", "install the package qemu-utils"),
        (DiskImageError("a layer is missing"), "STORE_IO_FAILED", "repair it"),
        (OSError(28, "No space left on device"), "STORE_IO_FAILED", "free space"),
    ],
)
def test_a_fault_of_the_host_has_its_own_remedy(problem: Exception, reason: str, advice: str) -> None:
    """A program that is missing is waited for, and its package is named; storage that failed is repaired."""
    with pytest.raises(Refusal) as caught, storage_faults(IMAGE, "my old disk"):
        raise problem
    assert caught.value.reason == reason
    assert advice in caught.value.text
    assert ("space" in caught.value.text) == (reason == "STORE_IO_FAILED")
