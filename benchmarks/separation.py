"""`python -m benchmarks.separation ROOT`: how far apart two products lie among good images, and how far one product.

The separation of a set is the mean cosine distance at which its last two large groups join by average linkage of
routing descriptors; `hygiene.APART_FROM` is the distance from which an enrolment is held back. The table has each
product alone (all images, and the largest of draws of 12 to 30 images) beside its mixtures with each other product
(all images, and the least of draws of 15 and 15). The last column is the bound that the other products would have
given: midway between the largest separation of one of them in draws and that which 19 of 20 of their mixtures reach.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.discovery import describe
from inspector.evaluation.layouts import training_images
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.evidence.hygiene import APART_FROM, LARGE_SHARE
from inspector.training.routing.discovery import SMALLEST_CATEGORY
from inspector.vision.engines.factory import create_engine
from inspector.vision.routing.routing_pass import RoutingPass

SEED = 0
DRAWS = 20
DRAWN_SIZES = (12, 20, 30)
OF_EACH = 15
REACHED = 0.05

Descriptors = NDArray[np.float32]
Pair = tuple[str, str]


def main(root: Path) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as cache:
        routing_pass = RoutingPass.on(create_engine("onnxruntime", Path(cache), 1))
        products = {
            name: np.stack([describe(decode(image.read(), DecodeLimits()), routing_pass) for image in images])
            for name, images in training_images(root)[0].items()
        }
    Console(width=160).print(table(products))


def table(products: dict[str, Descriptors]) -> Table:
    """One line for each product."""
    rng = np.random.default_rng(SEED)
    pairs = list(itertools.combinations(products, 2))
    alone = {name: separation(own) for name, own in products.items()}
    drawn = {name: largest_drawn(own, rng) for name, own in products.items()}
    mixed = {pair: separation(np.concatenate([products[name] for name in pair])) for pair in pairs}
    small = {pair: least_drawn([products[name] for name in pair], rng) for pair in pairs}
    shown = Table()
    for column in ("product", "alone", "drawn", "nearest mixture", "15 and 15", "mixtures told", "bound by the others"):
        shown.add_column(column, justify="left" if column in {"product", "nearest mixture"} else "right")
    for name in products:
        own = [pair for pair in pairs if name in pair]
        nearest = min(own, key=lambda pair: mixed[pair])
        (other,) = set(nearest) - {name}
        told = sum(mixed[pair] >= APART_FROM for pair in own)
        bound = bound_of(
            [far for each, far in drawn.items() if each != name], [mixed[pair] for pair in pairs if name not in pair]
        )
        shown.add_row(
            name,
            f"{alone[name]:.3f}",
            f"{drawn[name]:.3f}",
            f"{mixed[nearest]:.3f} {other}",
            f"{min(small[pair] for pair in own):.3f}",
            f"{told} of {len(own)}",
            f"{bound:.3f}",
        )
    return shown


def bound_of(alone: list[float], mixed: list[float]) -> float:
    """Midway between the largest separation of one product and that which 19 of 20 mixtures reach."""
    return float((max(alone) + np.quantile(mixed, REACHED)) / 2)


def largest_drawn(own: Descriptors, rng: np.random.Generator) -> float:
    return max(
        separation(own[rng.choice(len(own), min(size, len(own)), replace=False)])
        for size in DRAWN_SIZES
        for _ in range(DRAWS)
    )


def least_drawn(both: list[Descriptors], rng: np.random.Generator) -> float:
    return min(
        separation(np.concatenate([own[rng.choice(len(own), OF_EACH, replace=False)] for own in both]))
        for _ in range(DRAWS // 4)
    )


def separation(vectors: Descriptors) -> float:
    """The largest mean cosine distance at which two large groups join by average linkage; 0 where none do."""
    least = max(SMALLEST_CATEGORY, LARGE_SHARE * len(vectors))
    means, sizes = vectors.astype(np.float64), np.ones(len(vectors))
    similarity = means @ means.T
    np.fill_diagonal(similarity, -np.inf)
    found = 0.0
    for _ in range(len(vectors) - 1):
        kept, joined = divmod(int(similarity.argmax()), len(vectors))
        if min(sizes[kept], sizes[joined]) >= least:
            found = max(found, 1.0 - float(similarity[kept, joined]))
        total = sizes[kept] + sizes[joined]
        means[kept] = (sizes[kept] * means[kept] + sizes[joined] * means[joined]) / total
        sizes[kept] = total
        row = np.where(np.isneginf(similarity[kept]), -np.inf, means @ means[kept])
        row[[kept, joined]] = -np.inf
        similarity[kept] = similarity[:, kept] = row
        similarity[joined] = similarity[:, joined] = -np.inf
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder of products, each with its good training images")
    main(parser.parse_args().root)
