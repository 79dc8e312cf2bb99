"""How much a part turns and moves in its good images: what a fixture would take away.

Each image is laid over the most typical one: turned in steps of `STEP_DEG`, and shifted to where both correlate best.
Of nearly equal matches the least turned one counts, so that a symmetrical part does not turn. Images that match in no
pose, as those of textures do, say nothing. Images of another size than most are left aside: what their framing or
their proportions do to the picture is not a turn of the part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX: Final = 64
STEP_DEG: Final = 10
MOST_IMAGES: Final = 40
LIKE: Final = 0.5
"""The correlation from which on two images show the same picture. Textures reach 0.16 to 0.36, parts 0.65 to 0.99."""
TIE: Final = 0.03
EDGE_PX: Final = 6.0
"""Width of the soft edge of the round window in which images are compared."""
TURNS_FROM_DEG: Final = 20
MOVES_FROM: Final = 0.08
LEAST_OF_A_SIZE: Final = 5
"""Where fewer images than this have the most frequent size, no pose is measured: sizes may look like turns."""
LEAST_SHARE: Final = 0.5
"""The pose is told where at least this share of the images match the typical one."""

Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """Turns and shifts of the good images against the most typical one.

    `turn_deg`, `move_share`: nine of ten matching images are turned and moved by at most this, in degrees and in shares
    of the frame's side. Both None: too few images match. `likeness`: the median of their best correlation.
    `likeness_in_place`: the same, neither turned nor moved. `n`: images compared. `of_px`: width and height of these
    images where others have another size, which were left aside; None where all have one.
    """

    turn_deg: float | None
    move_share: float | None
    likeness: float
    likeness_in_place: float
    n: int
    of_px: tuple[int, int] | None = None

    @property
    def turns(self) -> bool:
        return self.turn_deg is not None and self.turn_deg >= TURNS_FROM_DEG

    @property
    def moves(self) -> bool:
        return self.move_share is not None and self.move_share >= MOVES_FROM

    @property
    def statement(self) -> str:
        """The pose in one sentence, for people."""
        if self.of_px is None:
            return self._statement
        return f"{self._statement} (told from the {self.n} images of {self.of_px[0]}x{self.of_px[1]} px looked at)"

    @property
    def _statement(self) -> str:
        if self.turn_deg is None or self.move_share is None:
            return "its good images have no common picture, as those of a texture: its pose can't be measured"
        if not self.turns and not self.moves:
            turn, move = max(self.turn_deg, STEP_DEG), max(self.move_share, 0.02)
            return (
                f"it lies still: nine of ten good images are turned by at most {turn:.0f} degrees and moved by at most "
                f"{move:.0%} of the frame"
            )
        ways = [f"turns by up to {self.turn_deg:.0f} degrees"] if self.turns else []
        ways += [f"moves by up to {self.move_share:.0%} of the frame"] if self.moves else []
        return f"it {' and '.join(ways)} in nine of ten good images"

    @property
    def advice(self) -> str | None:
        """What would help, where the part does not lie still."""
        if not self.turns and not self.moves:
            return None
        remedy = "a fixture that holds it" if self.turns else "a fixture, or a region of interest around it (--roi),"
        return f"{self.statement}; {remedy} would let smaller defects be found, and so would more good images"

    def to_manifest(self) -> dict[str, Any]:
        return asdict(self) | {"statement": self.statement}


def pose_of(canvases: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]] = ()) -> Pose | None:
    """The pose from prepared images, uint8 [H, W, 3]; at most `MOST_IMAGES`, spread over them.

    `sizes`: height and width of each image as it came; empty where all have one. Only images of the most frequent size
    count. None for one image, or where too few have one size.
    """
    own, of_px = _of_one_size(len(canvases), sizes)
    chosen = [own[int(at)] for at in np.unique(np.linspace(0, len(own) - 1, min(MOST_IMAGES, len(own))).round())]
    if len(chosen) < 2:
        return None
    pictures = [_small(canvases[index]) for index in chosen]
    flat = np.stack([_normalised(picture).ravel() for picture in pictures])
    in_place = flat @ flat.T
    typical = int(in_place.sum(axis=1).argmax())
    others = [index for index in range(len(pictures)) if index != typical]
    spectrum = np.conj(_spectrum(_normalised(pictures[typical])))
    matches = [_best_match(pictures[index], spectrum) for index in others]
    like = [match for match in matches if match[0] >= LIKE]
    is_told = len(like) >= LEAST_SHARE * len(matches)
    return Pose(
        turn_deg=float(np.quantile([turn for _, turn, _ in like], 0.9)) if is_told else None,
        move_share=round(float(np.quantile([move for _, _, move in like], 0.9)), 4) if is_told else None,
        likeness=round(float(np.median([peak for peak, _, _ in matches])), 4),
        likeness_in_place=round(float(np.median(in_place[typical, others])), 4),
        n=len(pictures),
        of_px=of_px,
    )


def _of_one_size(count: int, sizes: Sequence[tuple[int, int]]) -> tuple[list[int], tuple[int, int] | None]:
    """The images of the most frequent size, and its width and height if there are others. Empty where they are few."""
    (most, number), *others = Counter(sizes).most_common() or [((0, 0), count)]
    if not others:
        return list(range(count)), None
    if number < LEAST_OF_A_SIZE:
        return [], None
    return [index for index, size in enumerate(sizes) if size == most], (most[1], most[0])


def _small(canvas: NDArray[np.uint8]) -> Picture:
    gray = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.float32)


def _best_match(picture: Picture, conjugate_spectrum: NDArray[np.complex64]) -> tuple[float, float, float]:
    """Correlation, turn in degrees (without sign) and shift as a share of the side, of the best pose."""
    poses = []
    middle = (SIDE_PX - 1) / 2
    for angle in range(-180, 180, STEP_DEG):
        turn = cv2.getRotationMatrix2D((middle, middle), float(angle), 1.0)
        turned = cv2.warpAffine(picture, turn, (SIDE_PX, SIDE_PX), borderMode=cv2.BORDER_REFLECT_101)
        surface = np.fft.irfft2(_spectrum(_normalised(np.asarray(turned, np.float32))) * conjugate_spectrum)
        at = np.array(np.unravel_index(int(surface.argmax()), surface.shape))
        shift = np.where(at > SIDE_PX, at - 2 * SIDE_PX, at)
        poses.append((float(surface.max()), float(abs(angle)), float(np.hypot(*shift)) / SIDE_PX))
    best = max(peak for peak, _, _ in poses)
    return min((pose for pose in poses if pose[0] >= best - TIE), key=lambda pose: (pose[1], -pose[0]))


def _spectrum(picture: Picture) -> NDArray[np.complex64]:
    """The Fourier transform with as much room again, so that a shift does not wrap around."""
    return np.asarray(np.fft.rfft2(picture, s=(2 * SIDE_PX, 2 * SIDE_PX)), np.complex64)


def _window() -> Picture:
    """A disc with a soft edge: turning a picture does not change what lies within."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    return np.asarray(np.clip((SIDE_PX / 2 - np.hypot(x, y)) / EDGE_PX, 0.0, 1.0), np.float32)


_WINDOW: Final = _window()


def _normalised(picture: Picture) -> Picture:
    """The picture within the window, with mean 0 and norm 1."""
    centred = (picture - (picture * _WINDOW).sum() / _WINDOW.sum()) * _WINDOW
    return np.asarray(centred / (np.linalg.norm(centred) + 1e-6), np.float32)
