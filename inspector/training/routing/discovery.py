"""Finds the categories of a mixed folder of good images by itself (Deep Feature Clustering without labels).

[A] Category Anchor Construction (CAC) clusters pre-trained features; Category Information Mining (CIM) says
the category of an image; each category then gets a head of its own (Local Feature Routing). Only the
abstract is public. [R] Here CAC begins with one pooled descriptor per image from the routing pass. Mean linkage joins
the descriptors until no two groups are alike, so that nobody has to give the number of categories. An enrolment makes
anchors from a category's images, and CIM then votes with these anchors on frames. A few odd images make no category:
they are listed as strays of the nearest category, and enrolled only when a person says so.
"""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EnrolmentError
from inspector.stream.decode import DecodeLimits
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.gathering import Gatherer, Progress, gather
from inspector.training.statistics.agreement import normalised_mutual_information, purity
from inspector.training.statistics.clustering import mean_linkage
from inspector.vision.engines.protocols import unit_length
from inspector.vision.images.preparation import Preparation
from inspector.vision.routing.anchors import pooled
from inspector.vision.routing.profile import ROUTING_SIZE_PX
from inspector.vision.routing.routing_pass import RoutingPass

ALIKE_WITHIN = 0.16
"""Mean cosine distance of routing descriptors up to which groups are one category. On six products every value from
0.16 to 0.23 gives the same categories. The lowest is taken: two categories may be given one name, but two products in
one category can't be separated. docs/measurements.md shows its effect on subsets, unequal sizes and drawn products."""
SMALLEST_CATEGORY = 5
"""Least number of images of a category: an enrolment needs this many."""


@dataclass(frozen=True, slots=True)
class Category:
    """Images that look alike. `name`: a, b, c, ... by size, largest first.

    `members` and `strays` are indices into the gathered images. The most typical members come first. Strays are nearer
    to this category than to any other, but too far away to belong to it. `nearest`: the name of the most similar other
    category and the mean cosine distance to it, None where there is one category only.
    """

    name: str
    members: tuple[int, ...]
    strays: tuple[int, ...]
    nearest: tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class Discovery:
    """The categories of a folder. Their indices refer to `images`. `labels`: the true labels, if folders give them."""

    categories: tuple[Category, ...]
    images: tuple[ImageSource, ...]
    labels: tuple[str, ...] | None
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]

    @property
    def assigned(self) -> NDArray[np.int64]:
        """The number of each image's category, [N]. A stray counts for its nearest category."""
        found = np.empty(len(self.images), np.int64)
        for number, category in enumerate(self.categories):
            found[[*category.members, *category.strays]] = number
        return found

    @property
    def purity(self) -> float | None:
        """Share of images that have the most frequent label of their category. None without labels."""
        return purity(self._true, self.assigned) if self.labels else None

    @property
    def nmi(self) -> float | None:
        """Mutual information of categories and labels, divided by the mean of both entropies. None without labels."""
        return normalised_mutual_information(self._true, self.assigned) if self.labels else None

    def members(self, category: Category, *, with_strays: bool) -> list[ImageSource]:
        """The category's images in the original order: an enrolment treats neighbours as shots of one part."""
        chosen = (*category.members, *category.strays) if with_strays else category.members
        return [self.images[index] for index in sorted(chosen)]

    def majority(self, category: Category) -> str | None:
        """The most frequent label among a category's images; None without labels."""
        if self.labels is None:
            return None
        return Counter(self.labels[index] for index in category.members).most_common(1)[0][0]

    @property
    def _true(self) -> NDArray[np.int64]:
        return np.unique(np.array(self.labels), return_inverse=True)[1].astype(np.int64)


def discover(
    images: Sequence[ImageSource] | Mapping[str, Sequence[ImageSource]],
    limits: DecodeLimits,
    routing_pass: RoutingPass,
    progress: Progress | None = None,
) -> Discovery:
    """The categories of these images. `images` may map labels to images; labels serve only for the figures.

    Raises EnrolmentError if no image can be read.
    """
    groups = images if isinstance(images, Mapping) else {"": images}
    flat = [image for group in groups.values() for image in group]
    truth = {image.name: label for label, group in groups.items() for image in group}
    # The square that a head would see is not needed here; a small one keeps memory at 120 KB per image.
    gatherer = Gatherer([Preparation(size_px=ROUTING_SIZE_PX)], limits, routing_pass)
    gathered = gather(flat, gatherer, progress or (lambda _phase, _done, _total: None))
    if not len(gathered):
        raise EnrolmentError("Not one of these images can be read; discover needs good images in JPEG or PNG.")
    if len(gathered) < SMALLEST_CATEGORY:
        raise EnrolmentError(
            f"{len(gathered)} different readable images are too few to find products in: {SMALLEST_CATEGORY} of each "
            "make a category."
        )
    descriptors = np.stack([pooled(each.astype(np.float32)) for each in gathered.route_patches])
    by_name = {image.name: image for image in flat}
    return Discovery(
        categories=categories_of(descriptors),
        images=tuple(by_name[name] for name in gathered.names),
        labels=tuple(truth[name] for name in gathered.names) if groups is images else None,
        unreadable=tuple(gathered.unreadable),
        duplicates=tuple(gathered.duplicates),
    )


def categories_of(descriptors: NDArray[np.float32]) -> tuple[Category, ...]:
    """CAC without labels: unit descriptors [N, C] -> categories, the largest first, independent of the images' order.

    Groups of fewer than `SMALLEST_CATEGORY` images are strays of the nearest category, unless all are that small.
    """
    labels = mean_linkage(descriptors, ALIKE_WITHIN)
    groups = sorted(
        (np.flatnonzero(labels == label) for label in np.unique(labels)), key=lambda own: (-len(own), own[0])
    )
    kept = [own for own in groups if len(own) >= SMALLEST_CATEGORY] or groups
    strays: list[list[int]] = [[] for _ in kept]
    means = np.stack([descriptors[own].mean(axis=0) for own in kept])  # [K, C]
    for own in groups[len(kept) :]:
        strays[int((means @ descriptors[own].mean(axis=0)).argmax())] += own.tolist()
    between = 1.0 - means @ means.T
    np.fill_diagonal(between, np.inf)
    names = list(itertools.islice(category_names(), len(kept)))
    found = []
    for number, own in enumerate(kept):
        typical = np.argsort(-(descriptors[own] @ unit_length(means[number][None])[0]), kind="stable")
        other = int(between[number].argmin())
        nearest = (names[other], float(between[number, other])) if len(kept) > 1 else None
        found.append(Category(names[number], tuple(own[typical].tolist()), tuple(strays[number]), nearest))
    return tuple(found)


def category_names() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..."""
    letters = string.ascii_lowercase
    return itertools.chain.from_iterable(
        ("".join(letters_of) for letters_of in itertools.product(letters, repeat=length))
        for length in itertools.count(1)
    )
