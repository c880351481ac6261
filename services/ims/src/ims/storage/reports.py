"""The report of an inspection as the message of the contract, and its domain values."""

from ims.domain.content import Content, content_warnings
from ims.domain.image import ImageKind
from ims.domain.preparation import Finding, preparation_warnings
from recast.ims.v1 import image_pb2
from recast.preparation import Report

_PREPARED = frozenset({ImageKind.SYSTEM_DISK, ImageKind.FULL_SERVER})
"""The kinds that servers are made from: their system disk is judged."""


def image_from_report(report: Report, kind: ImageKind) -> image_pb2.Image:
    """The operating system, the findings and the warnings of a report, as far as they concern the kind."""
    if kind not in _PREPARED:
        return image_pb2.Image(warnings=content_warnings(kind, content_from_report(report)))
    image = image_pb2.Image(os_name=report.os_name)
    for finding in report.findings:
        image.preparation.add(
            check=finding.check,
            verdict=image_pb2.PreparationVerdict.Value(f"PREPARATION_VERDICT_{finding.verdict.name}"),
            required=finding.required,
            detail=finding.detail,
            remedy=finding.remedy,
        )
    image.warnings.extend(preparation_warnings(findings_from_image(image)))
    return image


def findings_from_image(image: image_pb2.Image) -> list[Finding]:
    """The findings of an image as domain values."""
    return [
        Finding(
            each.check,
            image_pb2.PreparationVerdict.Name(each.verdict).removeprefix("PREPARATION_VERDICT_"),
            each.required,
            each.detail,
            each.remedy,
        )
        for each in image.preparation
    ]


def content_from_report(report: Report) -> Content:
    """What a report says of the content's kind."""
    description = report.os_name or "; ".join(each.detail for each in report.findings if each.required)
    return Content(report.holds_system, report.optical_format, description)
