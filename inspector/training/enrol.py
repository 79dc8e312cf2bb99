"""Makes one immutable version of a product from good images: all of `inspector enroll` except the registry.

Images pass through the decoder and the preparation that the stream uses; each image is decoded once. Unreadable images
are named and left out, and equal images count once. No image is both in the deployed head and in a certified
calibration. This module knows heads only by their recipes (`heads.base.HeadRecipe`).
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
from inspector.stream.decode import DecodeLimits, read_header
from inspector.training.choice.exposure import choose_exposure, too_few, unchosen_exposure
from inspector.training.choice.head import default_head
from inspector.training.choice.trial import Choice, canvas_trial, trial_images, usable_images
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.dataset.gathering import Gathered, Gatherer, Progress, gather
from inspector.training.dataset.splitting import held_out
from inspector.training.evidence.evidence import (
    Evidence,
    Examined,
    PhaseClock,
    evidence_of,
    measure_detectability,
    pass_seconds,
    phases_of,
)
from inspector.training.evidence.eyesight_advice import advice_on, images_needed
from inspector.training.evidence.hygiene import Hygiene, Suspect, inspect, suspects_among
from inspector.training.evidence.known_bad import Brakes, judge_known_bad
from inspector.training.evidence.report import ADVISED_IMAGES, EnrolmentReport, manifest_of, report_of
from inspector.training.evidence.routing_check import Neighbour, check_routing, kept_frames
from inspector.training.evidence.trade import OVERKILLS
from inspector.training.heads.adapting import ensure_size
from inspector.training.heads.base import Fitted, FittingInputs, HeadRecipe
from inspector.training.heads.factory import AUTO, DEFAULT, recipe_for
from inspector.training.heads.passes import Passes, passes_for
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.health.calibrating import calibrated
from inspector.training.routing.product_anchors import anchors_of
from inspector.training.statistics.calibrating import ALPHA
from inspector.vision.artifacts.eyesight import NOTHING_PASSES, Sight
from inspector.vision.artifacts.format import Artifact, Probe, digest_of, pack, unpack
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.exposure import Exposure
from inspector.vision.networks.backbone import Backbone, strides_of
from inspector.vision.serving.product_inspector import ProductInspector

MINIMUM_IMAGES = 5


@dataclass(frozen=True, slots=True)
class EnrolmentOptions:
    """What the person who enrols may choose. `limits`: those of the camera. `alpha`: the intended false-reject rate.

    `training`: for the student head alone; `clustering`: for `protoad` alone, None = its recipe's. `framing`:
    tiles, region of interest, input size. `is_strict`: any fault of the images stops the enrolment.
    `measures_detectability`: defects are drawn on held-out images, at a few passes over 200 of them. `scratch`: folder
    for temporary files, None for the system's own. `exposure` None: the good images choose. `head` "auto": the default.
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
    brakes: Brakes | None = None,
) -> Enrolment:
    """A version of `product` from its good images. Blocks for about a minute for 200 images on two cores.

    `live`: the live products, including an earlier version of this product. `brakes`: what people said of the product's
    parts, which the version has to stand. Raises EnrolmentError where fewer than 5 usable images remain or, if strict,
    where anything is wrong with them; UsageError for an unknown head or profile, WeightsMissing, EngineError.
    """
    tell = progress or (lambda _phase, _done, _total: None)
    run = _Run(product, images, options, engine, tell, PhaseClock(), brakes or Brakes())
    recipe = _recipe(run)
    _check_count(product, len(images))
    passes = run.passes(recipe)
    run.clock.ended("engine")
    gathered, hygiene, suspects = _gathered(run, recipe, passes, live)
    plan = _planned(run, recipe, passes, gathered)
    pass_s = pass_seconds(plan.passes.embedder, plan.gathered.inputs)
    run.clock.ended("choice")
    fitted = plan.recipe.fit(run.inputs(plan.passes, plan.gathered.inputs), options.alpha)
    artifact = _artifact(run, plan, fitted)
    artifact = replace(artifact, probes=_probes(artifact, plan.gathered, fitted, engine, plan.passes))
    examined = Examined(plan.gathered, hygiene, suspects, fitted, check_routing(_as_neighbour(artifact), live))
    run.clock.ended("anchors_and_probes")
    evidence = _evidence(run, plan, artifact, examined)
    evidence = replace(evidence, phases=phases_of(run.clock, pass_s, len(plan.gathered)))
    stated = {
        "seconds": run.clock.seconds,
        "passes": {phase.name: phase.passes for phase in evidence.phases},
        "evidence": evidence.to_manifest(),
    }
    content, manifest = pack(replace(artifact, manifest={**artifact.manifest, **stated}))
    report = report_of(artifact, plan.gathered, evidence, len(images), run.clock.seconds)
    return Enrolment(content, digest_of(content), manifest, report, evidence)


@dataclass(frozen=True, slots=True)
class _Run:
    """One running enrolment: its request, and the callbacks for its progress."""

    product: str
    images: Sequence[ImageSource]
    options: EnrolmentOptions
    engine: Engine
    tell: Progress
    clock: PhaseClock
    brakes: Brakes

    def passes(self, recipe: HeadRecipe) -> Passes:
        """Raises WeightsMissing, EngineError."""
        return passes_for(recipe.preparation, recipe.embeddings, self.options.backbone, self.engine)

    def inputs(self, passes: Passes, canvases: Sequence[NDArray[np.uint8]]) -> FittingInputs:
        return FittingInputs(canvases, passes, self.engine, self.options.training, self.tell, self.clock.ended)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be enrolled, after all choices. `gathered`: the images, prepared as `recipe` says."""

    recipe: HeadRecipe
    passes: Passes
    gathered: Gathered
    choices: tuple[Choice, ...]


def _gathered(
    run: _Run, recipe: HeadRecipe, passes: Passes, live: Sequence[Neighbour]
) -> tuple[Gathered, Hygiene, list[Suspect]]:
    """The images to learn from. Raises EnrolmentError where there are too few or, if strict, some have faults."""
    options, preparation = run.options, recipe.preparation
    is_drawn_on = options.measures_detectability
    gatherer = Gatherer([preparation], options.limits, passes.routing_pass, options.scratch, is_drawn_on=is_drawn_on)
    gathered = gather(run.images, gatherer, run.tell)
    left_out = [name for name, _ in (*gathered.unreadable, *gathered.duplicates)]
    _check_count(run.product, len(gathered) + len(left_out), left_out)
    run.clock.ended("read")
    hygiene = inspect(gathered, [each.anchors for each in live if each.product != run.product], preparation)
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


def _planned(run: _Run, recipe: HeadRecipe, passes: Passes, gathered: Gathered) -> _Plan:
    """The plan, with the exposure chosen by the good images unless it is named."""
    plain, choices = recipe.preparation, []
    if recipe.is_exposure_chosen and run.options.exposure is None:
        exposure, choice = _exposure(run, recipe, passes, gathered)
        recipe = recipe.with_preparation(replace(plain, exposure=exposure))
        choices.append(choice)
    if run.options.head == AUTO:
        choices.append(default_head())
    if recipe.preparation != plain:
        gathered = gathered.prepared_as(recipe.preparation, run.options.scratch)
    return _Plan(recipe, passes, gathered, tuple(choices))


def _exposure(run: _Run, recipe: HeadRecipe, passes: Passes, gathered: Gathered) -> tuple[Exposure, Choice]:
    """The choice of the exposure, by images that do not calibrate the head."""
    usable = usable_images(len(gathered), recipe.calibrating(len(gathered)))
    images = trial_images(usable)
    if images is None:
        return unchosen_exposure(too_few(len(usable)))
    backbone = run.options.backbone
    judge = recipe.exposure_judge.adapted(strides_of(backbone), backbone.name)
    trial = canvas_trial(images, gathered.inputs, judge.preparation.size_px, run.options.scratch)
    own = passes if tuple(judge.embeddings) == tuple(recipe.embeddings) else run.passes(judge)
    return choose_exposure(judge, trial, run.inputs(own, trial.canvases))


def _artifact(run: _Run, plan: _Plan, fitted: Fitted) -> Artifact:
    """The artifact, still without its probes and without the entries about how it was made."""
    recipe, gathered, weights_file = plan.recipe, plan.gathered, run.options.backbone.weights_file
    return Artifact(
        product=run.product,
        graph=plan.passes.graph,
        preparation=recipe.preparation,
        head=fitted.model,
        anchors=anchors_of(run.product, gathered.route_patches),
        calibration=fitted.calibration,
        map_scale=fitted.map_scale,
        probes=(),
        manifest={
            **recipe.to_manifest(run.options.training),
            **manifest_of(recipe, run.engine, gathered, len(run.images)),
            "weights_file": str(weights_file) if weights_file else None,
        },
        health=calibrated(gathered.routing, recipe.preparation),
        routing_frames=kept_frames(gathered.route_patches, np.flatnonzero(held_out(len(gathered))).tolist()),
    )


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


def _recipe(run: _Run) -> HeadRecipe:
    """The recipe with the person's choices, adapted to the features that the backbone has. Raises UsageError."""
    options, frame = run.options, _frame_size(run.options, run.images)
    backbone = options.backbone
    recipe = recipe_for(options.head, options.profile, options.clustering)
    recipe = recipe.adapted(strides_of(backbone), backbone.name)
    preparation = replace(recipe.preparation, exposure=options.exposure or recipe.preparation.exposure)
    recipe = recipe.with_preparation(options.framing.applied(preparation, frame))
    ensure_size(recipe.embeddings, recipe.preparation.size_px, backbone.name)
    return recipe


def _frame_size(options: EnrolmentOptions, images: Sequence[ImageSource]) -> tuple[int, int] | None:
    """Height and width of the frames where the framing needs them, from their headers alone; else None.

    Raises UsageError where pixels are named and the images differ in size.
    """
    if not options.framing.needs_frame_size:
        return None
    sizes = set()
    for image in images:
        with contextlib.suppress(OSError, UndecodableFrame):  # such images are named when they are read
            header = read_header(image.read(), options.limits)
            sizes.add((header.height, header.width))
    if len(sizes) > 1 and options.framing.is_roi_px:
        raise UsageError("The images differ in size; give the region of interest in shares of the frame.")
    return min(sizes, default=None)


def _evidence(run: _Run, plan: _Plan, artifact: Artifact, examined: Examined) -> Evidence:
    """All evidence except the phases, which are not finished yet."""
    choices = tuple(choice.to_manifest() for choice in plan.choices)
    evidence = replace(
        evidence_of(artifact.calibration, examined),
        choices=choices,
        images_needed=images_needed(plan.recipe.calibrating, run.options.alpha, len(plan.gathered)),
        images_at_most=images_needed(plan.recipe.calibrating, max(OVERKILLS), len(plan.gathered)),
        found_before=run.brakes.found_before,
    )
    bad = run.brakes.known_bad
    if not run.options.measures_detectability and not bad:
        return evidence
    inspector = ProductInspector(artifact, run.engine)
    if bad:
        known_bad = judge_known_bad(inspector, plan.passes.embedder, bad, run.options.limits, run.tell)
        evidence = replace(evidence, known_bad=known_bad)
        run.clock.ended("known_bad")
    if not run.options.measures_detectability:
        return evidence
    detectability = measure_detectability(inspector, plan.passes.embedder, examined, run.tell)
    run.clock.ended("detectability")
    if detectability is None:
        return replace(evidence, why_not_drawn=NOTHING_PASSES)
    evidence = replace(evidence, detectability=detectability)
    if evidence.eyesight.sight in (Sight.SEES, Sight.NOT_CHECKED):
        return evidence
    frame_px = max(max(size) for size in plan.gathered.sizes)
    return replace(evidence, advice=advice_on(evidence, frame_px=frame_px, seen_px=max(plan.recipe.preparation.canvas)))


def _probes(
    artifact: Artifact, gathered: Gathered, fitted: Fitted, engine: Engine, passes: Passes
) -> tuple[Probe, ...]:
    """Probes: the most ordinary and the highest-scored good image, with their scores by the deployed head."""
    ranked = [image for image, _ in sorted(fitted.judged, key=lambda pair: pair[1].score)]
    inspector = ProductInspector(artifact, engine)
    probes = []
    for image in dict.fromkeys((ranked[len(ranked) // 2], ranked[-1])):
        prepared, routing = gathered.inputs[image], gathered.routing[image]
        judgement = inspector.judge(passes.embedder(prepared[None]))[0]
        distance = inspector.routing_distance(routing, passes.routing_pass)
        probes.append(Probe(prepared, judgement.score, float(judgement.grid_map.max()), routing, distance))
    return tuple(probes)


def _ensure_clean(product: str, hygiene: Hygiene, suspects: Sequence[str], left_out: Sequence[str]) -> None:
    """Raises EnrolmentError that names all faults at once, so that the person has to look only once."""
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
