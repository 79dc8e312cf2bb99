"""What may help a head that finds few of the large drawn defects. Nothing is advised that its own trade refutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from inspector.training.evidence.detectability import Detectability
from inspector.training.evidence.evidence import Evidence
from inspector.training.evidence.trade import OVERKILLS
from inspector.vision.artifacts.calibration import scores_needed
from inspector.vision.artifacts.eyesight import BLIND_BELOW

MOST_IMAGES = 20_000
"""No more images than this are advised."""
LARGE_FRAME = 1.5
"""A frame is called large where its longer side is this many times what the backbone sees."""
OTHER_HEADS = (
    "try --profile fine, --backbone lite2 and --head protoad, and compare them on labelled images by "
    "`inspector evaluate`"
)


def images_needed(calibrating: Callable[[int], Sequence[int]], alpha: float, count: int) -> int | None:
    """The number of good images of which enough are held out for this alpha.

    `calibrating`: of a head's recipe. None where `count` images are enough, or `MOST_IMAGES` are too few.
    """
    needed = scores_needed(alpha)
    if len(calibrating(count)) >= needed:
        return None
    low, high = count, MOST_IMAGES
    if len(calibrating(high)) < needed:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if len(calibrating(middle)) >= needed else (middle, high)
    return high


def advice_on(evidence: Evidence, *, frame_px: int, seen_px: int) -> str:
    """What to try, the likeliest first, as one text; empty without drawn defects.

    `frame_px`: the longer side of the frames; `seen_px`: the longer side of what the backbone sees of one.
    """
    if evidence.detectability is None:
        return ""
    return "; ".join(
        [
            *_of_images(evidence),
            *_of_overkill(evidence.detectability, evidence.calibration.alpha),
            _of_framing(frame_px, seen_px),
            OTHER_HEADS,
        ]
    )


def _of_images(evidence: Evidence) -> Iterator[str]:
    keystone, needed, fewest = evidence.keystone, evidence.images_needed, evidence.images_at_most
    if keystone is not None and keystone.stands_apart:
        yield f"look at {' and '.join(keystone.images)} first: the threshold rests there"
    if needed is None:
        return
    sooner = f" ({fewest} with --overkill {max(OVERKILLS):.0%})" if fewest is not None and fewest < needed else ""
    calibration = evidence.calibration
    yield (
        f"enrol more good images: now {calibration.rule} sets the threshold ({calibration.n} scores), and from "
        f"{needed} good images on{sooner} no margin is needed"
    )


def _of_overkill(found: Detectability, alpha: float) -> Iterator[str]:
    """`alpha`: the share in use; only larger ones are looked at."""
    larger = [point for point in found.trade if point.overkill > alpha]
    if not larger:
        return
    most = max(larger, key=lambda point: point.overkill)
    option, counted = f"--overkill {100 * most.overkill:.3g}%", f"{most.large.found} of {most.large.n}"
    if most.large.found > found.large.found and (most.large.share or 0.0) >= BLIND_BELOW:
        yield f"{option} would find {counted}"
    else:
        yield f"{option} does not help: with it {counted} are found"


def _of_framing(frame_px: int, seen_px: int) -> str:
    if frame_px > LARGE_FRAME * seen_px:
        return f"the frames have {frame_px} px and the head sees {seen_px}: try --tiles, or --roi around what matters"
    return "let the part fill more of the frame, with the lens or with --roi"
