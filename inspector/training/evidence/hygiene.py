"""What is odd about a set of good images before anything is learnt from it: suspects, copies, strangers, monotony.

Every image is scored by banks that saw neither it nor its neighbours in file order. An image that stands out is shown
beside the image that it is most like. One thing is decided here: copies, frames that show nothing and images that
another enrolled product knows as its own are left out, because an enrolment can do without them and must not learn
them. A person decides the rest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.encodings import CMYK_CHANNELS, UPRIGHT, Encoding
from inspector.training.dataset.gathering import Gathered, Progress
from inspector.training.dataset.spill import Spill
from inspector.training.routing.anchor_picking import build_anchors, pick_anchor_images
from inspector.training.routing.discovery import ALIKE_WITHIN, SMALLEST_CATEGORY
from inspector.training.statistics.clustering import farthest_first, mean_linkage
from inspector.vision.engines.protocols import Bank, Embedder, Engine, on_host, unit_length
from inspector.vision.heads.base import top_mean
from inspector.vision.images.preparation import Preparation, counted, crop_of
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.anchors import ProductAnchors, pooled, trimmed_distance
from inspector.vision.routing.index import AnchorIndex

FOLDS = 5
SAMPLED_PATCHES = 10_000
PROTOTYPES = 256
TOP_SHARE = 0.02
SUSPECT_SPREADS = 6.0
"""An image whose score lies this many robust spreads above the median may be a bad part among the good."""
MOST_SUSPECT_SHARE = 0.1
"""Largest share of images that are named as suspects, the oddest first. If more stand out, the set is mixed."""

SAME_RMS = 1.5
SAME_SHARE = 0.25
"""Two images are near-identical where they differ at 128 px by at most 1.5 of 255 levels (root mean square), and by at
most a quarter of the usual distance of an image of this set to its nearest neighbour. Parts of six products differ by
2.4 or more."""
BLOCK = 512

TYPICAL_SHARE = 0.8
STRANGE_RATIO = 1.5
"""A stranger is also this many times as far from the set's own anchors as the set's images usually are. Over six
products no image of a pure set is taken for a stranger, and all planted ones are found except cells among cells."""
STRANGE_SHARE = 0.2
"""Where another product claims more of the set than this share, the two look alike and nothing is left out for it."""
BLANK_SPREAD = 8.0
BLANK_SHARE = 0.2
"""A frame shows nothing where its gray levels spread less than this, and less than a fifth of what is usual here."""
FEATURELESS_SPREAD = 5.0
FEATURELESS_AREA_SPREAD = 1.5
"""A frame is featureless where at 128 px its gray levels spread less than the first bound, and their means over areas
of 4x4 less than the second: the means of noise hardly spread. Of twelve products the plainest (paper, fabric) have 6.2
and 2.2."""
FEATURELESS_SHARE = 0.5
UNLIKE_SHARE = 0.2
"""Images unlike the rest are named one by one up to this share of the set. If there are more, their groups are told."""
APART_FROM = 0.38
"""Mean cosine distance of routing descriptors from which on two large groups show two products. Good images of one of
twelve products are at most 0.29 apart (grid, which turns; 0.32 among 12 to 30 of them), and of 66 mixtures of two
products all but two are 0.40 and more apart. docs/measurements.md has the figures."""
LARGE_SHARE = 0.1
"""A group is large with this share of the set and `SMALLEST_CATEGORY` images."""
GROUPS_NAMED = 4
NAMED_OF_A_GROUP = 3
SIZES_NAMED = 3
CUT_OUT_SIZES = 0.2
"""Where the images have more different sizes than this share of their number, their parts are cut out of frames."""
MOST_NAMED = 6
FEW_IMAGES = 20
SMALL_PX = 64
TINY_PX = 32
DARK_LEVEL = 32
"""Values of twelve bits that are read as sixteen stay below a sixteenth of the range."""
BATCH = 8


@dataclass(frozen=True, slots=True)
class Suspect:
    """A good image that stands out. Indices are those of the set. `spreads`: how far its score is above the
    median, in robust spreads; `at`: the centre (x, y) of its oddest place, as shares of the
    prepared square; None for tiles.
    """

    image: int
    neighbour: int
    spreads: float
    at: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Hygiene:
    """The result for a set of images; images are named. `copies`, `strangers` and `blanks` are left out of the set.

    `copies`: (name, the image that it nearly equals). `strangers`: (name, the other product that claims it).
    `look_alike`: (product, share) of a product that claims so many images that none was left out for it. `blanks`:
    images that show nothing. `unlike`: images that look unlike all others to the router; they are learnt. `groups`:
    the images by the group that they look alike in, the largest group first; empty where there is one, besides
    `unlike`. `apart`: the numbers of images in large groups that are as far apart as two products; one number for a
    set of one product. `sizes`: (width, height, number of images), the most frequent first. `neighbour_rms`: the median
    difference of an image to its nearest one, in levels. `remarks`: what a person should know and no fault of the set.
    `objections`: the warnings for which a version is not made live unless a person insists.
    """

    copies: tuple[tuple[str, str], ...] = ()
    strangers: tuple[tuple[str, str], ...] = ()
    blanks: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    apart: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int, int], ...] = ()
    look_alike: tuple[str, float] | None = None
    neighbour_rms: float = 0.0
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    left_out: frozenset[int] = frozenset()

    def to_manifest(self) -> dict[str, Any]:
        return {
            "near_identical": [{"image": name, "of": of} for name, of in self.copies],
            "other_product": [{"image": name, "product": product} for name, product in self.strangers],
            "blank": list(self.blanks),
            "unlike": list(self.unlike),
            "groups": [{"images": len(group), "some": list(group[:NAMED_OF_A_GROUP])} for group in self.groups],
            "apart": list(self.apart),
            "sizes": [list(each) for each in self.sizes],
            "look_alike": None if self.look_alike is None else list(self.look_alike),
            "neighbour_rms_levels": round(self.neighbour_rms, 2),
            "warnings": list(self.warnings),
            "remarks": list(self.remarks),
        }


def inspect(gathered: Gathered, others: Sequence[ProductAnchors], preparation: Preparation) -> Hygiene:
    """Copies, strangers and monotony of a set of n >= 2 images. `others`: the anchors of the other live products.

    `preparation`: gives the region of interest of the frames.
    """
    names = gathered.names
    copies, rms = near_identical(gathered.routing)
    strangers, look_alike = strangers_among(gathered.route_patches, others)
    blanks = blanks_among(gathered.routing)
    copies = [(image, of) for image, of in copies if image not in blanks]  # one reason for each is enough
    left_out = frozenset([image for image, _ in copies] + [image for image, _ in strangers] + blanks)
    kept = [image for image in range(len(names)) if image not in left_out]
    descriptors = descriptors_of([gathered.route_patches[image] for image in kept])
    unlike = [names[kept[row]] for row in unlike_the_rest(descriptors)]
    groups = [[names[kept[row]] for row in group] for group in groups_among(descriptors)]
    apart = [len(group) for group in products_among(descriptors)]
    of_groups, many_products = _of_groups(groups, apart)
    sizes = Counter(gathered.sizes[image] for image in kept).most_common()
    of_sizes, of_cut_outs = _of_differing_sizes(sizes)
    of_areas, too_small = _of_areas(gathered.sizes, preparation)
    of_light, too_dark = _of_light(gathered.routing, rms)
    of_content, featureless = _of_content(gathered.routing)
    of_encodings = _of_encodings(gathered.encodings, gathered.sizes)
    warnings = [
        *_of_unlike(unlike),
        *of_groups,
        *_of_count(len(names) - len(left_out)),
        *of_sizes,
        *of_areas,
        *of_light,
        *of_content,
        *of_encodings,
    ]
    if look_alike is not None:
        name, share = look_alike
        warnings.append(f"{share:.0%} of the images look like {name}, which is enrolled already")
    return Hygiene(
        copies=tuple((names[image], names[of]) for image, of in copies),
        strangers=tuple((names[image], product) for image, product in strangers),
        blanks=tuple(names[image] for image in blanks),
        unlike=tuple(unlike),
        groups=tuple(tuple(group) for group in groups),
        apart=tuple(apart),
        sizes=tuple((width, height, count) for (height, width), count in sizes),
        look_alike=look_alike,
        neighbour_rms=rms,
        warnings=tuple(warnings),
        remarks=tuple(of_cut_outs),
        objections=(*many_products, *too_small, *too_dark, *featureless),
        left_out=left_out,
    )


def _of_unlike(unlike: Sequence[str]) -> list[str]:
    """Warnings about images that look like none of the others. `unlike`: their names; they are learnt."""
    if not unlike:
        return []
    named = ", ".join(unlike[:MOST_NAMED]) + (f" and {len(unlike) - MOST_NAMED} more" * (len(unlike) > MOST_NAMED))
    return [
        f"unlike all the other images: {named}; a frame without a part, or of another "
        "one, would pass as good from now on: what is not this product, leave out by --exclude and enrol again"
    ]


def _of_groups(groups: Sequence[Sequence[str]], apart: Sequence[int]) -> tuple[list[str], list[str]]:
    """Warnings about images that fall into groups, and those of them that are objections.

    `groups`: the names of each group, the largest first. `apart`: the numbers of images in large groups that are as far
    apart as two products; fewer than two of them are no objection.
    """
    if len(apart) > 1:
        sizes = ", ".join(str(count) for count in apart[:-1]) + f" and {apart[-1]}"
        objection = (
            f"the images look like {len(apart)} products, in groups of {sizes}; one version for all finds hardly any "
            f"defect, so enrol each by itself (`inspector discover` sorts them): {_named_groups(groups)}"
        )
        return [objection], [objection]
    if not groups:
        return [], []
    return [
        f"the images fall into {len(groups)} groups that look unlike each other; if they show one part in several "
        f"poses or lots, that is right, and if they show several, enrol each by itself: {_named_groups(groups)}"
    ], []


def _named_groups(groups: Sequence[Sequence[str]]) -> str:
    named = [
        f"{len(group)} ({', '.join(group[:NAMED_OF_A_GROUP])}{', ...' * (len(group) > NAMED_OF_A_GROUP)})"
        for group in groups[:GROUPS_NAMED]
    ]
    rest = groups[GROUPS_NAMED:]
    named += [f"{sum(len(group) for group in rest)} in {len(rest)} more"] if rest else []
    return ", ".join(named)


def _of_differing_sizes(sizes: Sequence[tuple[tuple[int, int], int]]) -> tuple[list[str], list[str]]:
    """Warnings about images of different sizes, and the remark in their place where the parts are cut out.

    `sizes`: ((height, width), number of images), the most frequent first.
    """
    if len(sizes) < 2:
        return [], []
    counts = [f"{count} of {width}x{height} px" for (height, width), count in sizes[:SIZES_NAMED]]
    rest = sum(count for _, count in sizes[SIZES_NAMED:])
    told = ", ".join(counts) + (f", {rest} of {len(sizes) - SIZES_NAMED} more sizes" if rest else "")
    if len(sizes) > max(2, CUT_OUT_SIZES * sum(count for _, count in sizes)):
        return [], [f"the images have {len(sizes)} sizes, as parts that are cut out of their frames: {told}"]
    return [f"the images differ in size: {told}; crops, or another camera?"], []


def _are(count: int, total: int) -> str:
    return f"{count} of {total} images {'is' if count == 1 else 'are'}"


def _of_count(usable: int) -> list[str]:
    if usable >= FEW_IMAGES:
        return []
    return [
        f"{usable} images are few: poses and lots that are not among them will be rejected; "
        f"take at least {FEW_IMAGES}, from several lots and shifts"
    ]


def _of_areas(sizes: Sequence[tuple[int, int]], preparation: Preparation) -> tuple[list[str], list[str]]:
    """Warnings about the size of images and of their region of interest, and those warnings that are objections."""
    warnings = _of_sizes(sizes)
    if any(min(size) < TINY_PX for size in sizes):
        return warnings, warnings[:1]
    least = min((_side_looked_at(size, preparation) for size in sizes), default=float("inf"))
    if least >= TINY_PX:
        return warnings, []
    objection = (
        f"what is looked at, after region of interest and mask, is as much as {least:.0f} px on a side of a frame: "
        "most of a part would pass unseen"
    )
    return [*warnings, objection], [objection]


def _of_light(copies: Sequence[NDArray[np.uint8]], rms: float) -> tuple[list[str], list[str]]:
    """Warnings about black or monotonous images, and those warnings that are objections.

    `copies`: uint8 [128, 128, 3] each; `rms`: the median difference of an image to its nearest one, in levels.
    """
    brightest = max(int(copy.max()) for copy in copies)
    if brightest < DARK_LEVEL:
        objection = (
            f"the images are nearly black (no brighter than {brightest} of 255 levels): if they hold 10 or 12 bits in "
            "16, say so by bit_depth of a camera in the configuration, and enrol with --camera"
        )
        return [objection], [objection]
    if rms < SAME_RMS:
        return [
            f"the images hardly differ ({rms:.1f} of 255 levels from one to the next like it): one part shot many "
            "times teaches one part; take different parts"
        ], []
    return [], []


def _of_content(copies: Sequence[NDArray[np.uint8]]) -> tuple[list[str], list[str]]:
    """Warnings where most images show nothing at all, so that no threshold means anything, and those of them that are
    objections. Black images are a matter of `_of_light`. `copies`: uint8 [128, 128, 3] each.
    """
    count = len(featureless_among(copies))
    if count <= FEATURELESS_SHARE * len(copies) or max(int(copy.max()) for copy in copies) < DARK_LEVEL:
        return [], []
    objection = (
        f"{count} of {len(copies)} images show nothing but one even gray: check lens cap, light and exposure; if good "
        "parts look like this, make the version live yourself"
    )
    return [objection], [objection]


def _side_looked_at(size: tuple[int, int], preparation: Preparation) -> float:
    """Side of a square of as many pixels as are looked at of a frame of this size, (height, width); of a narrower
    region its shorter side.
    """
    rows, columns = crop_of(*size, preparation)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    counts = counted(preparation, *size, (height, width))
    area = height * width if counts is None else int(counts.sum())
    return float(min(height, width, math.sqrt(area)))


def _of_sizes(sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Warnings about images, (height, width), that are small."""
    found = []
    if sizes and (least := min(min(size) for size in sizes)) < SMALL_PX:
        found.append(f"there are images of {least} px on a side: what a camera does not see can't be found in them")
    return found


def _of_encodings(encodings: Sequence[Encoding], sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Warnings about differences between the files of a set that no pixel shows."""
    total, found = len(encodings), []
    turned = sum(each.orientation != UPRIGHT for each in encodings)
    if turned and len({each.orientation for each in encodings}) > 1:
        found.append(
            f"{_are(turned, total)} stored with an EXIF rotation, which is ignored here as on the line: beside the "
            "others they show turned parts; turn the pixels, or leave such images out"
        )
    lying = sum(width > height for height, width in sizes)
    standing = sum(width < height for height, width in sizes)
    if lying and standing and len({frozenset(size) for size in sizes}) == 1:
        found.append(f"of images with the same sides {lying} lie and {standing} stand: a camera that was turned?")
    for count, what, others in (
        (sum(each.bits == 16 for each in encodings), "of 16 bits", "of 8"),
        (sum(each.is_gray for each in encodings), "gray", "coloured"),
        (sum(each.channels == CMYK_CHANNELS for each in encodings), "CMYK", "not"),
    ):
        if 0 < count < total:
            found.append(f"{_are(count, total)} {what}, the others {others}: another camera, or another setting?")
    if moving := sum(each.is_animated for each in encodings):
        found.append(f"{_are(moving, total)} animated: only the first picture of each is looked at")
    return found


def near_identical(copies: Sequence[NDArray[np.uint8]]) -> tuple[list[tuple[int, int]], float]:
    """Images that show the same picture as an earlier one: (image, the earlier one), and the median nearest distance.

    `copies`: uint8 [128, 128, 3] each. Distances are root mean squares of the gray image, in levels.
    """
    count = len(copies)
    if count < 2:
        return [], 0.0
    small = np.stack([_thumbnail(each) for each in copies])  # [n, 1024]
    squares = np.einsum("nc,nc->n", small, small)
    nearest = np.empty(count, np.int64)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        distance = squares[block, None] + squares[None] - 2.0 * small[block] @ small.T
        rows = np.arange(len(distance))
        distance[rows, rows + start] = np.inf
        nearest[block] = distance.argmin(axis=1)
    apart = np.array([_rms(copies[image], copies[int(other)]) for image, other in enumerate(nearest)])
    usual = float(np.median(apart))
    limit = min(SAME_RMS, SAME_SHARE * usual)
    found = []
    kept_as: dict[int, int] = {}
    for image, other in enumerate(nearest.tolist()):
        if apart[image] <= limit and other < image:
            kept_as[image] = kept_as.get(other, other)
            found.append((image, kept_as[image]))
    return found, usual


def blanks_among(copies: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Images that show nothing where the others show something. `copies`: uint8 [128, 128, 3] each."""
    spreads = np.array([float(cv2.meanStdDev(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY))[1][0, 0]) for each in copies])
    return np.flatnonzero(spreads < min(BLANK_SPREAD, BLANK_SHARE * float(np.median(spreads)))).tolist()


def featureless_among(copies: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Images that show nothing, whatever the others show. `copies`: uint8 [128, 128, 3] each."""
    found = []
    for number, copy in enumerate(copies):
        gray = cv2.cvtColor(copy, cv2.COLOR_RGB2GRAY)
        if gray.std() < FEATURELESS_SPREAD and _thumbnail(copy).std() < FEATURELESS_AREA_SPREAD:
            found.append(number)
    return found


def descriptors_of(route_patches: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """The unit routing descriptors of images, float32 [N, C]."""
    if not len(route_patches):
        return np.zeros((0, 1), np.float32)
    return unit_length(np.stack([pooled(np.asarray(each, np.float32)) for each in route_patches]))


def unlike_the_rest(descriptors: NDArray[np.float32]) -> list[int]:
    """Images that discovery would put into another category than the largest one. None if they are many."""
    found = [image for group in _groups(descriptors, ALIKE_WITHIN)[1:] for image in group]
    return sorted(found) if len(found) <= UNLIKE_SHARE * len(descriptors) else []


def groups_among(descriptors: NDArray[np.float32]) -> list[list[int]]:
    """The categories that discovery would find among the images, the largest first. None if few lie outside the
    largest: those are `unlike_the_rest`.
    """
    found = _groups(descriptors, ALIKE_WITHIN)
    outside = sum(len(group) for group in found[1:])
    return found if outside > UNLIKE_SHARE * len(descriptors) else []


def products_among(descriptors: NDArray[np.float32]) -> list[list[int]]:
    """The large groups of images that are as far apart as two products, the largest first."""
    least = max(SMALLEST_CATEGORY, LARGE_SHARE * len(descriptors))
    return [group for group in _groups(descriptors, APART_FROM) if len(group) >= least]


def _groups(descriptors: NDArray[np.float32], within: float) -> list[list[int]]:
    if not len(descriptors):
        return []
    labels = mean_linkage(descriptors, within)
    found: list[list[int]] = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    return sorted(found, key=lambda group: (-len(group), group[0]))


def strangers_among(
    route_patches: Sequence[NDArray[np.floating]], others: Sequence[ProductAnchors]
) -> tuple[list[tuple[int, str]], tuple[str, float] | None]:
    """Images that another product claims against anchors of the set's more typical images: (image, product).

    If one product claims more than a fifth of the set, no image is named, but that product and its share.
    """
    if not others:
        return [], None
    rng = np.random.default_rng(0)
    descriptors = np.stack([pooled(np.asarray(each, np.float32)) for each in route_patches])
    typical = np.argsort(-(descriptors @ descriptors.mean(axis=0)), kind="stable")
    typical = np.sort(typical[: max(2, round(TYPICAL_SHARE * len(typical)))])
    picked = typical[pick_anchor_images(descriptors[typical], rng)]
    anchors = build_anchors(np.concatenate([np.asarray(route_patches[i], np.float32) for i in picked]), rng)
    # The bound plays no part: a frame of a known product is within that product's own.
    own = ProductAnchors("", anchors, descriptors[picked], bound=1e9)
    index = AnchorIndex([own, *others])
    claimed, away = [], np.empty(len(route_patches))
    for image, patches in enumerate(route_patches):
        found = np.asarray(patches, np.float32)
        away[image] = trimmed_distance(found, anchors)
        claimed.append(index.route(found).product or "")
    for product in (item.product for item in others):
        if claimed.count(product) > STRANGE_SHARE * len(claimed):
            # Twin products claim some of each other's images. What counts is the claim without this set as a rival.
            alone = AnchorIndex([item for item in others if item.product == product])
            taken = sum(alone.route(np.asarray(each, np.float32)).product == product for each in route_patches)
            return [], (product, taken / len(claimed))
    far = away > STRANGE_RATIO * np.median(away)
    return [(image, name) for image, name in enumerate(claimed) if name and far[image]], None


def suspects_among(
    inputs: Sequence[NDArray[np.uint8]],
    route_patches: Sequence[NDArray[np.floating]],
    graph: Graph,
    engine: Engine,
    embedder: Embedder,
    progress: Progress,
) -> list[Suspect]:
    """Images that stand out from the others, oddest first. One pass over the images.

    Five folds in runs over the file order; each image is scored on the pass's coarsest grid by a bank of the other
    four. Robust: a bad image in a bank shifts neither median nor spread.
    """
    which = min(range(len(graph.embeddings)), key=graph.grid)
    grid = graph.grid(which)
    patches = _embedded(inputs, which, embedder, progress)
    scores, peaks = _left_out_scores(patches, engine)
    spread = 1.4826 * float(np.median(np.abs(scores - np.median(scores))))
    if spread <= 0:
        return []
    spreads = (scores - np.median(scores)) / spread
    found = np.flatnonzero(spreads > SUSPECT_SPREADS)
    most = max(1, round(MOST_SUSPECT_SHARE * len(scores)))
    found = found[np.argsort(-spreads[found], kind="stable")][:most]
    nearest = nearest_usual(found.tolist(), route_patches)
    suspects = []
    for image, near in zip(found.tolist(), nearest, strict=True):
        row, column = divmod(int(peaks[image]), grid)
        is_square = len(patches[image]) == grid * grid
        at = ((column + 0.5) / grid, (row + 0.5) / grid) if is_square else None
        suspects.append(Suspect(image, near, float(spreads[image]), at))
    return suspects


def nearest_usual(odd: Sequence[int], route_patches: Sequence[NDArray[np.floating]]) -> list[int]:
    """For each odd image the one among the rest that looks most like it as a whole."""
    if not odd:
        return []
    descriptors = np.stack([pooled(np.asarray(each, np.float32)) for each in route_patches])
    usual = np.setdiff1d(np.arange(len(route_patches)), odd)
    return [int(usual[(descriptors[usual] @ descriptors[image]).argmax()]) for image in odd]


def _embedded(inputs: Sequence[NDArray[np.uint8]], which: int, embedder: Embedder, progress: Progress) -> Spill:
    """The patches of one embedding, float16 [P, C] each."""
    kept = Spill()
    for start in range(0, len(inputs), BATCH):
        batch = np.stack([inputs[i] for i in range(start, min(start + BATCH, len(inputs)))])
        for frame in on_host(embedder(batch)[which]):
            kept.append(frame.astype(np.float16))
        progress("hygiene", start + len(batch), len(inputs))
    return kept


def _left_out_scores(
    patches: Sequence[NDArray[np.floating]], engine: Engine
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The score of each image by a bank without its fold, and its oddest patch."""
    count = len(patches)
    rng = np.random.default_rng(0)
    fold_of = (np.arange(count) // max(1, count // 50)) % min(FOLDS, count)
    per_image = max(1, -(-SAMPLED_PATCHES // count))
    sampled = []
    for image in range(count):
        frame = np.asarray(patches[image], np.float32)
        sampled.append(frame[rng.permutation(len(frame))[:per_image]])
    scores, peaks = np.zeros(count), np.zeros(count, np.int64)
    for fold in np.unique(fold_of):
        others = np.concatenate([sampled[i] for i in np.flatnonzero(fold_of != fold)])
        prototypes = others[farthest_first(others, PROTOTYPES, rng)]
        search = engine.search(Bank(np.zeros(others.shape[1], np.float32), None, prototypes))
        for image in np.flatnonzero(fold_of == fold).tolist():
            distances = search.distances(np.asarray(patches[image], np.float32)[None])[0, 0]
            scores[image] = top_mean(distances[None], TOP_SHARE)[0]
            peaks[image] = int(distances.argmax())
    return scores, peaks


def _thumbnail(copy: NDArray[np.uint8]) -> NDArray[np.float32]:
    gray = cv2.cvtColor(copy, cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()


def _rms(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    gray = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (one, other)]
    return float(np.sqrt(np.mean((gray[0] - gray[1]) ** 2)))
