"""Routing of every product under ROOT: rightly, unknown, taken for another; and the bound by leave-one-product-out.

    python -m benchmarks.routing_products ROOT [--products a,b] [--out table.md]

Anchors are those that an enrolment makes. First table, all products enrolled: test images that are routed rightly,
called unknown or taken for another product. Then the product is left out of the anchors: how well distance
tells its test images from those of the other products, and how many of them some other product takes for its own.
Second table: the same means for other bounds. For each product, the bound with the fewest mistakes on all other
products is chosen (good and defective frames not routed rightly, and frames of left-out products taken for one that is
known, counted as shares and alike), and its mistakes on the left-out product count. Heads play no part, so it takes
two minutes.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.domain import Route
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.stream.decode import DecodeLimits, decode
from inspector.training.routing.product_anchors import (
    MOST_MEDIANS,
    UNKNOWN_MEDIANS,
    unbounded_anchors,
    unknown_bound,
)
from inspector.training.statistics.ranking import image_auroc
from inspector.vision.engines.factory import create_engine
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.routing_pass import RoutingPass

Rule = tuple[float, float]
"""A bound: the fewest and the most medians, see `unknown_bound`."""
IN_USE: Rule = (UNKNOWN_MEDIANS, MOST_MEDIANS)
RULES: tuple[Rule, ...] = tuple(itertools.product((2.2, 2.6, 3.0, 3.5, 4.0), (MOST_MEDIANS, 6.0, float("inf"))))


@dataclass(frozen=True, slots=True)
class Seen:
    """A product as routing sees it. `distances`: of its held-out good images; `test`: unit patches [P, C] each."""

    anchors: ProductAnchors
    distances: Sequence[float]
    test: Sequence[NDArray[np.float16]]
    is_defective: NDArray[np.bool_]

    def bounded(self, rule: Rule) -> ProductAnchors:
        return replace(self.anchors, bound=unknown_bound(self.distances, *rule))


@dataclass(frozen=True, slots=True)
class Routed:
    """The routes of one product's test images: with all products enrolled, and with all but this one."""

    product: str
    is_defective: NDArray[np.bool_]
    routes: Sequence[Route]
    without: Sequence[Route]

    def right(self, *, is_defective: bool) -> float:
        """The share routed rightly; 1 where there are no such images."""
        own = self._of(is_defective)
        return sum(each.product == self.product for each in own) / len(own) if own else 1.0

    def unknown(self, *, is_defective: bool) -> str:
        own = self._of(is_defective)
        return f"{sum(each.product is None for each in own)} of {len(own)}"

    @property
    def taken_for(self) -> str:
        return _counts(each.product for each in self.routes if each.product != self.product)

    @property
    def taken_when_left_out(self) -> str:
        return _counts(each.product for each in self.without)

    @property
    def mistakes(self) -> tuple[float, float, float]:
        """Shares: good not routed rightly, defective likewise, and frames taken for another when left out."""
        strange = float(np.mean([each.product is not None for each in self.without]))
        return 1.0 - self.right(is_defective=False), 1.0 - self.right(is_defective=True), strange

    def _of(self, is_defective: bool) -> list[Route]:
        return [route for route, flag in zip(self.routes, self.is_defective, strict=True) if flag == is_defective]


def main() -> None:
    options = _options()
    products = tuple(options.products.split(",")) if options.products else None
    with tempfile.TemporaryDirectory() as folder:
        routing_pass = RoutingPass.on(create_engine("onnxruntime", options.engines or Path(folder), threads=1))
        seen = {each.name: _seen(each, routing_pass) for each in read_layout(options.root, products)}
    by_rule = {rule: route_all(seen, rule) for rule in dict.fromkeys((IN_USE, *RULES))}
    text = "\n".join([*_table(seen, by_rule[IN_USE]), "", *_rules(by_rule)])
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _seen(labelled: LabelledProduct, routing_pass: RoutingPass) -> Seen:
    def patches(path: Path) -> NDArray[np.float16]:
        return routing_pass.patches(decode(path.read_bytes(), DecodeLimits())).astype(np.float16)

    anchors, distances = unbounded_anchors(labelled.name, [patches(path) for path in labelled.train])
    is_defective = np.array([each.defect is not None for each in labelled.test])
    return Seen(anchors, distances, [patches(each.path) for each in labelled.test], is_defective)


def route_all(seen: Mapping[str, Seen], rule: Rule) -> list[Routed]:
    """All test images, with all products enrolled at this bound, and with their own product left out."""
    anchors = {name: each.bounded(rule) for name, each in seen.items()}
    whole = AnchorIndex(list(anchors.values()))
    found = []
    for name, each in seen.items():
        others = AnchorIndex([own for key, own in anchors.items() if key != name])
        found.append(Routed(name, each.is_defective, _routes(whole, each), _routes(others, each)))
    return found


def _routes(index: AnchorIndex, seen: Seen) -> list[Route]:
    return [index.route(patches.astype(np.float32)) for patches in seen.test]


def _table(seen: Mapping[str, Seen], routed: Sequence[Routed]) -> list[str]:
    lines = [
        "| product | good routed rightly | defective | unknown: good | defective | taken for another "
        "| unknown AUROC, left out | taken for another, left out |",
        "|---|---|---|---|---|---|---|---|",
    ]
    aurocs = []
    for each in routed:
        aurocs.append(_unknown_auroc(seen, each.product))
        lines.append(
            f"| {each.product} | {each.right(is_defective=False):.3f} | {each.right(is_defective=True):.3f} "
            f"| {each.unknown(is_defective=False)} | {each.unknown(is_defective=True)} | {each.taken_for} "
            f"| {aurocs[-1]:.3f} | {each.taken_when_left_out} |"
        )
    good, defective, _ = np.mean([each.mistakes for each in routed], axis=0)
    lines.append(f"| mean | {1 - good:.3f} | {1 - defective:.3f} | | | | {np.mean(aurocs):.3f} | |")
    return lines


def _unknown_auroc(seen: Mapping[str, Seen], left_out: str) -> float:
    index = AnchorIndex([each.bounded(IN_USE) for name, each in seen.items() if name != left_out])
    known = [route.distance for name, each in seen.items() if name != left_out for route in _routes(index, each)]
    strange = [route.distance for route in _routes(index, seen[left_out])]
    return image_auroc(np.array(known), np.array(strange)) or 0.0


def _rules(by_rule: Mapping[Rule, Sequence[Routed]]) -> list[str]:
    """A row for each bound, and the mistakes of bounds that were chosen without the product."""
    lines = [
        "| bound in medians: least, most | good routed rightly | defective | its worst product "
        "| of left-out products taken for another |",
        "|---|---|---|---|---|",
    ]
    shares = {rule: np.array([each.mistakes for each in routed]) for rule, routed in by_rule.items()}  # [products, 3]
    for (least, most), found in shares.items():
        good, defective, strange = found.mean(axis=0)
        names = [each.product for each in by_rule[least, most]]
        worst = int(found[:, 1].argmax())
        lines.append(
            f"| {least:g}, {most:g}{' (in use)' if (least, most) == IN_USE else ''} | {1 - good:.4f} "
            f"| {1 - defective:.4f} | {names[worst]} {1 - found[worst, 1]:.3f} | {strange:.4f} |"
        )
    chosen = [_best(shares, left_out) for left_out in range(len(shares[IN_USE]))]
    own = np.mean([shares[rule][number] for number, rule in enumerate(chosen)], axis=0)
    lines += [
        f"| chosen by the other products | {1 - own[0]:.4f} | {1 - own[1]:.4f} | | {own[2]:.4f} |",
        "",
        f"Chosen: {_counts(f'{least:g} to {most:g}' for least, most in chosen)}. On all products together: "
        f"{' to '.join(f'{each:g}' for each in _best(shares, None))}.",
    ]
    return lines


def _best(shares: Mapping[Rule, NDArray[np.float64]], left_out: int | None) -> Rule:
    """The rule with the fewest mistakes on all products but one; the first of equals, so the one in use."""

    def mistakes(rule: Rule) -> float:
        kept = shares[rule] if left_out is None else np.delete(shares[rule], left_out, axis=0)
        return round(float(kept.sum(axis=1).mean()), 9)

    return min(shares, key=mistakes)


def _counts(names: Iterable[str | None]) -> str:
    counted = Counter(name for name in names if name is not None)
    return ", ".join(f"{name} {count}" for name, count in counted.most_common()) or "-"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of products in a known layout")
    parser.add_argument("--products", help="some of the folder's, by comma")
    parser.add_argument("--engines", type=Path, help="folder that keeps exported graphs")
    parser.add_argument("--out", type=Path, help="file for the tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
