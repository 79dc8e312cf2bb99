"""A finished enrolment as a JSON object: what `inspector enroll --json` prints, and the result of a job that enrols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspector.domain import printable
from inspector.enrolment.enrol_product import Enrolled
from inspector.training.dataset.folders import NotTaken


def not_taken_document(not_taken: Sequence[NotTaken]) -> dict[str, Any]:
    """The files besides images in the folders. `other_kinds` leaves out files of the operating system."""
    return {
        "other_kinds": [thing.name for thing in not_taken if not thing.is_litter],
        "not_taken": [{"name": thing.name, "reason": thing.reason} for thing in not_taken],
    }


def enrolled_document(done: Enrolled) -> dict[str, Any]:
    """A finished enrolment for machines."""
    report = done.report
    return {
        "product": report.product,
        "version": done.version.version,
        "live": done.version.is_live,
        "shadow": done.version.is_shadow,
        "objections": list(done.objections),
        "insisted_on": list(done.insisted),
        "overkill": report.overkill,
        "digest": done.version.digest,
        "head": done.version.head,
        "profile": done.version.profile,
        "images": report.n_images,
        "used": report.n_used,
        "unreadable": [{"image": name, "reason": reason} for name, reason in report.unreadable],
        **not_taken_document(done.not_taken),
        "duplicates": [{"image": name, "of": of} for name, of in report.duplicates],
        "left_out": [{"image": name, "reason": reason} for name, reason in report.left_out],
        "suspects": list(report.suspects),
        "look_alikes": [{"product": name, "likeness": round(likeness, 3)} for name, likeness in done.alike],
        "warnings": list(report.warnings),
        "statement": report.statement,
        "threshold": report.threshold,
        "seconds": report.seconds,
        "passes": {phase.name: phase.passes for phase in report.phases},
        "evidence": done.version.manifest["evidence"],
        "frame_health": done.version.manifest["frame_health"],
        "report": printable(str(done.page)),
        "backbone_passes": report.backbone_passes,
    }
