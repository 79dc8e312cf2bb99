"""Whether the numbers of the default head hold on products that they were not chosen by.

    python -m benchmarks.generalisation ROOT --cache FOLDER [--products a,b] [--exposure NAME=levelled ...] [--json]

Each candidate is the default head with other numbers: prototypes and share of the fine member, weights of the members
that see the whole frame and its places (0 for none), and how the spread of good scores is measured. For each product,
the candidate that is best on all other products is taken, and its image AUROC on the left-out product counts; the best
candidate on all products together stands beside it. FOLDER keeps features (a quarter of a MiB an image) and scores: a
run that was stopped goes on from there. Frames are as they are, unless `--exposure` says otherwise for a product. The
spread comes from held-out good images.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode, keep_opencv_on_the_callers_thread
from inspector.training.choice.exposure import parse_exposure
from inspector.training.dataset.splitting import held_out
from inspector.training.heads.passes import passes_for
from inspector.training.heads.prototype import (
    PrototypeFitter,
    PrototypeRecipe,
    prototype_recipe,
    spread_of,
)
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine, on_host
from inspector.vision.heads.base import Readout
from inspector.vision.images.exposure import Exposure
from inspector.vision.images.preparation import prepare
from inspector.vision.networks.backbone import Backbone

BATCH = 8
PROTOTYPES, SHARES = (256, 512), (0.003, 0.01, 0.03)
WEIGHTS = (0.0, 0.3, 0.5, 0.7, 1.0)
STANDARD = "standard deviation"


def median_deviation(scores: NDArray[np.floating]) -> float:
    """1.4826 times the median absolute deviation: the spread of normal scores. At least half the spread."""
    deviation = 1.4826 * float(np.median(np.abs(scores - np.median(scores))))
    return max(deviation, spread_of(scores) / 2)


SPREADS = {STANDARD: spread_of, "median deviation": median_deviation}
Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """The numbers of one candidate; `weight` is that of the whole frame, `spread` is a key of `SPREADS`."""

    prototypes: int
    share: float
    weight: float
    spread: str
    places: float

    def __str__(self) -> str:
        members = f"{self.prototypes} prototypes, top {self.share:.1%}, places x {self.places:g}"
        return f"{members}, whole frame x {self.weight:g}, {self.spread}"


CANDIDATES = tuple(Candidate(*numbers) for numbers in itertools.product(PROTOTYPES, SHARES, WEIGHTS, SPREADS, WEIGHTS))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`chosen`: product -> the candidate that is best on the others; `left_out`: its figure on the product.

    `best`: the best candidate on all products; `in_sample`: its figures.
    """

    chosen: Mapping[str, Candidate]
    left_out: Mapping[str, float]
    best: Candidate
    in_sample: Mapping[str, float]

    @property
    def gap(self) -> float:
        """Mean in-sample figure less the mean left-out figure."""
        return _mean(self.in_sample.values()) - _mean(self.left_out.values())

    def to_document(self, deployed: Mapping[str, float]) -> dict[str, Any]:
        """All figures in JSON's types. `deployed`: the figures of the deployed numbers."""
        worst = min(self.left_out, key=lambda name: self.left_out[name])
        return {
            "products": {
                name: {
                    "left_out": round(self.left_out[name], 4),
                    "in_sample": round(self.in_sample[name], 4),
                    "deployed": round(deployed[name], 4),
                    "chosen_by_the_others": str(self.chosen[name]),
                }
                for name in self.left_out
            },
            "best_on_all": str(self.best),
            "mean_left_out": round(_mean(self.left_out.values()), 4),
            "mean_in_sample": round(_mean(self.in_sample.values()), 4),
            "mean_deployed": round(_mean(deployed.values()), 4),
            "gap": round(self.gap, 4),
            "worst": {"product": worst, "left_out": round(self.left_out[worst], 4)},
            "spread": round(float(np.std(list(self.left_out.values()))), 4),
        }


def leave_one_out(figures: Mapping[Candidate, Mapping[str, float]]) -> LeftOut:
    """Choose for each product by the others. `figures`: candidate -> product -> figure, the higher the better."""
    products = list(next(iter(figures.values())))

    def best_on(names: Sequence[str]) -> Candidate:
        return max(figures, key=lambda candidate: _mean(figures[candidate][name] for name in names))

    chosen = {name: best_on([other for other in products if other != name] or [name]) for name in products}
    best = best_on(products)
    return LeftOut(chosen, {name: figures[chosen[name]][name] for name in products}, best, dict(figures[best]))


def main() -> None:
    """Prints a table, or the same as JSON."""
    options = _options()
    keep_opencv_on_the_callers_thread()
    exposures = dict(item.split("=", 1) for item in options.exposure)
    only = tuple(options.products.split(",")) if options.products else None
    scores: dict[str, Scores] = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), threads=1)
        for labelled in read_layout(options.root, only):
            exposure = parse_exposure(exposures.get(labelled.name, "as_is")) or "as_is"
            scores[labelled.name] = _kept_scores(labelled, exposure, options.cache, engine)
    figures = {each: {name: auroc(each, own) for name, own in scores.items()} for each in CANDIDATES}
    deployed = _deployed()
    document = leave_one_out(figures).to_document({name: auroc(deployed, own) for name, own in scores.items()})
    document["with_all_members"] = with_all_members(figures)
    print(json.dumps(document, indent=1) if options.json else table(document))


def with_all_members(figures: Mapping[Candidate, Mapping[str, float]]) -> dict[str, float]:
    """The means where no candidate drops a member: the members have reasons, only their numbers are chosen."""
    found = leave_one_out({each: figures[each] for each in figures if each.weight and each.places})
    means = {"mean_left_out": _mean(found.left_out.values()), "mean_in_sample": _mean(found.in_sample.values())}
    return {name: round(value, 4) for name, value in {**means, "gap": found.gap}.items()}


def table(document: Mapping[str, Any]) -> str:
    """Markdown of a document of `LeftOut`."""
    lines = [
        "| product | left out | in-sample | deployed numbers | numbers chosen by the others |",
        "|---|---|---|---|---|",
    ]
    for name, own in document["products"].items():
        figures = " | ".join(f"{own[key]:.3f}" for key in ("left_out", "in_sample", "deployed"))
        lines.append(f"| {name} | {figures} | {own['chosen_by_the_others']} |")
    means = " | ".join(f"{document[key]:.3f}" for key in ("mean_left_out", "mean_in_sample", "mean_deployed"))
    worst, fixed = document["worst"], document["with_all_members"]
    lines += [
        f"| mean | {means} | |",
        "",
        f"Gap {document['gap']:.3f}; worst left out {worst['product']} {worst['left_out']:.3f}; spread over products "
        f"{document['spread']:.3f}. Best on all: {document['best_on_all']}.",
        "",
        f"Where no choice may drop a member: left out {fixed['mean_left_out']:.3f}, in-sample "
        f"{fixed['mean_in_sample']:.3f}, gap {fixed['gap']:.3f}.",
    ]
    return "\n".join(lines)


def auroc(candidate: Candidate, scores: Mapping[str, NDArray[np.float64]]) -> float:
    """Image AUROC of a candidate. `scores`: "good" and "test" scores of each member, and "defective" [n_test]."""
    fine = f"fine {candidate.prototypes} {candidate.share}"
    covers = [name.removeprefix("good ") for name in scores if name.startswith("good covers")]
    weights = {**dict.fromkeys(covers, 1.0), fine: 1.0, "places": candidate.places, "whole": candidate.weight}
    excesses = []
    for member, weight in weights.items():
        good, test = scores[f"good {member}"], scores[f"test {member}"]
        if weight:
            excesses.append(weight * (test - np.median(good)) / SPREADS[candidate.spread](good))
    decision = np.max(excesses, axis=0)
    defective = scores["defective"].astype(np.bool_)
    told = image_auroc(decision[~defective], decision[defective])
    return 0.5 if told is None else told


def _deployed() -> Candidate:
    """The numbers of the default head."""
    *_, fine, places, whole = _recipe().deciding.members
    share = fine.top_share or _recipe().top_share
    return Candidate(fine.prototypes, share, whole.in_decision, STANDARD, places.in_decision)


def _recipe() -> PrototypeRecipe:
    return prototype_recipe("standard")


def _kept_scores(labelled: LabelledProduct, exposure: Exposure, cache: Path, engine: Engine) -> Scores:
    """The scores of all members on held-out good images and test images, from the cache where it has them."""
    members = [replace(member, in_decision=1.0) for member in _recipe().deciding.members]  # weights come later
    asked = repr((members, PROTOTYPES, SHARES, exposure, len(labelled.train), len(labelled.test)))
    path = cache / f"{labelled.name}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.npz"
    cache.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        found = _scores(labelled, exposure, cache, engine)
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **found)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _scores(labelled: LabelledProduct, exposure: Exposure, cache: Path, engine: Engine) -> Scores:
    *covers, fine, places, whole = _recipe().deciding.members
    fines = [replace(fine, prototypes=count) for count in PROTOTYPES]
    preparation = replace(_recipe().preparation, exposure=exposure)
    recipe = replace(_recipe(), members=(*covers, *fines, places, whole), preparation=preparation)
    passes = passes_for(preparation, recipe.embeddings, Backbone(), engine)
    paths = [*labelled.train, *(image.path for image in labelled.test)]
    features = _features(labelled.name, exposure, paths, cache, recipe, engine)
    fitter = PrototypeFitter(
        recipe,
        passes.graph,
        engine,
        [np.array([number]) for number in range(len(paths))],
        lambda numbers: [feature[numbers[:, 0]].astype(np.float32) for feature in features],
    )
    is_held = held_out(len(labelled.train))
    bank, held = np.flatnonzero(~is_held).tolist(), np.flatnonzero(is_held).tolist()
    fitter.sample(bank, _untold)
    members = fitter.fit(bank)
    test = range(len(labelled.train), len(paths))
    scores: Scores = {"defective": np.array([image.defect is not None for image in labelled.test], np.float64)}
    for part, images in (("good", held), ("test", list(test))):
        measured = fitter.measure(members, images, _untold)
        for number, member in enumerate(members):
            for name, share in _names(number - len(covers)):
                own = member if share is None else replace(member, top_share=share)
                readout: Readout = recipe.readout
                scores[f"{part} {name}"] = np.array([own.score(readout, raw.maps[number][0]) for raw in measured])
    return scores


def _names(number: int) -> list[tuple[str, float | None]]:
    """The names of a member's scores, each with the share of the map that makes it. `number`: 0 for the first fine."""
    if number < 0:
        return [(f"covers {-number}", None)]
    if number >= len(PROTOTYPES):
        return [(("places", "whole")[number - len(PROTOTYPES)], None)]
    return [(f"fine {PROTOTYPES[number]} {share}", share) for share in SHARES]


def _features(
    product: str, exposure: str, paths: Sequence[Path], cache: Path, recipe: PrototypeRecipe, engine: Engine
) -> list[NDArray[np.float16]]:
    """The embeddings of these images, float16 [n, P, C] each, from the cache where it has them."""
    passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), engine)
    files = [
        cache / f"{product}-{exposure}-{passes.graph.key}-{number}.npy" for number in range(len(recipe.embeddings))
    ]
    if not all(file.is_file() for file in files):
        parts: list[list[NDArray[np.float16]]] = [[] for _ in files]
        for start in range(0, len(paths), BATCH):
            canvases = [
                prepare(decode(path.read_bytes(), DecodeLimits()), recipe.preparation)
                for path in paths[start : start + BATCH]
            ]
            for kept, patches in zip(parts, passes.embedder(np.stack(canvases)), strict=True):
                kept.append(on_host(patches).astype(np.float16))
        for file, kept in zip(files, parts, strict=True):
            np.save(file, np.concatenate(kept))
    return [np.load(file, mmap_mode="r") for file in files]


def _untold(_phase: str, _done: int, _total: int) -> None:
    return None


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in a known layout")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps features and scores")
    parser.add_argument("--products", help="some of the folder's, by comma")
    parser.add_argument("--exposure", action="append", default=[], help="product=as_is, normalised or levelled")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
