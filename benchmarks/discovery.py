"""`python -m benchmarks.discovery ROOT`: are categories found whatever is in the folder?

Every subset of the products under ROOT (40 drawn ones of each number where there are more), unequal sizes from 10 to
400 images, products alone, and products that are drawn (one texture each, moved, relit, with noise), which moved the
stop from 0.20 to 0.16. The table is in docs/measurements.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.routing_profile import SIDE, blobs, colour, grid, noise, part, stripes
from inspector.evaluation.layouts import training_images
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.routing.discovery import categories_of
from inspector.training.statistics.agreement import normalised_mutual_information, purity
from inspector.vision.engines.factory import create_engine
from inspector.vision.routing.anchors import pooled
from inspector.vision.routing.routing_pass import RoutingPass

SEED = 7
DRAWS = 40
DRAWN_IMAGES = 30
DRAWN_PRODUCTS = (1, 2, 5, 10, 20)

Descriptors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Trial:
    """One mixed folder: the figures of what was found in it."""

    products: int
    found: int
    purity: float
    nmi: float


def main(root: Path) -> None:
    """Print the table."""
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as cache:
        routing_pass = RoutingPass.on(create_engine("onnxruntime", Path(cache), 1))
        real = {
            name: np.stack([describe(decode(image.read(), DecodeLimits()), routing_pass) for image in images])
            for name, images in training_images(root)[0].items()
        }
        drawn = {str(number): draw_product(number, routing_pass) for number in range(max(DRAWN_PRODUCTS))}
    rows: dict[str, list[Trial]] = {}
    for count in range(1, len(real) + 1):
        subsets = list(itertools.combinations(real, count))
        if len(subsets) > DRAWS:
            subsets = [subsets[index] for index in rng.choice(len(subsets), DRAWS, replace=False)]
        rows[f"{len(subsets)} times {count} of {len(real)} products, all images"] = [
            trial(real, names) for names in subsets
        ]
    for low, high in ((10, 400), (10, 30)):
        rows[f"2 to {len(real)} products, {low} to {high} images each"] = [
            trial(
                real, rng.choice(list(real), rng.integers(2, len(real) + 1), replace=False).tolist(), (low, high), rng
            )
            for _ in range(DRAWS)
        ]
    for count in DRAWN_PRODUCTS:
        rows[f"{count} drawn products"] = [
            trial(drawn, rng.choice(list(drawn), count, replace=False).tolist()) for _ in range(DRAWS)
        ]
    Console(width=160).print(table(rows))


def describe(pixels: NDArray[np.uint8], routing_pass: RoutingPass) -> NDArray[np.float32]:
    """The routing descriptor of a frame, float32 [C]."""
    return pooled(routing_pass.patches(pixels))


def draw_product(number: int, routing_pass: RoutingPass) -> NDArray[np.float32]:
    """Descriptors of a made-up product: a texture of the profile's kinds, moved by up to 6 px, relit by up to 15 %."""
    kind = (noise, stripes, blobs, grid, part)[number % 5]
    motif = colour(kind(np.random.default_rng([SEED, number])), np.random.default_rng([SEED, number, 1]))
    rng = np.random.default_rng([SEED, number, 2])
    found = []
    for _ in range(DRAWN_IMAGES):
        moved = np.roll(motif, rng.integers(-6, 7, 2), axis=(0, 1)).astype(np.float32)
        relit = moved * rng.uniform(0.85, 1.15) + rng.normal(0, 4, (SIDE, SIDE, 3))
        found.append(describe(np.clip(relit, 0, 255).astype(np.uint8), routing_pass))
    return np.stack(found)


def trial(
    products: Descriptors,
    names: Sequence[str],
    sizes: tuple[int, int] | None = None,
    rng: np.random.Generator | None = None,
) -> Trial:
    """Mix these products; `sizes`: at most so many images of each, drawn evenly on a logarithmic scale."""
    own = [products[name] for name in names]
    if sizes is not None and rng is not None:
        wanted = np.exp(rng.uniform(math.log(sizes[0]), math.log(sizes[1]), len(own))).astype(int)
        own = [rng.permutation(images)[:count] for images, count in zip(own, wanted, strict=True)]
    truth = np.repeat(np.arange(len(own)), [len(images) for images in own])
    found = categories_of(np.concatenate(own))
    assigned = np.empty(len(truth), np.int64)
    for number, category in enumerate(found):
        assigned[[*category.members, *category.strays]] = number
    return Trial(len(own), len(found), purity(truth, assigned), normalised_mutual_information(truth, assigned))


def table(rows: dict[str, list[Trial]]) -> Table:
    """One line per kind of folder."""
    drawn = Table()
    for column in ("folder", "trials", "right number", "purity mean / least", "NMI mean / least", "both bounds met"):
        drawn.add_column(column, justify="left" if column == "folder" else "right")
    for name, trials in rows.items():
        pure, shared = [each.purity for each in trials], [each.nmi for each in trials]
        drawn.add_row(
            name,
            str(len(trials)),
            str(sum(each.found == each.products for each in trials)),
            f"{np.mean(pure):.3f} / {min(pure):.3f}",
            f"{np.mean(shared):.3f} / {min(shared):.3f}",
            str(sum(each.purity >= 0.98 and each.nmi >= 0.90 for each in trials)),
        )
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder of products, each with its good training images")
    main(parser.parse_args().root)
