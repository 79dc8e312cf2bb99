"""The brakes of an enrolment that learns from people: parts that they called bad, which the new version must reject.

Each such part takes the road of a frame: decoded, prepared, embedded and judged at the new version's own threshold. A
version that would pass one of them does not go live unasked, and neither does one that finds clearly fewer drawn
defects than the live version: a bad part that was called good has then widened what counts as good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inspector.errors import UndecodableFrame
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.gathering import Progress
from inspector.training.statistics.calibrating import CONFIDENCE
from inspector.vision.artifacts.binomial import clopper_pearson
from inspector.vision.artifacts.eyesight import Eyesight
from inspector.vision.engines.protocols import Embedder
from inspector.vision.images.preparation import prepare
from inspector.vision.serving.product_inspector import ProductInspector

BATCH: Final = 8
MOST_NAMED: Final = 5
"""Parts named in a sentence. The manifest names all."""
MOST_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class ConfirmedPart:
    """A part that people called bad. `said`: which part it is and what they said, for people."""

    source: ImageSource
    said: str


@dataclass(frozen=True, slots=True)
class Brakes:
    """What a version has to stand beside its own evidence.

    `found_before`: the eyesight of the live version; None where there is none to compare with.
    """

    known_bad: tuple[ConfirmedPart, ...] = ()
    found_before: Eyesight | None = None


@dataclass(frozen=True, slots=True)
class JudgedPart:
    """What the new version says of a part that people called bad. `picture`: as the head sees it, uint8 [H, W, 3]."""

    part: ConfirmedPart
    level: float
    picture: NDArray[np.uint8]

    @property
    def would_pass(self) -> bool:
        return self.level <= 1.0


@dataclass(frozen=True, slots=True)
class KnownBad:
    """The parts that people called bad, the highest level last. `unreadable`: parts and why they can't be judged."""

    judged: tuple[JudgedPart, ...] = ()
    unreadable: tuple[tuple[ConfirmedPart, str], ...] = ()

    @property
    def passing(self) -> tuple[JudgedPart, ...]:
        """The parts that the new version would pass."""
        return tuple(each for each in self.judged if each.would_pass)

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the version does not go live unless a person insists."""
        passing = self.passing
        if not passing:
            return ()
        named = "; ".join(f"{each.part.said}, at level {each.level:.2f}" for each in passing[:MOST_NAMED])
        rest = f"; and {len(passing) - MOST_NAMED} more" if len(passing) > MOST_NAMED else ""
        return (f"it would pass {len(passing)} of {len(self.judged)} parts that people called bad ({named}{rest})",)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{part.said} could not be checked: {reason}" for part, reason in self.unreadable)

    def to_manifest(self) -> dict[str, Any]:
        return {
            "judged": [
                {"image": each.part.source.name, "said": each.part.said, "level": round(each.level, 4)}
                for each in self.judged
            ],
            "passing": [each.part.source.name for each in self.passing],
            "unreadable": [{"image": part.source.name, "reason": reason} for part, reason in self.unreadable],
        }


def judge_known_bad(
    inspector: ProductInspector,
    embedder: Embedder,
    parts: Sequence[ConfirmedPart],
    limits: DecodeLimits,
    progress: Progress,
) -> KnownBad:
    """What the version says of each part at its own threshold."""
    judged: list[JudgedPart] = []
    unreadable: list[tuple[ConfirmedPart, str]] = []
    for start in range(0, len(parts), BATCH):
        readable: list[tuple[ConfirmedPart, NDArray[np.uint8]]] = []
        for part in parts[start : start + BATCH]:
            try:
                image = EncodedImage(part.source.read(), limits)
                prepared = prepare(image, inspector.artifact.preparation)
            except (OSError, UndecodableFrame) as error:
                unreadable.append((part, getattr(error, "strerror", None) or str(error)))
            else:
                readable.append((part, prepared))
        if readable:
            embedded = embedder(np.stack([prepared for _, prepared in readable]))
            limit = inspector.artifact.calibration.threshold
            for (part, prepared), each in zip(readable, inspector.judge(embedded), strict=True):
                judged.append(JudgedPart(part, inspector.level(each.score, limit), prepared))
        progress("parts called bad", min(start + BATCH, len(parts)), len(parts))
    return KnownBad(tuple(sorted(judged, key=lambda each: each.level)), tuple(unreadable))


def weakened(before: Eyesight | None, now: Eyesight) -> str | None:
    """The objection to a version that finds clearly fewer large drawn defects than the live one; None without one."""
    if before is None or not before.n or not now.n:
        return None
    most = clopper_pearson(now.found, now.n, CONFIDENCE)[1]
    if most >= before.found / before.n:
        return None
    return (
        f"it finds {now.found} of {now.n} large drawn defects where the live version found {before.found} of "
        f"{before.n}: a part among the good ones may be bad"
    )
