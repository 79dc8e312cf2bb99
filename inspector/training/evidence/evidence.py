"""What a person relies on when activating a version: the state of its images, its held-out scores, the drawn defects
that it finds, its effect on its neighbours, and the cost of all that.

Figures go into the manifest, pictures only into the report.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.training.dataset.gathering import Gathered, Progress
from inspector.training.evidence.detectability import Detectability, DetectabilityTrial
from inspector.training.evidence.hygiene import SUSPECT_SPREADS, Hygiene, Suspect, nearest_usual
from inspector.training.evidence.known_bad import KnownBad, weakened
from inspector.training.evidence.pose import Pose, pose_of
from inspector.training.evidence.routing_check import RoutingCheck
from inspector.training.heads.base import Fitted
from inspector.training.statistics.calibrating import without_the_largest
from inspector.vision.artifacts.calibration import Calibration
from inspector.vision.artifacts.eyesight import LEFT_OUT, NOTHING_DRAWN, Eyesight
from inspector.vision.engines.protocols import Embedder
from inspector.vision.serving.product_inspector import ProductInspector

STANDS_APART_BELOW = 0.55
"""Four of six measured products lie above 0.85, and at 0.56 to 0.69 where only 20 to 60 of their images are enrolled;
the other two (0.37, 0.53) have an odd picture each."""
RUINED_BELOW = 0.25
"""A black frame among 60 bottles gave 0.12, and 73 % of the defects passed."""
FEW_SCORES = 20
"""With fewer scores than this, one score is often far from the others although no part is odd."""
GAP = 0.75
"""Several images form one keystone where the threshold without them falls below this share of the one before."""
MOST_KEYSTONES = 5
EXAMPLES = 6
MOST_SHOWN = 24
TIMED_FRAMES = 8
TIMED_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A good image by name, as the head sees it: uint8 [H, W, 3]."""

    name: str
    picture: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Oddity:
    """A suspect to be looked at beside the image it is most like. `spreads`: how far its score lies above the median,
    in robust spreads. `at`: centre (x, y) of its oddest place as shares of the picture, None where it is not known.
    """

    suspect: Shown
    neighbour: Shown
    spreads: float
    at: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of an enrolment. `passes`: its processor time in passes of its backbone over all images."""

    name: str
    seconds: float
    passes: float


@dataclass(frozen=True, slots=True)
class Keystone:
    """The good images that the threshold rests on: those with the largest held-out scores, up to a gap to the next.

    `level_without`: the threshold that would result without them, as a level of the threshold that they made. If there
    is no gap, the keystone is the one largest score, and the level is little below 1. `n`: the number of scores.
    """

    images: tuple[str, ...]
    level_without: float
    n: int

    @property
    def stands_apart(self) -> bool:
        return self.level_without < STANDS_APART_BELOW

    @property
    def warning(self) -> str:
        *others, last = self.images
        named = f"{', '.join(others)} and {last}" if others else last
        leaves_out = " ".join(f"--exclude {PurePath(name).name}" for name in self.images)
        return (
            f"the threshold rests on {named} alone: without {'them' if others else 'it'} a part would be rejected from "
            f"level {self.level_without:.2f} on, not 1, and smaller defects would be found. Look there; if parts like "
            f"that need not pass, enrol again with {leaves_out}, besides what you left out already"
        )

    @property
    def objection(self) -> str | None:
        """Why a version needs a person's word to go live: most defects of its parts would pass."""
        is_ruined = self.level_without < RUINED_BELOW and self.n >= FEW_SCORES
        return self.warning if is_ruined else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """`suspects`: all by name; `oddities`: those that are shown. `held_out`: (name, score) of calibrating images.

    `keystone`: None where one image alone calibrated.
    `choices`: one mapping for each choice, with its candidates and reason.
    `why_not_drawn`: the reason where there is no detectability. `advice`: what may help a head that finds few drawn
    defects. `images_needed`: the number of good images from which the share of rejected good parts that was asked for
    can be signed for; None where there are as many. `images_at_most`: the same for the largest share of the trade.
    `known_bad`: what it says of parts that people called bad. `found_before`: the eyesight of the live version, where
    the version has to stand the comparison.
    """

    hygiene: Hygiene
    suspects: tuple[str, ...]
    oddities: tuple[Oddity, ...]
    calibration: Calibration
    held_out: tuple[tuple[str, float], ...]
    keystone: Keystone | None
    detectability: Detectability | None
    routing: RoutingCheck
    examples: tuple[Shown, ...]
    phases: tuple[Phase, ...] = ()
    choices: tuple[Mapping[str, Any], ...] = ()
    pose: Pose | None = None
    why_not_drawn: str = LEFT_OUT
    advice: str = ""
    images_needed: int | None = None
    images_at_most: int | None = None
    known_bad: KnownBad = field(default_factory=KnownBad)
    found_before: Eyesight | None = None

    @property
    def eyesight(self) -> Eyesight:
        """Whether the head was found to see defects."""
        if self.detectability is None:
            return Eyesight(0, 0, self.why_not_drawn)
        large = self.detectability.large
        return Eyesight(large.found, large.n, "" if large.n else NOTHING_DRAWN)

    @property
    def objections(self) -> tuple[str, ...]:
        """The reasons why this version does not go live unless a person insists."""
        of_eyesight = self.eyesight.objection
        return (*self._other_objections, *([of_eyesight] if of_eyesight else []))

    @property
    def _other_objections(self) -> tuple[str, ...]:
        of_keystone = None if self.keystone is None else self.keystone.objection
        of_head = [of_keystone] if of_keystone else []
        weaker = weakened(self.found_before, self.eyesight)
        of_people = (*self.known_bad.objections, *([weaker] if weaker else []))
        return (*self.hygiene.objections, *of_head, *self.routing.objections, *of_people)

    def to_manifest(self) -> dict[str, Any]:
        """The evidence for the manifest, without pictures and times. The manifest holds the rest under other keys."""
        return {
            "hygiene": {**self.hygiene.to_manifest(), "suspects": self._suspects()},
            "held_out_scores": [round(score, 5) for _, score in self.held_out],
            "keystone": None if self.keystone is None else asdict(self.keystone),
            "detectability": None if self.detectability is None else self.detectability.to_manifest(),
            "pose": None if self.pose is None else self.pose.to_manifest(),
            "routing": self.routing.to_manifest(),
            "choices": [dict(each) for each in self.choices],
            "eyesight": self.eyesight.to_document() | {"advice": self.advice},
            "known_bad": self.known_bad.to_manifest(),
            "objections": list(self._other_objections),  # that of the eyesight is told by its figures
        }

    def _suspects(self) -> list[dict[str, Any]]:
        shown = {each.suspect.name: each for each in self.oddities}
        return [
            {"image": name}
            | (
                {"nearest": shown[name].neighbour.name, "spreads": round(shown[name].spreads, 2)}
                if name in shown
                else {}
            )
            for name in self.suspects
        ]


@dataclass(frozen=True, slots=True)
class Examined:
    """Intermediate results of an enrolment from which its evidence is made."""

    gathered: Gathered
    hygiene: Hygiene
    suspects: Sequence[Suspect]
    fitted: Fitted
    routing: RoutingCheck


def evidence_of(calibration: Calibration, examined: Examined) -> Evidence:
    """The evidence without detectability and phases.

    Suspects: those found before learning, then those that the deployed head finds odd.
    """
    gathered, fitted = examined.gathered, examined.fitted
    odd = {each.image: each for each in examined.suspects}
    for each in suspects_of_head(fitted, gathered):
        odd.setdefault(each.image, each)
    names = gathered.names
    held_out = tuple((names[image], judgement.score) for image, judgement in fitted.judged)
    return Evidence(
        hygiene=examined.hygiene,
        suspects=tuple(names[image] for image in odd),
        oddities=oddities_of(list(odd.values()), names, gathered.inputs),
        calibration=calibration,
        held_out=held_out,
        keystone=keystone_of(held_out, calibration),
        detectability=None,
        routing=examined.routing,
        examples=examples_of(names, gathered.inputs),
        # Two products have no pose in common, and to call them a texture for it would mislead.
        pose=pose_of(gathered.inputs, gathered.sizes) if len(examined.hygiene.apart) < 2 else None,
    )


def keystone_of(held_out: Sequence[tuple[str, float]], calibration: Calibration) -> Keystone | None:
    """The keystone of the scores that calibrated, (name, score) each. None if there is only one score."""
    ordered = sorted(held_out, key=lambda named: -named[1])
    scores = np.array([score for _, score in ordered])
    levels = [1.0]
    for count in range(1, 1 + min(MOST_KEYSTONES, max(1, len(scores) // 6), len(scores) - 1)):
        levels.append(calibration.level(without_the_largest(scores, calibration, count).threshold))
    if len(levels) == 1:
        return None
    drops = [after / max(before, 1e-9) for before, after in itertools.pairwise(levels)]  # 0 where scores are tied
    count = 1 + int(np.argmin(drops)) if min(drops) < GAP else 1
    return Keystone(tuple(name for name, _ in ordered[:count]), round(levels[count], 4), len(scores))


def suspects_of_head(fitted: Fitted, gathered: Gathered) -> list[Suspect]:
    """Held-out images that the deployed head finds odd: it sees more than the banks that looked before it."""
    scores = np.array([judgement.score for _, judgement in fitted.judged])
    spread = 1.4826 * float(np.median(np.abs(scores - np.median(scores))))
    if spread <= 0:
        return []
    spreads = (scores - np.median(scores)) / spread
    odd = [(fitted.judged[row][0], float(spreads[row])) for row in np.flatnonzero(spreads > SUSPECT_SPREADS)]
    nearest = nearest_usual([image for image, _ in odd], gathered.route_patches)
    return [Suspect(image, near, far, None) for (image, far), near in zip(odd, nearest, strict=True)]


def measure_detectability(
    inspector: ProductInspector, embedder: Embedder, examined: Examined, progress: Progress
) -> Detectability | None:
    """Detectability of the deployed head, on the images that calibrated it. None if it accepts none of them."""
    judged = [image for image, _ in examined.fitted.judged]
    grounds = examined.gathered.grounds.of(judged, inspector.artifact.preparation)
    is_seen = inspector.artifact.calibration.kind != "certified"
    scores = [judgement.score for _, judgement in examined.fitted.judged]
    trial = DetectabilityTrial(
        inspector, embedder, grounds, seen=is_seen, learnt=len(examined.gathered), good_scores=scores
    )
    return trial.run(progress)


class PhaseClock:
    """Measures wall-clock and processor seconds of each phase. They do not influence the version."""

    def __init__(self) -> None:
        self._since, self._cpu_since = time.perf_counter(), time.process_time()
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    def ended(self, phase: str) -> None:
        now, cpu_now = time.perf_counter(), time.process_time()
        self.seconds[phase] = round(now - self._since, 3)
        self.cpu_seconds[phase] = cpu_now - self._cpu_since
        self._since, self._cpu_since = now, cpu_now


def pass_seconds(embedder: Embedder, inputs: Sequence[NDArray[np.uint8]]) -> float:
    """Processor seconds of one frame's pass: the least of three batches of eight."""
    batch = np.stack([inputs[index % len(inputs)] for index in range(TIMED_FRAMES)])
    fastest = float("inf")
    for _ in range(TIMED_ROUNDS):
        started = time.process_time()
        embedder(batch)
        fastest = min(fastest, time.process_time() - started)
    return max(fastest, 1e-6) / TIMED_FRAMES


def phases_of(clock: PhaseClock, pass_s: float, n_images: int) -> tuple[Phase, ...]:
    """Each phase with its cost in passes over all images. Processor time counts, so other processes add nothing."""
    return tuple(
        Phase(name, took, round(clock.cpu_seconds[name] / (pass_s * n_images), 2))
        for name, took in clock.seconds.items()
    )


def examples_of(names: Sequence[str], inputs: Sequence[NDArray[np.uint8]]) -> tuple[Shown, ...]:
    """A few images, spread over the set."""
    chosen = np.unique(np.linspace(0, len(names) - 1, min(EXAMPLES, len(names))).round().astype(int))
    return tuple(Shown(names[index], inputs[index]) for index in chosen)


def oddities_of(
    suspects: Sequence[Suspect], names: Sequence[str], inputs: Sequence[NDArray[np.uint8]]
) -> tuple[Oddity, ...]:
    """The suspects that stand out most, with their pictures."""
    return tuple(
        Oddity(
            Shown(names[each.image], inputs[each.image]),
            Shown(names[each.neighbour], inputs[each.neighbour]),
            each.spreads,
            each.at,
        )
        for each in suspects[:MOST_SHOWN]
    )
