"""Routing among 200 products: what a crowded registry does to the frames of the real ones, and what a vote costs.

    python -m benchmarks.routing_scale ROOT [--products 200] [--images 20]

The registry holds the products under ROOT, with the anchors that their enrolment would give them, and others until it
is full: half are textures that are drawn, half are the real products changed (a part of the picture, turned, tinted or
inverted, at another gamma), which are harder to tell from them. Test images of the real products are routed with the
shortlist of 16 by pooled descriptor and without it, and among the real ones alone. Costs are processor time of the vote
beside the main pass of profile `standard`, measured in turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.routing_profile import SIDE, blobs, colour, grid, noise, part, stripes
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.heads.passes import passes_for
from inspector.training.heads.prototype import prototype_recipe
from inspector.training.routing.product_anchors import anchors_of
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Embedder
from inspector.vision.networks.backbone import Backbone
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.index import SHORTLIST, AnchorIndex

SEED = 11
TURNS = 25
FRAMES_A_TURN = 8
Pixels = NDArray[np.uint8]
Patches = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """A test frame as routing sees it, unit patches [P, C]."""

    product: str
    is_good: bool
    patches: NDArray[np.float16]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine("onnxruntime", options.engines or Path(folder), threads=1)
        recipe = prototype_recipe("standard")
        passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), engine)
        see = passes.routing_pass.patches
        labelled = read_layout(options.root)
        real = [anchors_of(each.name, [see(_pixels(path)) for path in each.train]) for each in labelled]
        others = fillers(labelled, options.products - len(real), options.images, see)
        frames = [frame for each in labelled for frame in _frames(each, see)]
        indices = {
            f"{len(real)} real products": AnchorIndex(real),
            f"{len(real) + len(others)} products, all vote": AnchorIndex([*real, *others], shortlist=10**9),
            f"the same, shortlist of {SHORTLIST}": AnchorIndex([*real, *others]),
        }
        costs = _costs(indices, passes.embedder, frames)
    print("| registry | good routed rightly | defective | called unknown | taken for another | vote / main pass |")
    print("|---|---|---|---|---|---|")
    for name, index in indices.items():
        print(f"| {name} | {_row(index, frames)} | {costs[name]:.3f} |")


def fillers(
    labelled: Sequence[LabelledProduct], count: int, images: int, see: Callable[[Pixels], Patches]
) -> list[ProductAnchors]:
    """Products that fill a registry, drawn and changed ones in turn."""
    made = []
    thumbs = {
        each.name: [_small(path) for path in each.train[:: max(1, len(each.train) // images)]] for each in labelled
    }
    for number in range(count):
        if number % 2:
            name = labelled[number // 2 % len(labelled)].name
            change = _change(np.random.default_rng([SEED, number]))
            shown = [change(each) for each in thumbs[name][:images]]
        else:
            shown = _drawn(number, images)
        made.append(anchors_of(f"other-{number}", [see(each) for each in shown]))
    return made


def _drawn(number: int, images: int) -> list[Pixels]:
    """A texture, moved by up to 6 px and relit by up to 15 %."""
    kind = (noise, stripes, blobs, grid, part)[number // 2 % 5]
    motif = colour(kind(np.random.default_rng([SEED, number])), np.random.default_rng([SEED, number, 1]))
    rng = np.random.default_rng([SEED, number, 2])
    found = []
    for _ in range(images):
        moved = np.roll(motif, rng.integers(-6, 7, 2), axis=(0, 1)).astype(np.float32)
        relit = moved * rng.uniform(0.85, 1.15) + rng.normal(0, 4, (SIDE, SIDE, 3))
        found.append(np.clip(relit, 0, 255).astype(np.uint8))
    return found


def _change(rng: np.random.Generator) -> Callable[[Pixels], Pixels]:
    """One lasting change of a product: another part of it, turned, tinted, at another gamma, half of them inverted."""
    share, turns = rng.uniform(0.4, 0.8), int(rng.integers(4))
    left, top = rng.uniform(0, 1 - share, 2)
    tint, gamma, is_inverted = rng.uniform(0.45, 1.0, 3), rng.uniform(0.5, 2.0), rng.random() < 0.5

    def changed(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        rows = slice(int(top * height), int((top + share) * height))
        columns = slice(int(left * width), int((left + share) * width))
        light = np.rot90(pixels[rows, columns], turns).astype(np.float32) / 255
        light = (1 - light if is_inverted else light) ** gamma * tint
        return np.ascontiguousarray(np.clip(light * 255, 0, 255).astype(np.uint8))

    return changed


def _row(index: AnchorIndex, frames: Sequence[Frame]) -> str:
    """Cells of one registry: means over the products, then counts."""
    routed = [(frame, index.route(frame.patches.astype(np.float32)).product) for frame in frames]
    shares = []
    for is_good in (True, False):
        own = {
            name: [found == name for frame, found in routed if frame.product == name and frame.is_good == is_good]
            for name in {frame.product for frame in frames}
        }
        shares.append(f"{np.mean([np.mean(each) for each in own.values()]):.4f}")
    unknown = sum(found is None for _, found in routed)
    wrong = sum(found not in (None, frame.product) for frame, found in routed)
    return " | ".join([*shares, f"{unknown} of {len(routed)}", f"{wrong} of {len(routed)}"])


def _costs(indices: dict[str, AnchorIndex], main_pass: Embedder, frames: Sequence[Frame]) -> dict[str, float]:
    """The vote's processor time in main passes of one frame: the median of turns in which all come after another."""
    rng = np.random.default_rng(SEED)
    pixels = rng.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    ratios: dict[str, list[float]] = {name: [] for name in indices}
    for _ in range(TURNS):
        chosen = [frames[i].patches.astype(np.float32) for i in rng.choice(len(frames), FRAMES_A_TURN)]
        unit = _cpu_s(lambda: [main_pass(pixels) for _ in range(FRAMES_A_TURN)])
        for name, index in indices.items():
            ratios[name].append(_cpu_s(partial(_vote, index, chosen)) / unit)
    return {name: statistics.median(each) for name, each in ratios.items()}


def _vote(index: AnchorIndex, chosen: Sequence[Patches]) -> None:
    for patches in chosen:
        index.route(patches)


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _frames(labelled: LabelledProduct, see: Callable[[Pixels], Patches]) -> list[Frame]:
    return [
        Frame(labelled.name, image.defect is None, see(_pixels(image.path)).astype(np.float16))
        for image in labelled.test
    ]


def _pixels(path: Path) -> Pixels:
    return decode(path.read_bytes(), DecodeLimits())


def _small(path: Path) -> Pixels:
    """At twice the routing's size: a part of it is still seen at full resolution."""
    return np.asarray(cv2.resize(_pixels(path), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--products", type=int, default=200, help="in the full registry, the real ones included")
    parser.add_argument("--images", type=int, default=20, help="that each of the others is enrolled from")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
