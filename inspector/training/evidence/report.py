"""What an enrolment says about itself: the manifest for audits, the report that a person reads before activating."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from dataclasses import dataclass
from typing import Any

from inspector.training.dataset.gathering import Gathered
from inspector.training.evidence.evidence import Evidence, Phase
from inspector.training.heads.base import HeadRecipe
from inspector.training.statistics.calibrating import ALPHA
from inspector.vision.artifacts.calibration import Calibration, rank_of
from inspector.vision.artifacts.format import Artifact
from inspector.vision.engines.protocols import Engine
from inspector.vision.serving.tiling import backbone_passes

ADVISED_IMAGES = 100


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What a person should read before activating. Names are those the images came with.

    `unreadable`: (name, reason); `duplicates`: (name, of which); `suspects`: good images that score oddly;
    `left_out`: (name, reason) of near-identical images and of those that another product claims; `seconds` per phase,
    `phases` the same with their cost in backbone passes. `backbone_passes`: what one frame costs, counted at 256 px.
    """

    product: str
    n_images: int
    n_used: int
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    suspects: tuple[str, ...]
    warnings: tuple[str, ...]
    statement: str
    threshold: float
    seconds: dict[str, float]
    phases: tuple[Phase, ...]
    backbone_passes: float


def manifest_of(recipe: HeadRecipe, engine: Engine, gathered: Gathered, n_images: int) -> dict[str, Any]:
    """The manifest's entries for people and audits. `artifact.pack` writes the entries that the head needs."""
    return {
        "head": recipe.head,
        "profile": recipe.profile,
        "backbone_passes": backbone_passes(recipe.preparation),
        "engine": {"name": engine.name, "precision": engine.precision, "versions": engine.versions()},
        "software": importlib.metadata.version("inspector") if _is_installed() else "unknown",
        "python": platform.python_version(),
        "counts": {
            "images": n_images,
            "used": len(gathered),
            "unreadable": len(gathered.unreadable),
            "duplicates": len(gathered.duplicates),
        },
        "images": [
            {"name": name, "sha256": digest} for name, digest in zip(gathered.names, gathered.digests, strict=True)
        ],
    }


def _is_installed() -> bool:
    return bool(list(importlib.metadata.distributions(name="inspector")))


def beyond_signing(calibration: Calibration) -> str:
    """What to know where a person asked for a smaller share of rejected good parts than the images can sign for."""
    if calibration.alpha >= ALPHA or rank_of(calibration.n, calibration.alpha) <= calibration.n:
        return ""
    return (
        f"an overkill of {calibration.alpha:.3g} needs {math.ceil(1 / calibration.alpha) - 1} held-out good images; "
        f"there are {calibration.n}, so the threshold is the largest score of theirs with a margin"
    )


def report_of(
    artifact: Artifact, gathered: Gathered, evidence: Evidence, n_images: int, seconds: dict[str, float]
) -> EnrolmentReport:
    hygiene = evidence.hygiene
    left_out = [(name, f"nearly the same picture as {of}") for name, of in hygiene.copies]
    left_out += [(name, f"{product} claims it, which is enrolled already") for name, product in hygiene.strangers]
    left_out += [(name, "it shows nothing, as a frame without a part does") for name in hygiene.blanks]
    warnings = [f"{name} was left out: {reason}" for name, reason in (*gathered.unreadable, *left_out)]
    warnings += [f"{name} equals {twin} and counts once" for name, twin in gathered.duplicates]
    warnings += [
        f"{name} scores far above the other good images; look at it before you activate" for name in evidence.suspects
    ]
    warnings += [*hygiene.warnings, *evidence.routing.warnings]
    if evidence.pose is not None and (advice := evidence.pose.advice):
        warnings.append(advice)
    if evidence.detectability is not None and (weak := evidence.detectability.warning):
        warnings.append(weak)
    if evidence.keystone is not None and evidence.keystone.stands_apart:
        warnings.append(evidence.keystone.warning)
    if artifact.calibration.provisional:
        warnings.append(f"the threshold is provisional; {ADVISED_IMAGES} and more good images make it firmer")
    if beyond := beyond_signing(artifact.calibration):
        warnings.append(beyond)
    return EnrolmentReport(
        product=artifact.product,
        n_images=n_images,
        n_used=len(gathered),
        unreadable=tuple(gathered.unreadable),
        duplicates=tuple(gathered.duplicates),
        left_out=tuple(left_out),
        suspects=evidence.suspects,
        warnings=tuple(warnings),
        statement=artifact.calibration.statement,
        threshold=artifact.calibration.threshold,
        seconds=dict(seconds),
        phases=evidence.phases,
        backbone_passes=backbone_passes(artifact.preparation),
    )
