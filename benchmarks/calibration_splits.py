"""Does the false-reject statement hold? Over 100 grouped splits of good images, and on good images of other lots.

    python -m benchmarks.calibration_splits ROOT [--products bottle,fabric] [--out table.md]

ROOT holds products in MVTec AD layout. First table: training images go in groups (runs of the file order, since
neighbours are often shots of one part). Five times half of the groups make a head; twenty times the other half is split
by groups into images that calibrate it and fresh ones, and the statement is held against the share of fresh good images
that is rejected. That share is of few images and scatters by itself. `by chance`: how often it would lie at or below
the bound if the images were exchangeable and the threshold were the largest score, without its margin. `not refuted`:
in so many splits the rejected ones are no more than a true rate at the bound gives in 95 of 100 such samples. Beside
it, what the thresholds cost: the share of the product's defective test images that is missed.
Second table: the product is enrolled as `inspector enroll` does it, and its good test images, which nothing has seen,
are judged. Patches are embedded once and kept in memory; only banks and thresholds are made anew.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.splitting import held_out
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.prototype import PrototypeFitter, PrototypeRecipe, prototype_recipe
from inspector.training.statistics.calibrating import calibrate
from inspector.vision.artifacts.binomial import binomial_cdf, clopper_pearson
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Embedder, Engine, Patches, on_host
from inspector.vision.images.preparation import prepare
from inspector.vision.networks.backbone import Backbone
from inspector.vision.networks.graphs import BackboneFile, Graph
from inspector.vision.serving.product_inspector import ProductInspector

HEADS = 5
SPLITS = 20
GROUPS = 40
BATCH = 8
FEWEST_TEST_IMAGES = 60


@dataclass(frozen=True, slots=True)
class SplitFigures:
    """Of one product over all splits. `n`: images that calibrate; the rest are means or shares over the splits."""

    product: str
    n: int
    fresh: int
    bound: float
    rejected: float
    held: float
    by_chance: float
    not_refuted: float
    missed: float
    missed_most: float


class CachedPatches:
    """Every image's patches, embedded once. As an embedder it takes indices in the place of pixels, [B, 1]."""

    def __init__(self, images: Sequence[Path], recipe: PrototypeRecipe, embedder: Embedder) -> None:
        self._kept: list[list[NDArray[np.float16]]] = []
        for start in range(0, len(images), BATCH):
            pixels = [decode(path.read_bytes(), DecodeLimits()) for path in images[start : start + BATCH]]
            embedded = embedder(np.stack([prepare(each, recipe.preparation) for each in pixels]))
            rows = [on_host(each).astype(np.float16) for each in embedded]
            self._kept += [[each[row] for each in rows] for row in range(len(pixels))]
        self.inputs = [np.array([index], np.int64) for index in range(len(images))]

    def __call__(self, pixels: NDArray[np.integer]) -> list[Patches]:
        chosen = [self._kept[int(index)] for index in pixels[:, 0]]
        return [np.stack([each[number] for each in chosen]).astype(np.float32) for number in range(len(chosen[0]))]


def main() -> None:
    options = _options()
    products = tuple(options.products.split(",")) if options.products else None
    lines = [
        "| product | calibrated on | fresh | bound | fresh rejected, mean | share at or below the bound "
        "| by chance | not refuted | defects missed, mean | worst |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    deployed = ["| product | statement | good test images rejected | inside |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), options.threads)
        for item in read_layout(options.root, products):
            lines.append(_line(measure(item, engine, options.profile)))
            print(lines[-1], flush=True)
            if sum(each.defect is None for each in item.test) >= FEWEST_TEST_IMAGES:
                deployed.append(_deployed(item, engine, options.profile))
                print(deployed[-1], flush=True)
    text = "\n".join([*lines, "", *deployed])
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def measure(item: LabelledProduct, engine: Engine, profile: str) -> SplitFigures:
    """All splits of one product."""
    recipe = prototype_recipe(profile)
    graph = Graph(
        Backbone().name, BackboneFile.installed(Backbone()).sha256, recipe.preparation.size_px, recipe.embeddings
    )
    defective = [each.path for each in item.test if each.defect is not None]
    count = len(item.train)
    patches = CachedPatches([*item.train, *defective], recipe, engine.embedder(graph))
    fitter = PrototypeFitter(recipe, graph, engine, patches.inputs, patches)  # type: ignore[arg-type]  # indices for pixels
    group_of = np.arange(count) // math.ceil(count / GROUPS)
    groups = np.unique(group_of)
    found = []
    for head in range(HEADS):
        rng = np.random.default_rng(head)
        learnt = np.isin(group_of, rng.permutation(groups)[: len(groups) // 2])
        scores = _scores(fitter, np.flatnonzero(learnt).tolist(), range(count + len(defective)))
        unseen, of_defects = np.flatnonzero(~learnt), scores[count:]
        for _ in range(SPLITS):
            left = rng.permutation(np.unique(group_of[unseen]))
            is_calibrating = np.isin(group_of[unseen], left[: len(left) // 2])
            calibration = calibrate(scores[unseen[is_calibrating]], held_out="grouped split", is_cross_fit=False)
            fresh = scores[unseen[~is_calibrating]]
            rejected = int((fresh > calibration.threshold).sum())
            bound = calibration.false_reject_bound or 1.0
            chance = _above_by_chance(calibration.n, len(fresh), bound)
            missed = float((of_defects <= calibration.threshold).mean())
            is_possible = 1.0 - binomial_cdf(rejected - 1, len(fresh), bound) >= 0.05 if rejected else True
            found.append((calibration.n, len(fresh), bound, rejected / len(fresh), chance, missed, is_possible))
    table = np.array(found)
    return SplitFigures(
        product=item.name,
        n=round(table[:, 0].mean()),
        fresh=round(table[:, 1].mean()),
        bound=float(table[:, 2].mean()),
        rejected=float(table[:, 3].mean()),
        held=float((table[:, 3] <= table[:, 2]).mean()),
        by_chance=float(table[:, 4].mean()),
        not_refuted=float(table[:, 6].mean()),
        missed=float(table[:, 5].mean()),
        missed_most=float(table[:, 5].max()),
    )


def _scores(fitter: PrototypeFitter, bank: list[int], indices: Sequence[int]) -> NDArray[np.float64]:
    """A head of these images, its units from within them as in an enrolment, and what it says of all others."""
    quiet = lambda *_: None  # noqa: E731 - progress that nobody watches
    fitter.sample(bank, quiet)
    is_inner = held_out(len(bank))
    trial = fitter.fit([image for image, apart in zip(bank, is_inner, strict=True) if not apart])
    inner = [image for image, apart in zip(bank, is_inner, strict=True) if apart]
    units = fitter.crossed_units(fitter.units(trial, fitter.measure(trial, inner, quiet)), bank)
    members = fitter.with_units(fitter.fit(bank), units)
    unseen = sorted(set(indices) - set(bank))
    scores = np.full(len(indices), np.nan)
    scores[unseen] = [each.score for each in fitter.blend(members, fitter.measure(members, unseen, quiet))]
    return scores


def _above_by_chance(n: int, fresh: int, bound: float) -> float:
    """How often more than `bound` of the fresh lie above the largest of n, if all are exchangeable."""
    fewest = math.floor(bound * fresh) + 1
    return (
        math.exp(sum(math.log(fresh - i) - math.log(n + fresh - i) for i in range(fewest))) if fewest <= fresh else 0.0
    )


def _deployed(item: LabelledProduct, engine: Engine, profile: str) -> str:
    images = [ImageSource.of(path) for path in item.train]
    artifact = unpack(enrol(item.name, images, EnrolmentOptions(profile=profile), engine).artifact)
    judge = ProductInspector(artifact, engine)
    embedder = engine.embedder(artifact.graph)
    good = [each.path for each in item.test if each.defect is None]
    rejected = 0
    for path in good:
        pixels = decode(path.read_bytes(), DecodeLimits())
        rejected += judge.judge(embedder(prepare(pixels, artifact.preparation)[None]))[0].score > (
            artifact.calibration.threshold
        )
    low, high = clopper_pearson(rejected, len(good), 0.95)
    bound = artifact.calibration.false_reject_bound or (artifact.calibration.false_reject_interval or (0.0, 1.0))[1]
    inside = "yes" if rejected / len(good) <= bound else "no"
    return (
        f"| {item.name} | {artifact.calibration.kind}, below {bound:.1%} ({artifact.calibration.n} images) "
        f"| {rejected} of {len(good)}, {rejected / len(good):.1%} ({low:.1%} to {high:.1%}) | {inside} |"
    )


def _line(figures: SplitFigures) -> str:
    return (
        f"| {figures.product} | {figures.n} | {figures.fresh} | {figures.bound:.1%} | {figures.rejected:.1%} "
        f"| {figures.held:.0%} | {1 - figures.by_chance:.0%} | {figures.not_refuted:.0%} "
        f"| {figures.missed:.1%} | {figures.missed_most:.1%} |"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in MVTec AD layout")
    parser.add_argument("--products", help="some of them, by comma")
    parser.add_argument("--profile", default="standard", help="fast, standard or fine")
    parser.add_argument("--threads", type=int, default=0, help="of the engine")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--out", type=Path, help="file for the tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
