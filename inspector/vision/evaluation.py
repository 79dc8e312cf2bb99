"""Measures heads and routing on labelled images, with the code that inspects the stream.

Heads are fitted by the enrolment itself from `train/good`; test images choose nothing. In oracle mode
each image meets its own product's head, in routed mode the head it is routed to: the nearest product's
level counts even where the frame is called unknown, which counts as routed wrongly. A figure that the
data can't give is None. Nothing is kept on disk but the engine's graphs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Route
from inspector.errors import UndecodableFrame, UsageError
from inspector.stream.decode import DecodeLimits, decode
from inspector.vision import metrics
from inspector.vision.anchors import AnchorIndex, routing_copy, routing_profile
from inspector.vision.artifact import unpack
from inspector.vision.backbone import Backbone, find_weights
from inspector.vision.calibration import clopper_pearson
from inspector.vision.engines import Embedder, Engine, on_host
from inspector.vision.enrolment import EnrolmentOptions, enrol
from inspector.vision.folders import ImageSource
from inspector.vision.framing import Framing
from inspector.vision.gathering import Progress
from inspector.vision.inspection import ProductInspector
from inspector.vision.layout import LabelledImage, LabelledProduct, read_layout, read_mask
from inspector.vision.preprocessing import prepare
from inspector.vision.prototype import Judgement
from inspector.vision.student import TrainingPlan
from inspector.vision.tiling import tiled

Mode = Literal["oracle", "routed"]
INTERVAL_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to measure. `artifacts`: product -> bytes to judge instead of heads fitted here (`--registry`).

    `training`: of the student head. `backbone`, `framing`: as in the enrolment.
    """

    products: tuple[str, ...] | None = None
    mode: str = "routed"
    head: str = "auto"
    profile: str = "standard"
    artifacts: Mapping[str, bytes] | None = None
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    training: TrainingPlan = field(default_factory=TrainingPlan)
    backbone: Backbone = field(default_factory=Backbone)
    framing: Framing = field(default_factory=Framing)


@dataclass(frozen=True, slots=True)
class _Contender:
    """One product's head under test. `enroll_s` is None where it was not fitted here."""

    labelled: LabelledProduct
    inspector: ProductInspector
    embedder: Embedder
    enroll_s: float | None


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one test image. `by`: the product whose head judged it; `patches`: float16 [P, C]."""

    image: LabelledImage
    size: tuple[int, int]
    level: float
    judgement: Judgement
    by: str
    route: Route | None
    patches: NDArray[np.float16] | None
    ms: float


def evaluate(
    root: Path, options: EvaluationOptions, engine: Engine, progress: Progress | None = None
) -> dict[str, Any]:
    """The figures, in the form of `inspector evaluate --json`. Blocking, minutes.

    Raises UsageError for an unknown mode, head or profile and for a wrong layout, EnrolmentError where a
    product has too few images, ArtifactError.
    """
    if options.mode not in ("oracle", "routed"):
        raise UsageError(f"There is no mode {options.mode!r}; choose oracle or routed.")
    tell = progress or (lambda _phase, _done, _total: None)
    labelled = read_layout(root, options.products)
    contenders = {item.name: _contender(item, options, engine, tell) for item in labelled}
    route_embedder = engine.embedder(routing_profile().graph, small=True)
    arena = _Arena(contenders, route_embedder, options)
    results: dict[str, list[_Result]] = {}
    for item in labelled:
        results[item.name] = []
        for done, image in enumerate(item.test, start=1):
            results[item.name].append(arena.judge(item.name, image))
            tell(f"test {item.name}", done, len(item.test))
    products = {name: _product_figures(arena, name, found) for name, found in results.items()}
    first = next(iter(contenders.values())).inspector.artifact
    return {
        "mode": options.mode,
        "head": first.manifest["head"],
        "profile": first.manifest["profile"],
        "backbone": first.graph.backbone,
        "engine": engine.name,
        "products": products,
        "mean": {
            key: _mean([figures[key] for figures in products.values()])
            for key in ("image_auroc", "image_ap", "pixel_auroc", "aupro")
        },
        "routing": _routing_figures(arena, results, products),
    }


def _contender(labelled: LabelledProduct, options: EvaluationOptions, engine: Engine, progress: Progress) -> _Contender:
    enroll_s = None
    if options.artifacts is None:
        started = time.perf_counter()
        images = [ImageSource(str(path), path=path) for path in labelled.train]
        enrolment = EnrolmentOptions(
            options.head,
            options.profile,
            options.limits,
            options.backbone,
            training=options.training,
            framing=options.framing,
        )
        content = enrol(
            labelled.name,
            images,
            enrolment,
            engine,
            lambda phase, done, total: progress(f"enrol {labelled.name}: {phase}", done, total),
        ).artifact
        enroll_s = time.perf_counter() - started
    elif labelled.name in options.artifacts:
        content = options.artifacts[labelled.name]
    else:
        raise UsageError(f"{labelled.name} is not enrolled; enrol it, or leave it out with --products.")
    artifact = unpack(content)
    weights_file = find_weights(artifact.manifest.get("weights_file"), None)
    embedder = tiled(engine.embedder(artifact.graph, weights_file), artifact.preparation)
    return _Contender(labelled, ProductInspector(artifact, engine), embedder, enroll_s)


class _Arena:
    """All contenders side by side, as a lineup would hold them."""

    def __init__(
        self, contenders: Mapping[str, _Contender], route_embedder: Embedder, options: EvaluationOptions
    ) -> None:
        self.contenders = contenders
        self.is_routed = options.mode == "routed"
        self._limits = options.limits
        self._route_embedder = route_embedder
        self.index = self.index_without(None)

    def index_without(self, left_out: str | None) -> AnchorIndex:
        return AnchorIndex(
            [item.inspector.artifact.anchors for name, item in self.contenders.items() if name != left_out]
        )

    def judge(self, true_product: str, image: LabelledImage) -> _Result:
        """One image from its bytes to its level, timed. Raises UsageError where it can't be read."""
        payload = image.path.read_bytes()
        started = time.perf_counter()
        try:
            pixels = decode(payload, self._limits)
        except UndecodableFrame as error:
            raise UsageError(f"{image.path} can't be used: {error}") from error
        route, patches = None, None
        by = true_product
        if self.is_routed:
            unit = routing_profile().patches(on_host(self._route_embedder(routing_copy(pixels)[None])[0])[0])
            route = self.index.route(unit)
            by = route.nearest or true_product
            patches = unit.astype(np.float16)
        contender = self.contenders[by]
        artifact = contender.inspector.artifact
        size = (pixels.shape[0], pixels.shape[1])
        embedded = contender.embedder(prepare(pixels, artifact.preparation)[None])
        judgement = contender.inspector.judge(embedded)[0]
        ms = (time.perf_counter() - started) * 1e3
        level = artifact.calibration.level(judgement.score)
        return _Result(image, size, level, judgement, by, route, patches, ms)

    def maps(self, results: Sequence[_Result]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Maps at original resolution with their masks, one at a time."""
        for result in results:
            inspector = self.contenders[result.by].inspector
            mask = np.zeros(result.size, np.bool_)
            if result.image.mask is not None:
                mask = read_mask(result.image.mask, result.size)
            yield inspector.map_levels(result.judgement, result.size), mask


def _product_figures(arena: _Arena, name: str, results: Sequence[_Result]) -> dict[str, Any]:
    contender = arena.contenders[name]
    calibration = contender.inspector.artifact.calibration
    good = np.array([r.level for r in results if r.image.defect is None])
    defective = np.array([r.level for r in results if r.image.defect is not None])
    pixel_auroc, aupro = None, None
    if contender.labelled.has_masks:
        pixel_auroc, aupro = metrics.pixel_figures(arena.maps(results))
    times = np.array([r.ms for r in results])
    return {
        "n_train": len(contender.labelled.train),
        "n_good": len(good),
        "n_defect": len(defective),
        "image_auroc": metrics.image_auroc(good, defective),
        "image_ap": metrics.average_precision(good, defective),
        "image_f1_max": metrics.best_f1(good, defective),
        "pixel_auroc": pixel_auroc,
        "aupro": aupro,
        "false_reject_share": _share(good > 1.0),
        "false_reject_interval": _interval(good > 1.0),
        "missed_defect_share": _share(defective <= 1.0),
        "missed_defect_interval": _interval(defective <= 1.0),
        "threshold": calibration.threshold,
        "calibration": calibration.statement,
        "routing_accuracy_good": _routed_rightly(name, results, is_defective=False),
        "routing_accuracy_defect": _routed_rightly(name, results, is_defective=True),
        "by_defect": _by_defect(good, results),
        "enroll_s": contender.enroll_s,
        "ms_per_image": {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))},
    }


def _by_defect(good: NDArray[np.float64], results: Sequence[_Result]) -> dict[str, Any]:
    kinds = sorted({r.image.defect for r in results if r.image.defect is not None})
    figures = {}
    for kind in kinds:
        levels = np.array([r.level for r in results if r.image.defect == kind])
        figures[kind] = {
            "n": len(levels),
            "image_auroc": metrics.image_auroc(good, levels),
            "missed_share": _share(levels <= 1.0),
            "missed_interval": _interval(levels <= 1.0),
        }
    return figures


def _routed_rightly(name: str, results: Sequence[_Result], *, is_defective: bool) -> float | None:
    """Share routed to their product; unknown counts as wrong. None in oracle mode."""
    routes = [r.route for r in results if (r.image.defect is not None) == is_defective and r.route is not None]
    return _share(np.array([route.product == name for route in routes]))


def _routing_figures(
    arena: _Arena, results: Mapping[str, Sequence[_Result]], products: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    def unknown(is_defective: bool) -> float | None:
        shares = []
        for found in results.values():
            routes = [r.route for r in found if (r.image.defect is not None) == is_defective and r.route is not None]
            shares.append(_share(np.array([route.product is None for route in routes])))
        return _mean(shares)

    return {
        "accuracy_good": _mean([figures["routing_accuracy_good"] for figures in products.values()]),
        "accuracy_defect": _mean([figures["routing_accuracy_defect"] for figures in products.values()]),
        "unknown_auroc": _unknown_auroc(arena, results),
        "unknown_rate_good": unknown(False),
        "unknown_rate_defect": unknown(True),
        "categories_found": None,
        "purity": None,
        "nmi": None,
    }


def _unknown_auroc(arena: _Arena, results: Mapping[str, Sequence[_Result]]) -> float | None:
    """Mean over products left out: are its images farther from all anchors than those of the known products?"""
    if not arena.is_routed or len(results) < 2:
        return None
    found = []
    for left_out in results:
        index = arena.index_without(left_out)
        known: list[float] = []
        strange: list[float] = []
        for name, items in results.items():
            distances = [index.route(r.patches.astype(np.float32)).distance for r in items if r.patches is not None]
            (strange if name == left_out else known).extend(distances)
        found.append(metrics.image_auroc(np.array(known), np.array(strange)))
    return _mean(found)


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _interval(flags: NDArray[np.bool_]) -> list[float] | None:
    """The exact 95 % interval of a share."""
    if not len(flags):
        return None
    return list(clopper_pearson(int(flags.sum()), len(flags), INTERVAL_CONFIDENCE))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
