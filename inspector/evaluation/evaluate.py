"""Measures heads and routing on labelled images, with the code that inspects the stream.

Heads are fitted by the enrolment itself from good training images; test images choose nothing. In unlabelled
mode the products are not given either: the training images of all products are mixed, categories are discovered, each
category gets a head, and figures are per true product. A frame called unknown counts as routed wrongly, and its level
does not change. Only the engine's graphs are kept on disk.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.domain import printable
from inspector.errors import UndecodableFrame, UsageError
from inspector.evaluation.contenders import Arena, Contender, Result
from inspector.evaluation.figures import mean, product_figures, routing_figures
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.evaluation.masks import MaskFindings, check_masks
from inspector.evaluation.notes import MOST_NAMED_FOR_MACHINES, Noted
from inspector.evaluation.prints import TrainingPrints, reason_of, training_prints
from inspector.stream.decode import DecodeLimits
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.dataset.gathering import Progress
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.factory import AUTO, DEFAULT
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.routing.discovery import discover
from inspector.vision.artifacts.format import read_manifest
from inspector.vision.engines.protocols import Engine
from inspector.vision.networks.backbone import Backbone
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import HEAT_AT_THRESHOLD, HEAT_MAP_SIDE_PX

MODES = ("oracle", "routed", "unlabelled")


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to measure. `artifacts`: product -> bytes to judge instead of heads fitted here (`--registry`);
    `thresholds`: product -> the score above which its agents reject, where that is not the artifact's own.

    `training`: of the student head. `backbone`, `framing`: as in the enrolment. `layout`: of the folders, None to
    recognise it.
    """

    products: tuple[str, ...] | None = None
    mode: str = "routed"
    head: str = DEFAULT
    profile: str = "standard"
    artifacts: Mapping[str, bytes] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    training: TrainingPlan = field(default_factory=TrainingPlan)
    backbone: Backbone = field(default_factory=Backbone)
    framing: Framing = field(default_factory=Framing)
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A test image judged wrongly. `by`: whose head judged it.

    `heat_map`: uint8 [h, w], 128 = threshold. If no spot reaches the threshold, the map is stretched so that its
    highest spot does.
    """

    path: Path
    defect: str | None
    level: float
    by: str
    heat_map: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The levels of one product's test images; those of `defective` are by kind of defect."""

    good: tuple[float, ...]
    defective: Mapping[str, tuple[float, ...]]
    missed: tuple[Case, ...]
    rejected: tuple[Case, ...]


class Evaluation:
    """The figures in the form of `inspector evaluate --json`, and the results that they are made from.

    `notes`: sentences for people, with few names in each; `figures["notes"]` has all names.
    """

    def __init__(
        self, figures: dict[str, Any], arena: Arena, results: Mapping[str, Sequence[Result]], notes: Sequence[str] = ()
    ) -> None:
        self.figures = figures
        self.notes = list(notes)
        self._arena = arena
        self._results = results

    def outcome(self, product: str, at_most: int) -> Outcome:
        """The levels of a product, with the worst misses and the worst false rejects, `at_most` of each."""
        results = self._results[product]
        bad = [result for result in results if result.image.defect is not None]
        missed = sorted((each for each in bad if each.level <= 1.0), key=lambda each: each.level)
        rejected = sorted(
            (each for each in results if each.image.defect is None and each.level > 1.0), key=lambda each: -each.level
        )
        return Outcome(
            good=tuple(each.level for each in results if each.image.defect is None),
            defective={
                kind: tuple(each.level for each in bad if each.image.defect == kind)
                for kind in sorted({each.image.defect or "" for each in bad})
            },
            missed=tuple(self._case(each) for each in missed[:at_most]),
            rejected=tuple(self._case(each) for each in rejected[:at_most]),
        )

    def _case(self, result: Result) -> Case:
        levels = self._arena.map_levels(result, HEAT_MAP_SIDE_PX)
        lowest, peak = float(levels.min()), float(levels.max())
        if peak < 1.0:
            levels = (levels - lowest) / max(peak - lowest, 1e-6)
        heat_map = np.clip(np.rint(levels * HEAT_AT_THRESHOLD), 0, 255).astype(np.uint8)
        return Case(result.image.path, result.image.defect, result.level, result.by, heat_map)


def evaluate(
    root: Path, options: EvaluationOptions, engine: Engine, progress: Progress | None = None
) -> dict[str, Any]:
    """The figures alone; otherwise as `examine`."""
    return examine(root, options, engine, progress).figures


def examine(root: Path, options: EvaluationOptions, engine: Engine, progress: Progress | None = None) -> Evaluation:
    """Fit (or open) the heads, judge every test image, make the figures. Blocking, minutes.

    Raises UsageError for an unknown mode, head, profile or layout and for faults of the folders,
    EnrolmentError where a product has too few images, ArtifactError.
    """
    if options.mode not in MODES:
        raise UsageError(f"There is no mode {options.mode!r}; choose {', '.join(MODES[:-1])} or {MODES[-1]}.")
    if options.mode == "unlabelled" and options.artifacts is not None:
        raise UsageError("Unlabelled mode fits its own heads on the categories it finds; leave --registry out.")
    tell = progress or (lambda _phase, _done, _total: None)
    labelled = read_layout(root, options.products, options.layout)
    routing_pass = RoutingPass.on(engine)
    fitting = _Fitting(options, engine, tell)
    if options.mode == "unlabelled":
        arena = fitting.discovered(labelled, routing_pass)
    else:
        contenders = {item.name: fitting.contender(item) for item in labelled}
        arena = Arena(contenders, routing_pass, options.limits, is_routed=options.mode == "routed")
    judged = {item.name: _judged(arena, item, tell) for item in labelled}
    results = {name: readable for name, (readable, _) in judged.items()}
    masks = {name: check_masks(readable) for name, readable in results.items()}
    products = {item.name: _figures_of(arena, item, judged[item.name], masks[item.name]) for item in labelled}
    trained = _trained(labelled, options, tell)
    noted = [Noted(root, item, *judged[item.name], masks[item.name]) for item in labelled]
    notes = [note for item in noted for note in item.notes(trained)]
    first = next(iter(arena.contenders.values())).inspector.artifact
    figures = {
        "mode": options.mode,
        "head": AUTO if options.head == AUTO and options.artifacts is None else first.manifest["head"],
        "heads": {name: each.inspector.artifact.manifest["head"] for name, each in arena.contenders.items()},
        "profile": first.manifest["profile"],
        "backbone": first.graph.backbone,
        "engine": engine.name,
        "products": products,
        "mean": {
            key: mean([found[key] for found in products.values()])
            for key in ("image_auroc", "image_ap", "pixel_auroc", "aupro")
        },
        "routing": routing_figures(arena, results, products),
        "notes": [note.sentence(MOST_NAMED_FOR_MACHINES) for note in notes],
    }
    return Evaluation(figures, arena, results, [note.sentence() for note in notes])


def _figures_of(
    arena: Arena,
    item: LabelledProduct,
    judged: tuple[Sequence[Result], Sequence[tuple[Path, str]]],
    masks: MaskFindings,
) -> dict[str, Any]:
    results, unreadable = judged
    return {
        **product_figures(arena, item, results, masks),
        "unreadable": [{"image": printable(str(path)), "reason": reason} for path, reason in unreadable],
    }


def _judged(arena: Arena, item: LabelledProduct, tell: Progress) -> tuple[list[Result], list[tuple[Path, str]]]:
    """The test images of a product, and those that can't be read. Raises UsageError where none can."""
    results: list[Result] = []
    unreadable: list[tuple[Path, str]] = []
    for done, image in enumerate(item.test, start=1):
        try:
            results.append(arena.judge(item.name, image))
        except (OSError, UndecodableFrame) as error:
            unreadable.append((image.path, reason_of(error)))
        tell(f"test {item.name}", done, len(item.test))
    if not results:
        path, reason = unreadable[0]
        raise UsageError(f"Not one test image of {item.name} can be read; {printable(str(path))}: {reason}")
    return results, unreadable


def _trained(labelled: Sequence[LabelledProduct], options: EvaluationOptions, tell: Progress) -> TrainingPrints:
    """Prints of all images that the heads were fitted on, as far as these are known."""
    paths = [path for item in labelled for path in item.train]
    found = training_prints(paths, options.limits, lambda done: tell("compare", done, len(paths)))
    enrolled: dict[str, Path] = {}
    for content in (options.artifacts or {}).values():
        images = read_manifest(content).get("images", ())
        enrolled |= {str(image["sha256"]): Path(str(image["name"])) for image in images}
    return replace(found, known={**enrolled, **found.known})


class _Fitting:
    """Makes contenders in the way in which an enrolment makes versions."""

    def __init__(self, options: EvaluationOptions, engine: Engine, progress: Progress) -> None:
        self._options = options
        self._engine = engine
        self._tell = progress

    def contender(self, labelled: LabelledProduct) -> Contender:
        """The contender of one product, made from the product's artifact where artifacts are given."""
        name, given = labelled.name, self._options.artifacts
        if given is None:
            return self._fitted(name, _sources(labelled), product=name)
        if name not in given:
            raise UsageError(f"{name} is not enrolled; enrol it, or leave it out with --products.")
        n_images = len(labelled.train)
        threshold = self._options.thresholds.get(name)
        return Contender.open(
            given[name], self._engine, product=name, n_images=n_images, enroll_s=None, threshold=threshold
        )

    def discovered(self, labelled: Sequence[LabelledProduct], routing_pass: RoutingPass) -> Arena:
        """One contender per category of all training images mixed; strays are left out, as `discover` leaves them."""
        mixed = {item.name: _sources(item) for item in labelled}
        limits = self._options.limits
        found = discover(mixed, limits, routing_pass, lambda _phase, done, total: self._tell("discover", done, total))
        contenders = {
            category.name: self._fitted(
                category.name,
                found.members(category, with_strays=False),
                product=found.majority(category) or category.name,
            )
            for category in found.categories
        }
        return Arena(contenders, routing_pass, limits, is_routed=True, discovery=found)

    def _fitted(self, name: str, images: Sequence[ImageSource], *, product: str) -> Contender:
        options = self._options
        started = time.perf_counter()
        enrolment = EnrolmentOptions(
            options.head,
            options.profile,
            options.limits,
            options.backbone,
            training=options.training,
            framing=options.framing,
        )
        content = enrol(
            name,
            images,
            enrolment,
            self._engine,
            lambda phase, done, total: self._tell(f"enrol {name}: {phase}", done, total),
        ).artifact
        seconds = time.perf_counter() - started
        return Contender.open(content, self._engine, product=product, n_images=len(images), enroll_s=seconds)


def _sources(labelled: LabelledProduct) -> list[ImageSource]:
    return [ImageSource.of(path) for path in labelled.train]
