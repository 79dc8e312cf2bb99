"""What an enrolment says about itself: the manifest for audits, the report that a person reads before activating."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Any

from inspector.training.dataset.gathering import Gathered
from inspector.training.evidence.evidence import Evidence, Phase
from inspector.training.heads.base import HeadRecipe
from inspector.training.statistics.calibrating import ALPHA
from inspector.vision.artifacts.calibration import Calibration, scores_needed
from inspector.vision.artifacts.format import Artifact
from inspector.vision.engines.protocols import Engine
from inspector.vision.serving.tiling import backbone_passes

ADVISED_IMAGES = 100


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What a person should read before activating. Names are those the images came with.

    `unreadable`: (name, reason); `duplicates`: (name, of which); `suspects`: good images that score oddly;
    `overkill`: the share of good parts that may be rejected, as it was asked for;
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
    overkill: float
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


def beyond_signing(evidence: Evidence) -> str:
    """What to know where the good images are too few to sign for the share of rejected good parts that was asked for.

    Empty where they are enough.
    """
    calibration, needed = evidence.calibration, scores_needed(evidence.calibration.alpha)
    is_estimate = calibration.kind == "estimate"
    if calibration.n >= needed and not is_estimate:
        return ""
    in_all = "" if evidence.images_needed is None else f" ({evidence.images_needed} good images in all)"
    if is_estimate:
        stands = f"none of the {calibration.n} was held out, so the statement is an estimate"
    else:
        stands = f"there are {calibration.n}, so the statement says {calibration.false_reject_bound:.1%}"
    return (
        f"to sign that {_percent(calibration.alpha)} of good parts are rejected takes {needed} held-out images"
        f"{in_all}; {stands}, and the threshold is {calibration.rule}"
    )


def asked(calibration: Calibration) -> str:
    """The share of good parts that may be rejected, as it was asked for."""
    usual = ", the default" if calibration.alpha == ALPHA else ""
    return f"{_percent(calibration.alpha)} of good parts may be rejected (--overkill{usual})"


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g}%"


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
    warnings += [*hygiene.warnings, *hygiene.remarks, *evidence.routing.warnings, *evidence.known_bad.warnings]
    if evidence.pose is not None and (advice := evidence.pose.advice):
        warnings.append(advice)
    if weak := evidence.eyesight.warning:
        warnings.append(f"{weak}. What may help: {evidence.advice}" if evidence.advice else weak)
    if evidence.keystone is not None and evidence.keystone.stands_apart:
        warnings.append(evidence.keystone.warning)
    if beyond := beyond_signing(evidence):
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
        overkill=artifact.calibration.alpha,
        seconds=dict(seconds),
        phases=evidence.phases,
        backbone_passes=backbone_passes(artifact.preparation),
    )
