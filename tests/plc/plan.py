"""What the line will make: when each part passes the trigger, what its camera does, what its number is.

Pure, and the same for the same seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

OVERTAKEN_S: Final = 0.01
"""An overtaken frame leaves so long after the frame of the next part."""

BURST_FACTOR: Final = 10


@dataclass(frozen=True, slots=True)
class Burst:
    """From `at_s` on, so many parts come at ten times the rate."""

    at_s: float
    parts: int


@dataclass(frozen=True, slots=True)
class LineOptions:
    """Shares are from 0 to 1. Triggers begin at `first_trigger` and wrap to 0 at `modulus`."""

    parts: int
    rate: float
    window_ms: float
    exposure_ms: float = 10.0
    first_trigger: int = 1
    modulus: int = 65536
    bad: float = 0.25
    blind: float = 0.0
    blind_parts: frozenset[int] = frozenset()
    unnumbered_parts: frozenset[int] = frozenset()
    duplicated: float = 0.0
    overtaken: float = 0.0
    bursts: tuple[Burst, ...] = ()
    seed: int = 1


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """`number` counts from 1. `frame_s` None: the camera is blind and sends nothing. `is_numbered`: its frame carries
    the trigger id, where frames of this line do.
    """

    number: int
    trigger: int
    trigger_s: float
    gate_s: float
    is_bad: bool
    frame_s: float | None
    is_duplicated: bool = False
    is_numbered: bool = True


@dataclass(slots=True)
class _Pace:
    options: LineOptions
    now_s: float = 0.0
    hurried: int = 0
    waiting: list[Burst] = field(default_factory=list)

    def step(self) -> float:
        """The time of the next trigger."""
        at_s = self.now_s
        while self.waiting and self.waiting[0].at_s <= at_s:
            self.hurried += self.waiting.pop(0).parts
        pause_s = 1 / self.options.rate
        if self.hurried:
            self.hurried -= 1
            pause_s /= BURST_FACTOR
        self.now_s += pause_s
        return at_s


def plan_parts(options: LineOptions) -> list[PlannedPart]:
    """All parts, in the order of their triggers. Raises ValueError where two parts would have one trigger id."""
    if options.parts > options.modulus:
        raise ValueError(f"{options.parts} parts need more trigger ids than {options.modulus}")
    chance = random.Random(options.seed)
    pace = _Pace(options, waiting=sorted(options.bursts, key=lambda burst: burst.at_s))
    times = [pace.step() for _ in range(options.parts)]
    parts = []
    for number, trigger_s in enumerate(times, start=1):
        is_bad, is_blind, is_duplicated, is_overtaken = (
            chance.random() < share for share in (options.bad, options.blind, options.duplicated, options.overtaken)
        )
        shown_s = times[number] + OVERTAKEN_S if is_overtaken and number < len(times) else trigger_s
        parts.append(
            PlannedPart(
                number=number,
                trigger=(options.first_trigger + number - 1) % options.modulus,
                trigger_s=trigger_s,
                gate_s=trigger_s + options.window_ms / 1000,
                is_bad=is_bad,
                frame_s=None if is_blind or number in options.blind_parts else shown_s + options.exposure_ms / 1000,
                is_duplicated=is_duplicated,
                is_numbered=number not in options.unnumbered_parts,
            )
        )
    return parts
