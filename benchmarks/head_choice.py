"""Would a choice of the head by drawn defects pay? A margin for it, by leave-one-product-out, beside the test images.

    python -m benchmarks.head_choice ROOT --cache FOLDER [--products a,b] [--again prototype] [--out table.md]

`--head auto` takes the default head, because this choice did not pay. Each head that can be enrolled is fitted once for
each product, on images that calibrate none of them (at most 128, a student for 500 steps). It judges other clean
images, drawn defects and the product's test images. A choice sees the first two alone: it takes the default head
unless another one leads by a margin in the AUROC of drawn defects. The test images say what each margin costs, and for
each product the margin is also chosen by all other products. Products with too few images are named and not measured.
FOLDER keeps scores and exposures: a run that was stopped goes on from there, and a run with another default head
measures that head alone. `--again` measures a head anew whose code has changed and whose recipe has not.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.choice.exposure import choose_exposure
from inspector.training.choice.trial import TrialImages, canvas_trial, frame_trial, trial_images, usable_images
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.gathering import Gathered, Gatherer, gather
from inspector.training.heads.base import FittingInputs, HeadRecipe, TrialParts
from inspector.training.heads.factory import DEFAULT, heads, recipe_for
from inspector.training.heads.passes import passes_for
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine
from inspector.vision.images.exposure import Exposure
from inspector.vision.images.preparation import prepare
from inspector.vision.networks.backbone import Backbone

HEADS = heads()
LEAST_LEAD = 0.1
"""The margin that an enrolment used as long as it made this choice."""
LEADS = (*(round(0.01 * step, 2) for step in range(31)), 1.0)
"""Margins that the other products may ask for; at the last one, no rival is ever taken."""
Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Found:
    """One product: by head, the AUROC of drawn defects and of the test images."""

    drawn: Mapping[str, float]
    test: Mapping[str, float]

    def taken(self, least_lead: float) -> str:
        return leading(self.drawn, least_lead)

    def told(self, least_lead: float) -> float:
        """The AUROC on test images of the head that is taken at this margin."""
        return self.test[self.taken(least_lead)]


class Bench:
    """Fits the heads of one product after another. `steps`: of a trial's student."""

    def __init__(self, options: argparse.Namespace, engine: Engine) -> None:
        self._cache: Path = options.cache
        self._again = options.again
        self._plan = TrainingPlan(steps=4 * options.steps)  # a trial's student takes a quarter of them
        self._engine = engine
        self._recipes = [recipe_for(head, "standard") for head in HEADS]

    def measure(self, products: Sequence[LabelledProduct]) -> dict[str, Found]:
        """All heads of each product, from the cache where it has them; the student last, because it takes longest."""
        drawn: dict[str, dict[str, float]] = {each.name: {} for each in products}
        test: dict[str, dict[str, float]] = {each.name: {} for each in products}
        gathered = {each.name: _Lazily(each, self._recipes, self._engine) for each in products}
        for recipe, labelled in itertools.product(self._recipes, products):
            name = labelled.name
            exposure = self._exposure(labelled, gathered[name]) if recipe.is_exposure_chosen else "as_is"
            own = recipe.with_preparation(replace(recipe.preparation, exposure=exposure))
            scores = self._kept(labelled, own, gathered[name])
            drawn[name][recipe.head] = _auroc(scores["clean"], scores["drawn"])
            test[name][recipe.head] = _auroc(scores["good"], scores["defective"])
        return {name: Found(drawn[name], test[name]) for name in gathered}

    def choosing(self, count: int) -> TrialImages | None:
        """The images of `count` that could choose a head, None where there are too few."""
        calibrating = [image for recipe in self._recipes for image in recipe.calibrating(count)]
        return trial_images(usable_images(count, calibrating))

    def _exposure(self, labelled: LabelledProduct, gathered: _Lazily) -> Exposure:
        """The exposure that an enrolment of the default head would choose, from the cache where it is there."""
        recipe = self._recipes[0]
        path = self._path(labelled, recipe, "exposure", "json")
        if not path.is_file():
            images = trial_images(usable_images(len(labelled.train), recipe.calibrating(len(labelled.train))))
            chosen: Exposure = "as_is"
            if images is not None:
                judge = recipe.exposure_judge
                trial = canvas_trial(images, gathered.images.inputs, judge.preparation.size_px)
                chosen, _ = choose_exposure(judge, trial, self._inputs(judge, trial.canvases))
            path.write_text(json.dumps(chosen), encoding="utf-8")
        read: Exposure = json.loads(path.read_text(encoding="utf-8"))
        return read

    def _kept(self, labelled: LabelledProduct, recipe: HeadRecipe, gathered: _Lazily) -> Scores:
        path = self._path(labelled, recipe, recipe.head, "npz")
        if not path.is_file() or recipe.head in self._again:
            began = time.perf_counter()
            scores = self._scores(labelled, recipe, gathered)
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, **scores)
            print(f"{labelled.name} {recipe.head}: {time.perf_counter() - began:.0f} s", flush=True)
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}

    def _scores(self, labelled: LabelledProduct, recipe: HeadRecipe, gathered: _Lazily) -> Scores:
        """The trial of an enrolment, with the test images judged after its drawn defects."""
        preparation = recipe.preparation
        images = self.choosing(len(gathered.images))
        if images is None:
            raise SystemExit(f"{labelled.name} has too many equal images to choose a head by.")
        trial = frame_trial(images, gathered.images.grounds, preparation)
        tested = [prepare(decode(each.path.read_bytes(), DecodeLimits()), preparation) for each in labelled.test]
        canvases = [*trial.canvases, *tested]
        parts = TrialParts(trial.parts.learnt, trial.parts.clean, range(trial.parts.clean.stop, len(canvases)))
        judged = recipe.judge_trial(self._inputs(recipe, canvases), parts).decision
        clean, drawn, test = np.split(judged, [len(parts.clean), len(judged) - len(tested)])
        is_defective = np.array([each.defect is not None for each in labelled.test])
        return {"clean": clean, "drawn": drawn, "good": test[~is_defective], "defective": test[is_defective]}

    def _inputs(self, recipe: HeadRecipe, canvases: Sequence[NDArray[np.uint8]]) -> FittingInputs:
        passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), self._engine)
        return FittingInputs(canvases, passes, self._engine, self._plan, _untold)

    def _path(self, labelled: LabelledProduct, recipe: HeadRecipe, what: str, kind: str) -> Path:
        counts = (len(labelled.train), len(labelled.test))
        asked = repr((recipe, counts, self._plan.steps if recipe.head == "student" else None))
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache / f"{labelled.name}-{what}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.{kind}"


class _Lazily:
    """The training images of a product as an enrolment gathers them; read when they are first wanted."""

    def __init__(self, labelled: LabelledProduct, recipes: Sequence[HeadRecipe], engine: Engine) -> None:
        self._recipes = recipes
        self._labelled = labelled
        self._engine = engine
        self._gathered: Gathered | None = None

    @property
    def images(self) -> Gathered:
        if self._gathered is None:
            preparations = list(dict.fromkeys(recipe.preparation for recipe in self._recipes))
            passes = passes_for(preparations[0], self._recipes[0].embeddings, Backbone(), self._engine)
            gatherer = Gatherer(preparations, DecodeLimits(), passes.routing_pass, is_drawn_on=True)
            self._gathered = gather([ImageSource.of(path) for path in self._labelled.train], gatherer, _untold)
        return self._gathered


def table(products: Mapping[str, Found]) -> str:
    """Markdown: a row for each product, and the means; then what each margin gives."""
    lines = [
        f"| product | on test images: {', '.join(HEADS)} | drawn defects: the same | lead of the best rival "
        f"| taken at {LEAST_LEAD:g} | against the default | margin by the others | against the default |",
        "|---|---|---|---|---|---|---|---|",
    ]
    left_out = {}
    for name, found in products.items():
        margin = best_margin([each for key, each in products.items() if key != name])
        left_out[name] = found.told(margin) - found.test[DEFAULT]
        drawn = " / ".join(f"{found.drawn[head]:.3f}" for head in HEADS)
        lead = max(found.drawn[head] for head in HEADS if head != DEFAULT) - found.drawn[DEFAULT]
        lines.append(
            f"| {name} | {' / '.join(f'{found.test[head]:.3f}' for head in HEADS)} "
            f"| {drawn} | {lead:+.3f} | {found.taken(LEAST_LEAD)} "
            f"| {found.told(LEAST_LEAD) - found.test[DEFAULT]:+.3f} | {margin:g}: {found.taken(margin)} "
            f"| {left_out[name]:+.3f} |"
        )
    means = " / ".join(f"{np.mean([each.test[head] for each in products.values()]):.3f}" for head in HEADS)
    now = np.mean([each.told(LEAST_LEAD) - each.test[DEFAULT] for each in products.values()])
    lines.append(f"| mean | {means} | | | | {now:+.3f} | | {np.mean(list(left_out.values())):+.3f} |")
    best = np.mean([max(each.test.values()) for each in products.values()])
    lines += ["", f"The best head of each product by its test images: mean {best:.3f}.", ""]
    lines += ["| margin | mean on test images | taken from the default |", "|---|---|---|"]
    for lead in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 1.0):
        taken = {name: each.taken(lead) for name, each in products.items()}
        others = ", ".join(f"{name} ({head})" for name, head in taken.items() if head != DEFAULT)
        lines.append(f"| {lead:g} | {_mean_told(list(products.values()), lead):.3f} | {others or 'none'} |")
    return "\n".join(lines)


def leading(drawn: Mapping[str, float], least_lead: float = LEAST_LEAD) -> str:
    """The default head, or the best of the others where that one leads by enough."""
    best = max((head for head in drawn if head != DEFAULT), key=drawn.__getitem__, default=DEFAULT)
    return best if drawn[best] >= drawn[DEFAULT] + least_lead else DEFAULT


def best_margin(products: Sequence[Found]) -> float:
    """The margin with the best mean on the test images of these products, the largest of equals."""
    return max(LEADS, key=lambda lead: (round(_mean_told(products, lead), 9), lead))


def _mean_told(products: Sequence[Found], lead: float) -> float:
    return float(np.mean([each.told(lead) for each in products]))


def _auroc(good: NDArray[np.float64], defective: NDArray[np.float64]) -> float:
    found = image_auroc(good, defective)
    if found is None:
        raise SystemExit("An AUROC needs good and defective images.")
    return found


def _untold(_phase: str, _done: int, _total: int) -> None:
    return None


def main() -> None:
    options = _options()
    products = tuple(options.products.split(",")) if options.products else None
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), threads=1)
        bench = Bench(options, engine)
        labelled = read_layout(options.root, products)
        choosing = [each for each in labelled if bench.choosing(len(each.train)) is not None]
        text = table(bench.measure(choosing))
    small = ", ".join(each.name for each in labelled if each not in choosing)
    text += f"\n\nToo few images to choose by: {small or 'none'}."
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in a known layout")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps scores and exposures")
    parser.add_argument("--products", help="some of the folder's, by comma")
    parser.add_argument("--again", action="append", default=[], choices=HEADS, help="measure this head anew")
    parser.add_argument("--steps", type=int, default=500, help="of a trial's student; an enrolment takes 500")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--out", type=Path, help="file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
