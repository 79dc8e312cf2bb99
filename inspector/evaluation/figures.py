"""Makes the figures that `inspector evaluate` prints from judged images. A figure that the data can't give is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.evaluation import metrics
from inspector.evaluation.contenders import Arena, Result
from inspector.evaluation.layouts import LabelledProduct
from inspector.evaluation.masks import MaskFindings
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.artifacts.binomial import clopper_pearson

INTERVAL_CONFIDENCE = 0.95


def product_figures(
    arena: Arena, labelled: LabelledProduct, results: Sequence[Result], masks: MaskFindings
) -> dict[str, Any]:
    """One entry of `products` in `inspector evaluate --json`.

    `threshold`, `calibration` and `enroll_s` are of the product's own head; where several were discovered for it, of
    the one with the most images; None where it was discovered as part of another's.
    """
    own = arena.head_of(labelled.name)
    calibration = own.inspector.artifact.calibration if own else None
    good = np.array([r.level for r in results if r.image.defect is None])
    defective = np.array([r.level for r in results if r.image.defect is not None])
    pixel_auroc, aupro = None, None
    if masks.are_complete:
        pixel_auroc, aupro = metrics.pixel_figures(arena.maps(results))
    times = np.array([r.ms for r in results])
    return {
        "n_train": len(labelled.train),
        "n_good": len(good),
        "n_defect": len(defective),
        "image_auroc": image_auroc(good, defective),
        "image_ap": metrics.average_precision(good, defective),
        "image_f1_max": metrics.best_f1(good, defective),
        "pixel_auroc": pixel_auroc,
        "aupro": aupro if labelled.has_regions else None,
        "false_reject_share": _share(good > 1.0),
        "false_reject_interval": _interval(good > 1.0),
        "missed_defect_share": _share(defective <= 1.0),
        "missed_defect_interval": _interval(defective <= 1.0),
        "threshold": calibration.threshold if calibration else None,
        "calibration": calibration.statement if calibration else None,
        "routing_accuracy_good": _routed_rightly(arena, labelled.name, results, is_defective=False),
        "routing_accuracy_defect": _routed_rightly(arena, labelled.name, results, is_defective=True),
        "by_defect": _by_defect(good, results),
        "enroll_s": own.enroll_s if own else None,
        "ms_per_image": {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))},
    }


def _by_defect(good: NDArray[np.float64], results: Sequence[Result]) -> dict[str, Any]:
    kinds = sorted({r.image.defect for r in results if r.image.defect is not None})
    figures = {}
    for kind in kinds:
        levels = np.array([r.level for r in results if r.image.defect == kind])
        figures[kind] = {
            "n": len(levels),
            "image_auroc": image_auroc(good, levels),
            "missed_share": _share(levels <= 1.0),
            "missed_interval": _interval(levels <= 1.0),
        }
    return figures


def _routed_rightly(arena: Arena, name: str, results: Sequence[Result], *, is_defective: bool) -> float | None:
    """Share routed to a head of their product; unknown counts as wrong. None in oracle mode."""
    routes = [r.route for r in results if (r.image.defect is not None) == is_defective and r.route is not None]
    return _share(np.array([arena.stands_for(route.product) == name for route in routes]))


def routing_figures(
    arena: Arena, results: Mapping[str, Sequence[Result]], products: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The entry `routing` of `inspector evaluate --json`; the last three are known in unlabelled mode only."""
    found = arena.discovery

    def unknown(is_defective: bool) -> float | None:
        shares = []
        for own in results.values():
            routes = [r.route for r in own if (r.image.defect is not None) == is_defective and r.route is not None]
            shares.append(_share(np.array([route.product is None for route in routes])))
        return mean(shares)

    return {
        "accuracy_good": mean([figures["routing_accuracy_good"] for figures in products.values()]),
        "accuracy_defect": mean([figures["routing_accuracy_defect"] for figures in products.values()]),
        "unknown_auroc": _unknown_auroc(arena, results),
        "unknown_rate_good": unknown(False),
        "unknown_rate_defect": unknown(True),
        "categories_found": len(found.categories) if found else None,
        "purity": found.purity if found else None,
        "nmi": found.nmi if found else None,
    }


def _unknown_auroc(arena: Arena, results: Mapping[str, Sequence[Result]]) -> float | None:
    """Mean AUROC over left-out products: how well distance tells their images from those of known products."""
    if not arena.is_routed or len(results) < 2:
        return None
    found = []
    for left_out in results:
        index = arena.index_without(left_out)
        if arena.head_of(left_out) is None or not index.products:
            continue  # the product can't be left out: it has no category, or all of them
        known: list[float] = []
        strange: list[float] = []
        for name, items in results.items():
            seen = [
                {halving: patches.astype(np.float32) for halving, patches in each.patches.items()}
                for each in items
                if each.patches is not None
            ]
            distances = [index.route(each).distance for each in seen]
            (strange if name == left_out else known).extend(distances)
        found.append(image_auroc(np.array(known), np.array(strange)))
    return mean(found)


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _interval(flags: NDArray[np.bool_]) -> list[float] | None:
    """The exact 95 % interval of a share."""
    if not len(flags):
        return None
    return list(clopper_pearson(int(flags.sum()), len(flags), INTERVAL_CONFIDENCE))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the known values; None where no value is known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
