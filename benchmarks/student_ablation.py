"""What each part of the student head is worth: {low, high, both} x {SNC off, on}, over products and seeds.

`python -m benchmarks.student_ablation ROOT --products bottle,fabric --out table.md`. Oracle mode: each image
meets its own product's student. Test images choose nothing. AUPRO is at original resolution, limit 0.3.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from inspector.evaluation import metrics
from inspector.evaluation.layouts import LabelledProduct, read_layout, read_mask
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.heads.base import FittingInputs
from inspector.training.heads.passes import passes_for
from inspector.training.heads.student import StudentFitter, StudentRecipe
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.statistics.calibrating import ALPHA
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.heads.student import StudentModel
from inspector.vision.images.preparation import prepare, restore_map
from inspector.vision.networks.backbone import Backbone
from inspector.vision.networks.student_graph import StudentWeights

LEVELS = {"low": (1.0, 0.0), "high": (0.0, 1.0), "both": (0.5, 0.5)}
BATCH = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the grid. `levels`: a key of `LEVELS`."""

    product: str
    seed: int
    levels: str
    is_coded: bool

    @property
    def recipe(self) -> StudentRecipe:
        low, high = LEVELS[self.levels]
        return StudentRecipe(
            is_coded=self.is_coded, low_in_decision=low, high_in_decision=high, low_in_map=low, high_in_map=high
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """None where the data can't give one."""

    auroc: float | None
    pixel_auroc: float | None
    aupro: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """Raw difference maps of one test image, and its own size (height, width)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    size: tuple[int, int]


class Bench:
    """One product's images, prepared, and its students. `students`: where trained ones are kept, or None."""

    def __init__(self, labelled: LabelledProduct, engine: Engine, plan: TrainingPlan, students: Path | None) -> None:
        self._labelled, self._engine, self._plan, self._students = labelled, engine, plan, students
        recipe = StudentRecipe()
        self._passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), engine)
        self._canvases = [prepare(_pixels(path), recipe.preparation) for path in labelled.train]
        self._known: dict[Cell, tuple[StudentModel, list[Judged]]] = {}

    def measure(self, cell: Cell, *, shares_training: bool) -> Figures:
        """Train, calibrate and judge one cell. `shares_training`: a level is read from the student of both."""
        trained = replace(cell, levels="both") if shares_training else cell
        if trained not in self._known:
            self._known[trained] = self._raw(trained)
        student, judged = self._known[trained]
        low, high = LEVELS[cell.levels]
        student = replace(
            student,
            low=replace(student.low, in_decision=low, in_map=low),
            high=replace(student.high, in_decision=high, in_map=high),
        )
        return self._figures(cell.recipe, student, judged)

    def _fitter(self, cell: Cell, plan: TrainingPlan) -> StudentFitter:
        return StudentFitter(cell.recipe, FittingInputs(self._canvases, self._passes, self._engine, plan, _quiet))

    def _raw(self, cell: Cell) -> tuple[StudentModel, list[Judged]]:
        """The cell's student with its units, and its raw maps of the test images."""
        student = self._fitter(cell, self._plan).finish(self._weights(cell), ALPHA).model
        if not isinstance(student, StudentModel):
            raise TypeError("a student's fitter made another head")
        head = student.open(self._engine)
        judged: list[Judged] = []
        test = self._labelled.test
        for start in range(0, len(test), BATCH):
            frames = [_pixels(image.path) for image in test[start : start + BATCH]]
            squares = np.stack([prepare(frame, cell.recipe.preparation) for frame in frames])
            found = head.measure(self._passes.square_embedder(squares))
            judged += [
                Judged(*maps, (frame.shape[0], frame.shape[1])) for maps, frame in zip(found, frames, strict=True)
            ]
        return student, judged

    def _weights(self, cell: Cell) -> StudentWeights:
        name = f"{cell.product}-{cell.seed}-{cell.levels}-{'on' if cell.is_coded else 'off'}-{self._plan.steps}"
        kept = None if self._students is None else self._students / f"{name}.safetensors"
        if kept is not None and kept.is_file():
            return StudentWeights(load_file(kept), cell.is_coded)
        plan = replace(self._plan, seed=cell.seed, folder=self._students)
        weights = self._fitter(cell, plan).train()
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(weights.tensors), kept)
        return weights

    def _figures(self, recipe: StudentRecipe, student: StudentModel, raw: Sequence[Judged]) -> Figures:
        head = student.open(self._engine)
        judged = [(head.blend(each.low, each.high), each.size) for each in raw]
        test = self._labelled.test
        scores = np.array([judgement.score for judgement, _ in judged])
        is_bad = np.array([image.defect is not None for image in test])
        pixel_auroc, aupro = None, None
        if self._labelled.has_masks:
            pairs = (
                (
                    restore_map(judgement.grid_map, recipe.preparation, *size, size),
                    read_mask(image.masks, size),
                )
                for (judgement, size), image in zip(judged, test, strict=True)
            )
            pixel_auroc, aupro = metrics.pixel_figures(pairs)
        return Figures(image_auroc(scores[~is_bad], scores[is_bad]), pixel_auroc, aupro)


def _pixels(path: Path) -> NDArray[np.uint8]:
    return decode(path.read_bytes(), DecodeLimits())


def _quiet(_phase: str, _done: int, _total: int) -> None:
    return None


def table(found: dict[Cell, Figures], products: Sequence[str]) -> str:
    """Markdown: one row per variant; per product image AUROC / AUPRO, means over seeds, then over products."""
    lines = [f"| levels | SNC | {' | '.join(products)} | mean |", "|---|---|" + "---|" * (len(products) + 1)]
    for levels, is_coded in itertools.product(LEVELS, (False, True)):
        cells, means = [], []
        for product in products:
            own = [f for c, f in found.items() if (c.product, c.levels, c.is_coded) == (product, levels, is_coded)]
            means.append((_mean([f.auroc for f in own]), _mean([f.aupro for f in own])))
            cells.append(_shown(*means[-1]))
        mean = _shown(_mean([auroc for auroc, _ in means]), _mean([aupro for _, aupro in means]))
        lines.append(f"| {levels} | {'on' if is_coded else 'off'} | {' | '.join(cells)} | {mean} |")
    return "\n".join(lines)


def cells(product: str, seeds: int, single_level_seeds: int) -> Iterator[Cell]:
    """The grid of one product: both levels for each seed, a single one for the first `single_level_seeds`."""
    for seed, levels, is_coded in itertools.product(range(seeds), LEVELS, (False, True)):
        if levels == "both" or seed < single_level_seeds:
            yield Cell(product, seed, levels, is_coded)


def paired(found: dict[Cell, Figures], products: Sequence[str]) -> str:
    """Markdown: what SNC adds, with both levels: mean and spread over seeds of the difference of the same seed."""
    lines = ["| SNC on - off, both levels | image AUROC | AUPRO |", "|---|---|---|"]
    whole: dict[str, list[float]] = {"auroc": [], "aupro": []}
    for product in products:
        shown = []
        for figure, everything in whole.items():
            own = []
            for cell, with_code in found.items():
                if (cell.product, cell.levels, cell.is_coded) != (product, "both", True):
                    continue
                pair = getattr(with_code, figure), getattr(found[replace(cell, is_coded=False)], figure)
                if None not in pair:
                    own.append(pair[0] - pair[1])
            everything.extend(own)
            shown.append(_spread(own))
        lines.append(f"| {product} | {shown[0]} | {shown[1]} |")
    lines.append(f"| all | {_spread(whole['auroc'])} | {_spread(whole['aupro'])} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.4f}{spread} (n = {len(values)})"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _shown(auroc: float | None, aupro: float | None) -> str:
    return " / ".join("-" if value is None else f"{value:.3f}" for value in (auroc, aupro))


def main() -> None:
    """Print the table, and write it where `--out` says."""
    options = _options()
    products = tuple(options.products.split(",")) if options.products else None
    labelled = read_layout(options.root, products)
    plan = TrainingPlan(steps=options.steps)
    found: dict[Cell, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", Path(folder), options.threads)
        for item in labelled:
            bench = Bench(item, engine, plan, options.students)
            for cell in cells(item.name, options.seeds, options.single_level_seeds):
                found[cell] = bench.measure(cell, shares_training=options.share_training)
                print(cell, found[cell], flush=True)
    names = [item.name for item in labelled]
    text = f"{table(found, names)}\n\n{paired(found, names)}"
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in MVTec AD layout")
    parser.add_argument("--products", help="some of them, by comma")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N - 1")
    parser.add_argument(
        "--single-level-seeds", type=int, default=1, help="so many of them for one level alone, 0 to all"
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=0, help="of the engine; training takes one")
    parser.add_argument(
        "--share-training",
        action="store_true",
        help="train both levels once and read one of them, instead of training it alone: a third of the time",
    )
    parser.add_argument("--students", type=Path, help="folder that keeps trained students, so that a run can go on")
    parser.add_argument("--out", type=Path, help="file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
