"""From good images to one immutable version of a product: all of `inspector enroll` but the registry.

Images come through the decoder and the preparation that the stream uses; only the student head is
trained. What can't be read is named and left out, equal images count once, and no image is both in the
deployed head and in a certified calibration.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EnrolmentError, UndecodableFrame, UsageError
from inspector.stream.decode import DecodeLimits, read_header
from inspector.vision.adapting import adapted, check_size
from inspector.vision.anchors import (
    AnchorIndex,
    ProductAnchors,
    build_anchors,
    pick_anchor_images,
    pooled,
    routing_profile,
)
from inspector.vision.artifact import Artifact, Probe, digest_of, pack, unpack
from inspector.vision.backbone import Backbone, strides_of
from inspector.vision.calibration import ALPHA
from inspector.vision.choosing import Chosen, Exposed, choose
from inspector.vision.engines import Embedder, Engine
from inspector.vision.evidence import (
    Evidence,
    Examined,
    Phase,
    evidence_of,
    measure_detectability,
    pass_seconds,
    phases_of,
)
from inspector.vision.fitted import SPLIT_FROM, Fitted, fit
from inspector.vision.fitting import HeadFitter, held_out
from inspector.vision.folders import ImageSource
from inspector.vision.framing import Framing
from inspector.vision.gathering import Gathered, Gatherer, Progress, gather
from inspector.vision.graphs import BackboneFile, Graph
from inspector.vision.hygiene import Hygiene, inspect, suspects_among
from inspector.vision.inspection import ProductInspector
from inspector.vision.preprocessing import Exposure, Preparation
from inspector.vision.prototype import Readout
from inspector.vision.recipes import Recipe, recipe_for
from inspector.vision.routing_check import Neighbour, check_routing, kept_frames
from inspector.vision.spill import Spill
from inspector.vision.student import TrainingPlan
from inspector.vision.student_fitting import Apprenticeship, split
from inspector.vision.tiling import backbone_passes, tiled

MINIMUM_IMAGES = 5
ADVISED_IMAGES = 100
UNKNOWN_MEDIANS = 2.6


@dataclass(frozen=True, slots=True)
class EnrolmentOptions:
    """What the person who enrols may choose. `limits` are the camera's; `alpha` the aimed-at false-reject rate.

    `training`: for the student head alone; `clustering`: for `protoad` alone, None = its recipe's. `framing`:
    tiles, region of interest, input size. `is_strict`: whatever is found among the images stops the enrolment.
    `measures_detectability`: defects are drawn on held-out images, at a few passes over 200 of them. `scratch`: folder
    for temporary files, None for the system's own. `exposure` None: the good images choose.
    """

    head: str = "auto"
    profile: str = "standard"
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    backbone: Backbone = field(default_factory=Backbone)
    alpha: float = ALPHA
    training: TrainingPlan = field(default_factory=TrainingPlan)
    is_strict: bool = False
    measures_detectability: bool = False
    scratch: Path | None = None
    framing: Framing = field(default_factory=Framing)
    exposure: Exposure | None = None
    clustering: str | None = None


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


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new version's bytes, its manifest, its report, and the evidence with pictures. Nothing is stored yet."""

    artifact: bytes
    digest: str
    manifest: dict[str, Any]
    report: EnrolmentReport
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class _Passes:
    """`embedder` takes prepared canvases, `square_embedder` one tile each."""

    graph: Graph
    embedder: Embedder
    square_embedder: Embedder
    route_embedder: Embedder


def enrol(
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    engine: Engine,
    progress: Progress | None = None,
    live: Sequence[Neighbour] = (),
) -> Enrolment:
    """A version of `product` from its good images. Blocking: about a minute for 200 images on two cores.

    `live`: the products it will stand beside, an earlier version of its own included. Raises EnrolmentError where
    fewer than 5 usable images remain or, if strict, where anything is wrong with them; UsageError for an unknown head
    or profile, WeightsMissing, EngineError.
    """
    tell = progress or (lambda _phase, _done, _total: None)
    clock = _PhaseClock()
    recipe = _recipe(options, images)
    _check_count(product, len(images))
    passes = _passes(recipe, options.backbone, engine)
    clock.ended("engine")
    gatherer = Gatherer(recipe.preparation, options.limits, passes.route_embedder, options.scratch)
    gathered = gather(images, gatherer, tell)
    left_out = [name for name, _ in (*gathered.unreadable, *gathered.duplicates)]
    _check_count(product, len(gathered) + len(left_out), left_out)
    clock.ended("read")
    hygiene = inspect(gathered, [each.anchors for each in live if each.product != product])
    left_out += [gathered.names[image] for image in sorted(hygiene.left_out)]
    gathered = gathered.without(hygiene.left_out)
    _check_count(product, len(gathered) + len(left_out), left_out)
    suspects = suspects_among(gathered.inputs, gathered.route_patches, passes.graph, engine, passes.embedder, tell)
    if options.is_strict:
        _ensure_clean(product, hygiene, [gathered.names[each.image] for each in suspects], left_out)
    pass_s = pass_seconds(passes.embedder, gathered.inputs)
    clock.ended("hygiene")
    chosen = _choose(recipe, passes, engine, gathered, options, tell)
    if chosen.recipe.preparation.exposure != recipe.preparation.exposure:
        exposed = Spill(options.scratch)
        for canvas in Exposed(gathered.inputs, recipe.preparation):
            exposed.append(canvas)
        gathered = replace(gathered, inputs=exposed)
    recipe = chosen.recipe
    clock.ended("choice")
    if recipe.student is None:
        fitter = HeadFitter(recipe, passes.graph, engine, gathered.inputs, passes.embedder)
        fitted = fit(fitter, len(gathered), options.alpha, tell)
        clock.ended("fit")
    else:
        apprenticeship = Apprenticeship(recipe, passes.graph, engine, gathered.inputs, passes.square_embedder)
        fitted = apprenticeship.fit(options.training, options.alpha, tell, clock.ended)
    artifact = Artifact(
        product=product,
        graph=passes.graph,
        preparation=recipe.preparation,
        members=tuple(fitted.members),
        readout=Readout(recipe.reading, recipe.top_share, recipe.sigma_px, recipe.preparation.size_px),
        anchors=_anchors(product, gathered),
        calibration=fitted.calibration,
        map_scale=fitted.map_scale,
        probes=(),
        manifest=_manifest(recipe, options, engine, gathered, len(images)),
        student=fitted.student,
        routing_frames=kept_frames(gathered.route_patches, np.flatnonzero(held_out(len(gathered))).tolist()),
    )
    artifact = replace(artifact, probes=_probes(artifact, gathered, fitted, engine, passes))
    examined = Examined(gathered, hygiene, suspects, fitted, check_routing(_as_neighbour(artifact), live))
    clock.ended("anchors_and_probes")
    evidence = replace(
        evidence_of(artifact.calibration, examined), choices=tuple(each.to_manifest() for each in chosen.choices)
    )
    if options.measures_detectability:
        inspector = ProductInspector(artifact, engine)
        detectability = measure_detectability(inspector, passes.embedder, examined, options.limits, tell)
        evidence = replace(evidence, detectability=detectability)
        clock.ended("detectability")
    evidence = replace(evidence, phases=phases_of(clock.seconds, pass_s, len(gathered)))
    costs = {each.name: each.passes for each in evidence.phases}
    artifact = replace(
        artifact,
        manifest={
            **artifact.manifest,
            "seconds": clock.seconds,
            "passes": costs,
            "evidence": evidence.to_manifest(),
        },
    )
    content, manifest = pack(artifact)
    report = _report(artifact, gathered, evidence, len(images), clock.seconds)
    return Enrolment(content, digest_of(content), manifest, report, evidence)


def look_alikes(artifact: bytes, others: Sequence[bytes]) -> list[tuple[str, float]]:
    """Products among `others` (artifacts) by how much their anchors look like this one's, most alike first.

    1.0 = the same anchors. Raises ArtifactError.
    """
    own = unpack(artifact).anchors
    found = [unpack(content).anchors for content in others]
    index = AnchorIndex([own, *(item for item in found if item.product != own.product)])
    return index.look_alikes(own.product)


class _PhaseClock:
    """Seconds of each phase, for the report; not part of what makes a version."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def ended(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = round(now - self._since, 3)
        self._since = now


def _check_count(product: str, images: int, unusable: Sequence[str] = ()) -> None:
    """`unusable`: the names of those among `images` that were left out."""
    usable = images - len(unusable)
    if usable >= MINIMUM_IMAGES:
        return
    because = f" ({', '.join(unusable[:5])}{' and others' if len(unusable) > 5 else ''} left out)" if unusable else ""
    raise EnrolmentError(
        f"{product} has {usable} usable image{'' if usable == 1 else 's'}{because}; "
        f"at least {MINIMUM_IMAGES} different good images are needed, about {ADVISED_IMAGES} are advised."
    )


def _passes(recipe: Recipe, backbone: Backbone, engine: Engine) -> _Passes:
    installed = BackboneFile.installed(backbone)
    graph = Graph(backbone.name, installed.sha256, recipe.preparation.size_px, recipe.embeddings)
    square_embedder = engine.embedder(graph, backbone.weights_file)
    return _Passes(
        graph,
        tiled(square_embedder, recipe.preparation),
        square_embedder,
        engine.embedder(routing_profile().graph, small=True),
    )


def _choose(
    recipe: Recipe, passes: _Passes, engine: Engine, gathered: Gathered, options: EnrolmentOptions, tell: Progress
) -> Chosen:
    """By the banks that decide; a student's exposure by those of the cheapest prototype head."""
    if not recipe.is_chosen:
        return Chosen(recipe, ())
    count = len(gathered)
    usable = np.flatnonzero(~held_out(count)).tolist() if count >= SPLIT_FROM else list(range(count))
    judge = recipe
    if recipe.student is not None:
        parts = split(count)
        usable = sorted(parts.training + parts.checking)
        judge = adapted(recipe_for("prototype", "fast"), strides_of(options.backbone), options.backbone.name)
        judge = replace(judge, preparation=recipe.preparation)
        passes = _passes(judge, options.backbone, engine)

    def fitter_of(canvases: Sequence[NDArray[np.uint8]]) -> HeadFitter:
        return HeadFitter(judge.deciding, passes.graph, engine, canvases, passes.embedder)

    chosen = choose(judge, gathered.inputs, usable, fitter_of, tell, exposure=options.exposure)
    if recipe.student is not None:
        return Chosen(replace(recipe, preparation=chosen.recipe.preparation), chosen.choices)
    return chosen


def _recipe(options: EnrolmentOptions, images: Sequence[ImageSource]) -> Recipe:
    """The recipe with all that was chosen, on the features that the backbone has. Raises UsageError."""
    recipe = recipe_for(options.head, options.profile, options.clustering)
    recipe = adapted(recipe, strides_of(options.backbone), options.backbone.name)
    preparation = replace(recipe.preparation, exposure=options.exposure or recipe.preparation.exposure)
    recipe = replace(recipe, preparation=_framed(preparation, options, images))
    check_size(recipe, options.backbone.name)
    return recipe


def _framed(preparation: Preparation, options: EnrolmentOptions, images: Sequence[ImageSource]) -> Preparation:
    """Raises UsageError, also where pixels are named and the images differ in size."""
    if not options.framing.needs_frame_size:
        return options.framing.applied(preparation)
    sizes = set()
    for image in images:
        with contextlib.suppress(OSError, UndecodableFrame):  # named when they are read
            header = read_header(image.read(), options.limits)
            sizes.add((header.height, header.width))
    if len(sizes) > 1 and options.framing.is_roi_px:
        raise UsageError("The images differ in size; give the region of interest in shares of the frame.")
    return options.framing.applied(preparation, min(sizes, default=None))


def _anchors(product: str, gathered: Gathered) -> ProductAnchors:
    """CAC on images that do not set the bound; the bound from those held out."""
    rng = np.random.default_rng(0)
    patches = [each.astype(np.float32) for each in gathered.route_patches]
    descriptors = np.stack([pooled(each) for each in patches])
    is_held = held_out(len(patches))
    own = np.flatnonzero(~is_held)
    picked = own[pick_anchor_images(descriptors[own], rng)]
    anchors = build_anchors(np.concatenate([patches[i] for i in picked]), rng)
    unbounded = ProductAnchors(product, anchors, descriptors[picked], bound=1.0)
    distances = [unbounded.distance(patches[i]) for i in np.flatnonzero(is_held)]
    return replace(unbounded, bound=unknown_bound(distances))


def unknown_bound(distances: Sequence[float]) -> float:
    """The distance beyond which a frame is of no known product, from held-out good images.

    Never nearer than 2.6 times their median: over six products no good and under 2 % of the defective parts lie
    beyond, and all frames of five left-out products do (the sixth are mono solar cells, taken for poly ones).
    Wider where few were held out or they spread.
    """
    spread = max(distances) * (1.2 + 2.0 / len(distances))
    return max(spread, UNKNOWN_MEDIANS * float(np.median(distances)), 1e-3)


def _probes(
    artifact: Artifact, gathered: Gathered, fitted: Fitted, engine: Engine, passes: _Passes
) -> tuple[Probe, ...]:
    """The most ordinary and the highest-scored good image, with what the deployed head makes of them."""
    ranked = [image for image, _ in sorted(fitted.judged, key=lambda pair: pair[1].score)]
    inspector = ProductInspector(artifact, engine)
    probes = []
    for image in dict.fromkeys((ranked[len(ranked) // 2], ranked[-1])):
        prepared, routing = gathered.inputs[image], gathered.routing[image]
        judgement = inspector.judge(passes.embedder(prepared[None]))[0]
        distance = inspector.routing_distance(routing, passes.route_embedder)
        probes.append(Probe(prepared, judgement.score, float(judgement.grid_map.max()), routing, distance))
    return tuple(probes)


def _manifest(
    recipe: Recipe, options: EnrolmentOptions, engine: Engine, gathered: Gathered, n_images: int
) -> dict[str, Any]:
    """What only people and audits read; what the head needs is written by `artifact.pack`."""
    return {
        "head": recipe.head,
        "profile": recipe.profile,
        "backbone_passes": backbone_passes(recipe.preparation),
        "weights_file": str(options.backbone.weights_file) if options.backbone.weights_file else None,
        "clustering": [member.clustering for member in recipe.members],
        "training": None if recipe.student is None else options.training.to_manifest(),
        "engine": {"name": engine.name, "versions": engine.versions()},
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


def _report(
    artifact: Artifact, gathered: Gathered, evidence: Evidence, n_images: int, seconds: dict[str, float]
) -> EnrolmentReport:
    hygiene = evidence.hygiene
    left_out = [(name, f"nearly the same picture as {of}") for name, of in hygiene.copies]
    left_out += [(name, f"{product} claims it, which is enrolled already") for name, product in hygiene.strangers]
    warnings = [f"{name} was left out: {reason}" for name, reason in (*gathered.unreadable, *left_out)]
    warnings += [f"{name} equals {twin} and counts once" for name, twin in gathered.duplicates]
    warnings += [
        f"{name} scores far above the other good images; look at it before you activate" for name in evidence.suspects
    ]
    warnings += [*hygiene.warnings, *evidence.routing.warnings]
    if artifact.calibration.provisional:
        warnings.append(f"the threshold is provisional; {ADVISED_IMAGES} and more good images make it firmer")
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


def _ensure_clean(product: str, hygiene: Hygiene, suspects: Sequence[str], left_out: Sequence[str]) -> None:
    """Raises EnrolmentError that names everything found, so that one round of looking is enough."""
    findings = [f"left out {', '.join(left_out)}"] if left_out else []
    findings += [f"look at {', '.join(suspects)}"] if suspects else []
    findings += hygiene.warnings
    if findings:
        raise EnrolmentError(f"{product} was not enrolled, as --strict asks: {'; '.join(findings)}.")


def _as_neighbour(artifact: Artifact) -> Neighbour:
    frames = artifact.routing_frames
    return Neighbour(artifact.anchors, np.zeros((0, 1, 1), np.float16) if frames is None else frames)


def neighbour_of(artifact: bytes) -> Neighbour:
    """A live product's artifact as routing sees it. Raises ArtifactError."""
    return _as_neighbour(unpack(artifact))
