"""The decision whether the content of an import is of the kind of its image."""

from dataclasses import dataclass

from ims.domain.image import ImageKind
from ims.domain.refusals import ImageContentMismatch


@dataclass(frozen=True)
class Content:
    """The facts about a disk or a file that the rule needs."""

    holds_system: bool | None
    """Whether there is an operating system; None if it may be in what was not read."""
    optical_format: str
    """`iso9660` or `udf`; empty for content that is no optical disc's."""
    description: str
    """What was found, in words."""


def decide_content(display_name: str, kind: ImageKind, content: Content) -> None:
    """Refuses an ISO that is none, and a system disk without an operating system.

    A system disk that has a partition table, or a file system that is not read, may have one.
    """
    if kind is ImageKind.ISO and not content.optical_format:
        problem = "an ISO file has a volume descriptor of ISO 9660 or UDF at byte 32768, and this has none"
        raise _mismatch(display_name, "ISO", problem)
    if kind is ImageKind.SYSTEM_DISK and content.holds_system is False:
        problem = f"no operating system can be in it: {content.description}"
        if content.optical_format:
            problem += "; import it as an ISO image"
        raise _mismatch(display_name, "system disk", problem)


def content_warnings(kind: ImageKind, content: Content) -> list[str]:
    """A data disk is for data alone; one with an operating system is taken, with a warning."""
    if kind is ImageKind.DATA_DISK and content.holds_system:
        system = f"the disk holds an operating system ({content.description})"
        return [f"{system}, and no server is made from a data disk image; import it as a system disk image"]
    return []


def _mismatch(display_name: str, kind: str, problem: str) -> ImageContentMismatch:
    return ImageContentMismatch(display_name=display_name, kind=kind, problem=problem)
