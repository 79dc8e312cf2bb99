"""How small a drawn defect the deployed head still finds, and where in the picture it finds none.

Defects of growing size are drawn on good images, at their own resolution, and take the road that frames take: prepared,
embedded, judged at the deployed threshold. The images are held-out ones; where none was held out, because they are few,
the head has learnt them. A share of defects found is evidence about drawn defects of these kinds on parts like these,
with its binomial interval; it is no plant's escape rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.gathering import Progress
from inspector.training.defects.drawing import DefectKind
from inspector.training.defects.planting import Ground, plant
from inspector.training.evidence.trade import (
    NONE_DRAWN,
    DrawnDefect,
    Found,
    TradePoint,
    found_of_large,
    thresholds_of,
    trade_of,
)
from inspector.training.statistics.calibrating import CONFIDENCE
from inspector.vision.artifacts.binomial import clopper_pearson
from inspector.vision.artifacts.eyesight import LARGE_SIZES
from inspector.vision.engines.protocols import Embedder
from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import prepare
from inspector.vision.serving.product_inspector import ProductInspector

SIZES = (0.16, 0.08, 0.04, 0.02, 0.01)
"""Sizes of drawn defects as shares of the picture's longer side, largest first. Smaller sizes are not tried where no
defect of a size is found even at the lowest threshold of the trade; the `LARGE_SIZES` are always tried."""
PER_CELL = 16
"""Defects drawn of each kind and size. If all 16 are found, the share is at least 79 % with 95 % confidence."""
LEAST_PER_CELL = 8
"""The same where few images were enrolled. If all 8 are found, the share is at least 63 %."""
FULL_FROM = 100
"""With fewer enrolled images fewer defects are drawn, so that the cost stays in proportion to the enrolment."""
FOUND_SHARE = 0.9
BLIND_GRID = 6
BLIND_IMAGES = 3
BATCH = 8


@dataclass(frozen=True, slots=True)
class Step:
    """Defects of one kind and size. `size_px`: the median length in the frames' own pixels; `size_share`: of the
    longer side. `interval`: exact, two-sided, 95 %.
    """

    kind: DefectKind
    size_share: float
    size_px: float
    found: int
    n: int

    @property
    def share(self) -> float:
        return self.found / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.found, self.n, CONFIDENCE)


@dataclass(frozen=True, slots=True)
class BlindSpots:
    """Where a spot of one size is found. `found`: int [g, g] of `n` in each cell, rows from the top of the frame.

    `frame`: one of the frames, uint8 [h, w, 3].
    """

    size_share: float
    size_px: float
    n: int
    found: NDArray[np.int64]
    frame: NDArray[np.uint8]

    @property
    def blind(self) -> int:
        """Cells of the frame in which fewer than half of the drawn spots are found."""
        return int((self.found * 2 < self.n).sum())


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A drawn defect and the head's judgement. `frame`: uint8 [h, w, 3]; `heat`: uint8 [h, w], 128 = threshold.

    `at`: the defect's centre and length in pixels of `frame`.
    """

    step: Step
    is_found: bool
    level: float
    frame: NDArray[np.uint8]
    heat: NDArray[np.uint8]
    at: tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class Detectability:
    """The curve, the blind spots, and examples. `n_images`: good images drawn on; `are_seen`: they are in the bank.

    `trade`: what other thresholds would find. `large`: the defects of `LARGE_SIZES` found at the deployed threshold.
    """

    steps: tuple[Step, ...]
    blind_spots: BlindSpots | None
    exhibits: tuple[Exhibit, ...]
    n_images: int
    are_seen: bool
    trade: tuple[TradePoint, ...] = ()
    large: Found = NONE_DRAWN

    @property
    def drawn_on(self) -> str:
        """The images that the defects were drawn on. The head is more certain of an image that it has learnt."""
        return "images of the bank" if self.are_seen else "held-out images"

    def of(self, kind: DefectKind) -> list[Step]:
        """The steps of one kind, smallest first."""
        return sorted((step for step in self.steps if step.kind == kind), key=lambda step: step.size_share)

    def smallest_found(self, kind: DefectKind) -> Step | None:
        """The smallest size from which on at least 90 % were found at each size tried; None where there is none."""
        smallest = None
        for step in reversed(self.of(kind)):
            if step.share < FOUND_SHARE:
                break
            smallest = step
        return smallest

    def to_manifest(self) -> dict[str, Any]:
        smallest = {kind: self.smallest_found(kind) for kind in DefectKind}
        spots = self.blind_spots
        return {
            "n_images": self.n_images,
            "drawn_on": self.drawn_on,
            "confidence": CONFIDENCE,
            "smallest_found": {
                kind.value: None if step is None else _described(step) for kind, step in smallest.items()
            },
            "steps": [{"kind": step.kind.value, **_described(step)} for step in self.steps],
            "large": self.large.to_manifest(),
            "trade": [point.to_manifest() for point in self.trade],
            "blind_spots": None
            if spots is None
            else {
                "size_share": spots.size_share,
                "size_px": spots.size_px,
                "n": spots.n,
                "found": spots.found.tolist(),
            },
        }


def _described(step: Step) -> dict[str, Any]:
    low, high = step.interval
    return {
        "size_px": round(step.size_px, 1),
        "size_share": step.size_share,
        "found": step.found,
        "n": step.n,
        "interval": [round(low, 4), round(high, 4)],
    }


@dataclass(frozen=True, slots=True)
class _Row:
    """What came of the defects of one kind and size."""

    step: Step
    exhibits: list[Exhibit]
    drawn: list[DrawnDefect]


class DetectabilityTrial:
    """Draws defects on those of `grounds` that the deployed head accepts, and lets the head judge them. Deterministic.

    `seen`: the head learnt these images, which the statement then says. `learnt`: how many images were enrolled.
    `good_scores`: of the images that calibrated the head, for the trade; without them there is no trade.
    """

    def __init__(
        self,
        inspector: ProductInspector,
        embedder: Embedder,
        grounds: Sequence[Ground],
        *,
        seen: bool,
        learnt: int = FULL_FROM,
        good_scores: Sequence[float] = (),
    ) -> None:
        self._inspector = inspector
        self._embedder = embedder
        self._calibration = inspector.artifact.calibration
        self._threshold = self._calibration.threshold
        self._good_scores = good_scores
        lowest = thresholds_of(good_scores, self._calibration).values() if good_scores else ()
        self._lowest_threshold = min((self._threshold, *lowest))
        self._preparation = inspector.artifact.preparation
        self._seen = seen
        self._grounds = grounds
        share = min(1.0, learnt / FULL_FROM)
        self._per_cell = max(min(LEAST_PER_CELL, PER_CELL), round(PER_CELL * share))
        self._blind_images = max(1, round(BLIND_IMAGES * share))

    def run(self, progress: Progress) -> Detectability | None:
        """Draw all kinds and sizes, then measure the blind spots. None where the head accepts no unchanged image."""
        accepted = self._accepted()
        if not accepted:
            return None
        steps: list[Step] = []
        exhibits: list[Exhibit] = []
        drawn: list[DrawnDefect] = []
        for number, kind in enumerate(DefectKind):
            for share in SIZES:
                row = self._row(kind, share, accepted)
                if row is None:
                    break
                steps.append(row.step)
                exhibits += row.exhibits
                drawn += row.drawn
                if share not in LARGE_SIZES and not any(each.score > self._lowest_threshold for each in row.drawn):
                    break
            progress("detectability", number + 1, len(DefectKind) + 1)
        trade = trade_of(drawn, self._good_scores, self._calibration) if self._good_scores else ()
        measured = Detectability(
            steps=tuple(steps),
            blind_spots=None,
            exhibits=tuple(_instructive(exhibits)),
            n_images=len(accepted),
            are_seen=self._seen,
            trade=trade,
            large=found_of_large(drawn, self._threshold),
        )
        blind = self._blind_spots(measured, [ground for ground, _ in accepted])
        progress("detectability", len(DefectKind) + 1, len(DefectKind) + 1)
        return replace(measured, blind_spots=blind)

    def _accepted(self) -> list[tuple[Ground, float]]:
        """Images that pass as they are, with their scores, at most as many as one cell needs, spread over the
        set.
        """
        count = min(len(self._grounds), self._per_cell)
        spread = np.unique(np.linspace(0, len(self._grounds) - 1, count).round().astype(int))
        grounds = [self._grounds[int(index)] for index in spread]
        scores = self._scores([each.pixels for each in grounds])
        return [(each, score) for each, score in zip(grounds, scores, strict=True) if score <= self._threshold]

    def _row(self, kind: DefectKind, share: float, accepted: Sequence[tuple[Ground, float]]) -> _Row | None:
        planted, sizes, ground_scores = [], [], []
        for number in range(self._per_cell):
            rng = np.random.default_rng([list(DefectKind).index(kind), round(share * 10_000), number])
            ground, ground_score = accepted[number % len(accepted)]
            size_px = share * max(ground.pixels.shape[:2])
            drawn = plant(kind, ground.pixels, size_px, rng)
            if drawn is not None:
                planted.append((drawn, size_px))
                sizes.append(size_px * ground.scale)
                ground_scores.append(ground_score)
        if not planted:
            return None
        judged = self._judge([frame for (frame, _), _ in planted])
        defects = [
            DrawnDefect(kind, share, score, before) for (score, _), before in zip(judged, ground_scores, strict=True)
        ]
        is_found = [each.score > self._threshold for each in defects]
        step = Step(kind, share, float(np.median(sizes)), sum(is_found), len(planted))
        shown = []
        for wanted in (True, False):
            if wanted in is_found:
                first = is_found.index(wanted)
                (frame, at), size_px = planted[first]
                shown.append(self._exhibit(step, wanted, frame, (*at, size_px), judged[first][1]))
        return _Row(step, shown, defects)

    def _exhibit(
        self, step: Step, is_found: bool, frame: NDArray[np.uint8], at: tuple[int, int, float], judgement: Judgement
    ) -> Exhibit:
        scored = self._inspector.scored(judgement, (frame.shape[0], frame.shape[1]), always_map=True)
        assert scored.heat_map is not None  # noqa: S101 - asked for with always_map
        return Exhibit(step, is_found, scored.level, frame, scored.heat_map, at)

    def _blind_spots(self, measured: Detectability, canvases: Sequence[Ground]) -> BlindSpots | None:
        """The same spots are moved over the picture, so that differences between cells come from the place alone."""
        smallest = measured.smallest_found(DefectKind.SPOT)
        share = SIZES[0] if smallest is None else smallest.size_share
        used = [canvases[number % len(canvases)] for number in range(self._blind_images)]
        found = np.zeros((BLIND_GRID, BLIND_GRID), np.int64)
        for row in range(BLIND_GRID):
            frames = []
            for column in range(BLIND_GRID):
                for number, canvas in enumerate(used):
                    height, width = canvas.pixels.shape[:2]
                    at = (int((column + 0.5) / BLIND_GRID * width), int((row + 0.5) / BLIND_GRID * height))
                    rng = np.random.default_rng([99, number])
                    drawn = plant(DefectKind.SPOT, canvas.pixels, share * max(height, width), rng, at)
                    frames.append(canvas.pixels if drawn is None else drawn[0])
            scores = np.array(self._scores(frames)).reshape(BLIND_GRID, len(used))
            found[row] = (scores > self._threshold).sum(axis=1)
        size_px = float(np.median([share * max(each.pixels.shape[:2]) * each.scale for each in used]))
        return BlindSpots(share, size_px, len(used), found, used[0].pixels)

    def _scores(self, frames: Sequence[NDArray[np.uint8]]) -> list[float]:
        return [score for score, _ in self._judge(frames)]

    def _judge(self, frames: Sequence[NDArray[np.uint8]]) -> list[tuple[float, Judgement]]:
        judged: list[tuple[float, Judgement]] = []
        for start in range(0, len(frames), BATCH):
            batch = np.stack([prepare(frame, self._preparation) for frame in frames[start : start + BATCH]])
            judged += [(each.score, each) for each in self._inspector.judge(self._embedder(batch))]
        return judged


def _instructive(exhibits: Sequence[Exhibit]) -> Iterator[Exhibit]:
    """For each kind of defect, the smallest one that was found and the largest one that was missed."""
    for kind in DefectKind:
        mine = [each for each in exhibits if each.step.kind == kind]
        if found := [each for each in mine if each.is_found]:
            yield min(found, key=_size_of)
        if missed := [each for each in mine if not each.is_found]:
            yield max(missed, key=_size_of)


def _size_of(exhibit: Exhibit) -> float:
    return exhibit.step.size_share
