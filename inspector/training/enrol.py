"""From good images to one immutable version of a product: all of `inspector enroll` but the registry.

Images come through the decoder and the preparation that the stream uses; only the student head is
trained. What can't be read is named and left out, equal images count once, and no image is both in the
deployed head and in a certified calibration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EnrolmentError, UndecodableFrame, UsageError
from inspector.stream.decode import DecodeLimits, decode, read_header
from inspector.training.choice.exposure import CHOOSING_FROM, Choice, Chosen, Exposed, choose
from inspector.training.choice.head import AUTO, DEFAULT, RIVALS, Candidate, choose_head, lot_of
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.dataset.gathering import Gathered, Gatherer, Progress, gather
from inspector.training.dataset.spill import Spill
from inspector.training.evidence.evidence import (
    Evidence,
    Examined,
    PhaseClock,
    evidence_of,
    measure_detectability,
    pass_seconds,
    phases_of,
)
from inspector.training.evidence.hygiene import Hygiene, Suspect, inspect, suspects_among
from inspector.training.evidence.report import ADVISED_IMAGES, EnrolmentReport, manifest_of, report_of
from inspector.training.evidence.routing_check import Neighbour, check_routing, kept_frames
from inspector.training.heads.adapting import adapted, check_size
from inspector.training.heads.fitted import SPLIT_FROM, Fitted, fit
from inspector.training.heads.passes import Passes, passes_for
from inspector.training.heads.prototype import HeadFitter, held_out
from inspector.training.heads.recipes import Recipe, recipe_for
from inspector.training.heads.student import Apprenticeship, split
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.routing.anchor_picking import build_anchors, pick_anchor_images
from inspector.training.statistics.calibrating import ALPHA
from inspector.vision.artifacts.format import Artifact, Probe, digest_of, pack, unpack
from inspector.vision.engines.protocols import Engine
from inspector.vision.heads.base import Readout
from inspector.vision.images.exposure import Exposure
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.networks.backbone import Backbone, strides_of
from inspector.vision.routing.anchors import ProductAnchors, pooled
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.serving.product_inspector import ProductInspector

MINIMUM_IMAGES = 5
UNKNOWN_MEDIANS = 2.6


@dataclass(frozen=True, slots=True)
class EnrolmentOptions:
    """What the person who enrols may choose. `limits` are the camera's; `alpha` the aimed-at false-reject rate.

    `training`: for the student head alone; `clustering`: for `protoad` alone, None = its recipe's. `framing`:
    tiles, region of interest, input size. `is_strict`: whatever is found among the images stops the enrolment.
    `measures_detectability`: defects are drawn on held-out images, at a few passes over 200 of them. `scratch`: folder
    for temporary files, None for the system's own. `exposure` None and `head` "auto": the good images choose.
    """

    head: str = DEFAULT
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
class Enrolment:
    """A new version's bytes, its manifest, its report, and the evidence with pictures. Nothing is stored yet."""

    artifact: bytes
    digest: str
    manifest: dict[str, Any]
    report: EnrolmentReport
    evidence: Evidence


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
    run = _Run(product, images, options, engine, progress or (lambda _phase, _done, _total: None), PhaseClock())
    recipe = _recipe(options, images)
    _check_count(product, len(images))
    passes = passes_for(recipe, options.backbone, engine)
    run.clock.ended("engine")
    gathered, hygiene, suspects = _gathered(run, recipe, passes, live)
    plan = _planned(run, recipe, passes, gathered)
    pass_s = pass_seconds(plan.passes.embedder, plan.gathered.inputs)
    run.clock.ended("choice_of_head" if options.head == AUTO else "choice")
    fitted = _fitted(run, plan)
    artifact = _artifact(run, plan, fitted)
    artifact = replace(artifact, probes=_probes(artifact, plan.gathered, fitted, engine, plan.passes))
    examined = Examined(plan.gathered, hygiene, suspects, fitted, check_routing(_as_neighbour(artifact), live))
    run.clock.ended("anchors_and_probes")
    evidence = replace(
        evidence_of(artifact.calibration, examined), choices=tuple(each.to_manifest() for each in plan.choices)
    )
    if options.measures_detectability:
        inspector = ProductInspector(artifact, engine)
        detectability = measure_detectability(inspector, plan.passes.embedder, examined, options.limits, run.tell)
        evidence = replace(evidence, detectability=detectability)
        run.clock.ended("detectability")
    evidence = replace(evidence, phases=phases_of(run.clock, pass_s, len(plan.gathered)))
    stated = {
        "seconds": run.clock.seconds,
        "passes": {each.name: each.passes for each in evidence.phases},
        "evidence": evidence.to_manifest(),
    }
    artifact = replace(artifact, manifest={**artifact.manifest, **stated})
    content, manifest = pack(artifact)
    report = report_of(artifact, plan.gathered, evidence, len(images), run.clock.seconds)
    return Enrolment(content, digest_of(content), manifest, report, evidence)


@dataclass(frozen=True, slots=True)
class _Run:
    """One enrolment under way: what it was asked for, and what it tells while it works."""

    product: str
    images: Sequence[ImageSource]
    options: EnrolmentOptions
    engine: Engine
    tell: Progress
    clock: PhaseClock


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is enrolled, when all is chosen. `gathered`: prepared as `recipe` says."""

    recipe: Recipe
    passes: Passes
    gathered: Gathered
    choices: tuple[Choice, ...]


def _gathered(
    run: _Run, recipe: Recipe, passes: Passes, live: Sequence[Neighbour]
) -> tuple[Gathered, Hygiene, list[Suspect]]:
    """The images that are learnt from. Raises EnrolmentError where they are too few or, if strict, not clean."""
    options = run.options
    gatherer = Gatherer(recipe.preparation, options.limits, passes.route_embedder, options.scratch)
    gathered = gather(run.images, gatherer, run.tell)
    left_out = [name for name, _ in (*gathered.unreadable, *gathered.duplicates)]
    _check_count(run.product, len(gathered) + len(left_out), left_out)
    run.clock.ended("read")
    hygiene = inspect(gathered, [each.anchors for each in live if each.product != run.product], recipe.preparation)
    left_out += [gathered.names[image] for image in sorted(hygiene.left_out)]
    gathered = gathered.without(hygiene.left_out)
    _check_count(run.product, len(gathered) + len(left_out), left_out)
    suspects = suspects_among(
        gathered.inputs, gathered.route_patches, passes.graph, run.engine, passes.embedder, run.tell
    )
    if options.is_strict:
        _ensure_clean(run.product, hygiene, [gathered.names[each.image] for each in suspects], left_out)
    run.clock.ended("hygiene")
    return gathered, hygiene, suspects


def _planned(run: _Run, recipe: Recipe, passes: Passes, gathered: Gathered) -> _Plan:
    """Exposure, optional banks and, with `auto`, the head: each chosen by good images where nobody said it."""
    chosen = _choose(recipe, passes, run.engine, gathered, run.options, run.tell)
    choices = list(chosen.choices)
    if run.options.head == AUTO:
        run.clock.ended("choice")
        choice, candidate = _choose_head(run, chosen.recipe, passes, gathered.sources)
        if choice.chosen != recipe.head:
            chosen, passes = Chosen(candidate.recipe, ()), candidate.passes
            choices = [each for each in choices if each.what == "exposure" and candidate.recipe.is_chosen]
        choices.append(choice)
    if chosen.recipe.preparation != recipe.preparation:
        gathered = _prepared_anew(run, recipe.preparation, chosen.recipe.preparation, gathered)
    return _Plan(chosen.recipe, passes, gathered, tuple(choices))


def _choose_head(run: _Run, recipe: Recipe, passes: Passes, sources: Sequence[ImageSource]) -> tuple[Choice, Candidate]:
    """The choice and what was chosen. `recipe`: the prototype head's, as this product wants it."""
    default = Candidate(recipe, passes)
    lot = lot_of(sources, run.options.limits, run.options.scratch)
    if lot is None:
        reason = f"{len(sources)} images leave fewer than {CHOOSING_FROM} that calibrate no head: too few to choose by"
        return Choice("head", recipe.head, {}, reason), default
    candidates = [default]
    for head in RIVALS:
        with contextlib.suppress(UsageError):  # the backbone lacks what this head stands on
            rival = _recipe(replace(run.options, head=head), run.images)
            if rival.is_chosen:
                rival = replace(rival, preparation=recipe.preparation)
            candidates.append(Candidate(rival, passes_for(rival, run.options.backbone, run.engine)))
    choice = choose_head(candidates, lot, run.engine, run.options.training, run.tell)
    return choice, next(each for each in candidates if each.recipe.head == choice.chosen)


def _prepared_anew(run: _Run, before: Preparation, after: Preparation, gathered: Gathered) -> Gathered:
    """The same images as `after` says. Only what is more than an exposure is read again."""
    kept = Spill(run.options.scratch)
    if replace(before, exposure=after.exposure) == after:
        for canvas in Exposed(gathered.inputs, before, after.exposure):
            kept.append(canvas)
        return replace(gathered, inputs=kept)
    for source in gathered.sources:
        try:
            kept.append(prepare(decode(source.read(), run.options.limits), after))
        except (OSError, UndecodableFrame) as error:
            raise EnrolmentError(f"{source.name} can't be read any more: {error}; enrol it again.") from error
    return replace(gathered, inputs=kept)


def _fitted(run: _Run, plan: _Plan) -> Fitted:
    options, passes, inputs = run.options, plan.passes, plan.gathered.inputs
    if plan.recipe.student is not None:
        apprenticeship = Apprenticeship(plan.recipe, passes.graph, run.engine, inputs, passes.square_embedder)
        return apprenticeship.fit(options.training, options.alpha, run.tell, run.clock.ended)
    fitter = HeadFitter(plan.recipe, passes.graph, run.engine, inputs, passes.embedder)
    fitted = fit(fitter, len(plan.gathered), options.alpha, run.tell)
    run.clock.ended("fit")
    return fitted


def _artifact(run: _Run, plan: _Plan, fitted: Fitted) -> Artifact:
    """Without probes, and without what is said about its making."""
    recipe, gathered, weights_file = plan.recipe, plan.gathered, run.options.backbone.weights_file
    return Artifact(
        product=run.product,
        graph=plan.passes.graph,
        preparation=recipe.preparation,
        members=tuple(fitted.members),
        readout=Readout(recipe.reading, recipe.top_share, recipe.sigma_px, recipe.preparation.size_px),
        anchors=anchors_of(run.product, gathered.route_patches),
        calibration=fitted.calibration,
        map_scale=fitted.map_scale,
        probes=(),
        manifest={
            **manifest_of(recipe, run.engine, gathered, len(run.images)),
            "weights_file": str(weights_file) if weights_file else None,
            "training": None if recipe.student is None else run.options.training.to_manifest(),
        },
        student=fitted.student,
        routing_frames=kept_frames(gathered.route_patches, np.flatnonzero(held_out(len(gathered))).tolist()),
    )


def look_alikes(artifact: bytes, others: Sequence[bytes]) -> list[tuple[str, float]]:
    """Products among `others` (artifacts) by how much their anchors look like this one's, most alike first.

    1.0 = the same anchors. Raises ArtifactError.
    """
    own = unpack(artifact).anchors
    found = [unpack(content).anchors for content in others]
    index = AnchorIndex([own, *(item for item in found if item.product != own.product)])
    return index.look_alikes(own.product)


def _check_count(product: str, images: int, unusable: Sequence[str] = ()) -> None:
    """`unusable`: the names of those among `images` that were left out."""
    usable = images - len(unusable)
    if usable >= MINIMUM_IMAGES:
        return
    named = ", ".join(unusable[:5]) + (" and others" if len(unusable) > 5 else "")
    got = f"has {usable} usable image" if unusable else f"was given {usable} image"
    because = f" Not usable, or the same as another: {named}." if unusable else ""
    raise EnrolmentError(
        f"{product} {got}{'' if usable == 1 else 's'}; at least {MINIMUM_IMAGES} different good images are needed, "
        f"about {ADVISED_IMAGES} are advised.{because}"
    )


def _choose(
    recipe: Recipe, passes: Passes, engine: Engine, gathered: Gathered, options: EnrolmentOptions, tell: Progress
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
        passes = passes_for(judge, options.backbone, engine)

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


def anchors_of(product: str, route_patches: Sequence[NDArray[np.floating]]) -> ProductAnchors:
    """CAC on images that do not set the bound; the bound from those held out. `route_patches`: [P, C] each, unit."""
    rng = np.random.default_rng(0)
    patches = [each.astype(np.float32) for each in route_patches]
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
    artifact: Artifact, gathered: Gathered, fitted: Fitted, engine: Engine, passes: Passes
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
