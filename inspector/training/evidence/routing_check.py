"""Checks how one more product changes the routing of all products: the stored good frames of each are routed again.

A new product leaves the other heads as they are and changes the routing, because its anchors stand beside the others.
Held-out good frames that were kept at each enrolment are routed with the new product and without. A product that
loses frames is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.index import AnchorIndex

KEPT_FRAMES = 12
"""Frames kept per product: 20 kB each at 256 patches of 40 channels."""
ALIKE = 0.9
"""Products whose anchors are at least this similar are named, because the router may confuse them."""
MOST_LOST = 0.1
"""Largest share of its good frames that a product may lose before a version needs a person's word to go live: lost
parts would meet another product's head, or none."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A product as routing sees it. `frames`: float16 [R, P, C], R good frames of P unit patches with C channels.

    R is 0 for an older version that kept no frames.
    """

    anchors: ProductAnchors
    frames: NDArray[np.float16]

    @property
    def product(self) -> str:
        return self.anchors.product


@dataclass(frozen=True, slots=True)
class Recheck:
    """How many of a product's `n` stored good frames are routed rightly.

    `before`: the number without the new product; None for the new product itself. `taken_for`: the product that the
    other frames are most often routed to; None if they are mostly unknown, or if no frame is routed wrongly.
    """

    product: str
    n: int
    before: int | None
    after: int
    taken_for: str | None

    @property
    def lost(self) -> int:
        """Number of frames that this product loses to the new one. For the new product: frames not routed to it."""
        return max(0, (self.n if self.before is None else self.before) - self.after)

    @property
    def is_grave(self) -> bool:
        """Whether the loss is an objection. The loss of a single frame is none, unless it is the only frame."""
        return self.lost > max(1, MOST_LOST * self.n) or 0 < self.n == self.lost

    @property
    def sentence(self) -> str:
        taken = f"taken for {self.taken_for}" if self.taken_for else "of no known product"
        was = "" if self.before is None else f" (before this version: {self.n - self.before})"
        return f"{self.n - self.after} of {self.n} good frames of {self.product} are now {taken}{was}"

    def to_manifest(self) -> dict[str, Any]:
        return {
            "product": self.product,
            "n": self.n,
            "right_before": self.before,
            "right_after": self.after,
            "taken_for": self.taken_for,
        }


@dataclass(frozen=True, slots=True)
class RoutingCheck:
    """The re-check of all products, the new one first, and its look-alikes: (product, likeness 0 to 1)."""

    rechecks: tuple[Recheck, ...]
    alike: tuple[tuple[str, float], ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(each.sentence for each in self.rechecks if each.lost)

    @property
    def objections(self) -> tuple[str, ...]:
        """The warnings for which a version is not made live unless a person insists."""
        return tuple(each.sentence for each in self.rechecks if each.is_grave)

    def to_manifest(self) -> dict[str, Any]:
        return {
            "rechecks": [each.to_manifest() for each in self.rechecks],
            "look_alikes": [{"product": name, "likeness": round(likeness, 4)} for name, likeness in self.alike],
        }


def check_routing(new: Neighbour, live: Sequence[Neighbour]) -> RoutingCheck:
    """`live`: the live products, an earlier version of the new one included."""
    before = AnchorIndex([each.anchors for each in live])
    others = [each for each in live if each.product != new.product]
    after = AnchorIndex([new.anchors, *(each.anchors for each in others)])
    rechecks = [_recheck(new, None, after), *(_recheck(each, before, after) for each in others if len(each.frames))]
    alike = tuple((name, likeness) for name, likeness in after.look_alikes(new.product) if likeness >= ALIKE)
    return RoutingCheck(tuple(rechecks), alike)


def kept_frames(route_patches: Sequence[NDArray[np.floating]], held: Sequence[int]) -> NDArray[np.float16]:
    """Patches of at most 12 of the held-out images, spread over them; float16 [R, P, C]."""
    count = min(KEPT_FRAMES, len(held))
    chosen = np.unique(np.linspace(0, len(held) - 1, count).round().astype(int))
    return np.stack([np.asarray(route_patches[held[index]], np.float16) for index in chosen])


def _recheck(item: Neighbour, before: AnchorIndex | None, after: AnchorIndex) -> Recheck:
    found = _routed(item, after)
    wrong = Counter(name for name in found if name != item.product)
    return Recheck(
        product=item.product,
        n=len(found),
        before=None if before is None else _routed(item, before).count(item.product),
        after=len(found) - wrong.total(),
        taken_for=wrong.most_common(1)[0][0] if wrong else None,
    )


def _routed(item: Neighbour, index: AnchorIndex) -> list[str | None]:
    return [index.route(np.asarray(frame, np.float32)).product for frame in item.frames]
