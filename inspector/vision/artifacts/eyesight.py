"""Says whether a version's head was found to see defects when it was enrolled, and what stands against making it live.

Everything here is computed from the version's manifest alone, also from one that an earlier version of this software
wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

LARGE_SIZES: Final = (0.16, 0.08, 0.04)
"""Sizes of drawn defects, as shares of the picture's longer side, by which it is judged whether a head sees."""
BLIND_BELOW: Final = 0.1
"""A head that finds a smaller share of the large drawn defects does not go live unless a person insists."""
WEAK_BELOW: Final = 0.3
"""A head that finds a smaller share of them goes live with a warning. Of twelve products under
an earlier head, six lay above; of the six below, five missed more than half of their real defects."""

LEFT_OUT: Final = "no defects were drawn on its images; `enroll` without --no-detectability draws them"
NEVER_DRAWN: Final = "it was enrolled before defects were drawn, or its manifest does not say"
NOTHING_PASSES: Final = "no good image passes at the threshold, so no defect could be drawn on one"
NOTHING_DRAWN: Final = "no large defect could be drawn on its images"
"""These reasons stand in manifests, so that a changed text would make older versions lose their objection."""


class Sight(StrEnum):
    """What the large drawn defects showed."""

    SEES = "sees"
    WEAK = "weak"
    BLIND = "blind"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Eyesight:
    """How many of `n` large drawn defects the head found at the threshold of its enrolment.

    `why_not_checked`: the reason where `n` is 0.
    """

    found: int
    n: int
    why_not_checked: str = ""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Eyesight:
        """The eyesight that a manifest tells. Figures that are no counts are taken as not checked."""
        evidence = manifest.get("evidence")
        evidence = evidence if isinstance(evidence, Mapping) else {}
        stored, drawn = evidence.get("eyesight"), evidence.get("detectability")
        if isinstance(stored, Mapping) and (counts := _counts(stored)) is not None:
            return cls(*counts, str(stored.get("why_not_checked") or ("" if counts[1] else NEVER_DRAWN)))
        if not isinstance(drawn, Mapping):
            return cls(0, 0, NEVER_DRAWN)
        large = drawn.get("large")
        counts = _counts(large) if isinstance(large, Mapping) else _counts_of_steps(drawn.get("steps"))
        return cls(0, 0, NEVER_DRAWN) if counts is None else cls(*counts, "" if counts[1] else NOTHING_DRAWN)

    @property
    def sight(self) -> Sight:
        if not self.n:
            return Sight.NOT_CHECKED
        share = self.found / self.n
        return Sight.BLIND if share < BLIND_BELOW else Sight.WEAK if share < WEAK_BELOW else Sight.SEES

    @property
    def objection(self) -> str | None:
        """Why a version needs a person's word to go live. None also where a person left the check out."""
        is_unknown = self.sight is Sight.NOT_CHECKED and self.why_not_checked in (NOTHING_PASSES, NOTHING_DRAWN)
        return self.sentence if is_unknown or self.sight is Sight.BLIND else None

    @property
    def warning(self) -> str:
        """The sentence where there is anything to say; empty where the head sees."""
        return "" if self.sight is Sight.SEES else self.sentence

    @property
    def sentence(self) -> str:
        """What was found, in words for people."""
        if self.sight is Sight.NOT_CHECKED:
            return f"it was not checked whether the head sees defects: {self.why_not_checked}"
        told = (
            f"at the threshold of its enrolment the head finds {self.found} of {self.n} large drawn defects "
            f"({LARGE_SIZES[-1]:.0%} to {LARGE_SIZES[0]:.0%} of the frame's longer side)"
        )
        return told + {
            Sight.BLIND: ": it is all but blind to them, and parts with such defects would pass",
            Sight.WEAK: ": it misses most of them, and parts with such defects would pass",
        }.get(self.sight, "")

    @property
    def mark(self) -> str:
        """The same in a word or two, for a table."""
        if self.sight is Sight.NOT_CHECKED:
            return "not checked"
        told = f"{self.found} of {self.n}"
        return {Sight.BLIND: f"{told}: blind", Sight.WEAK: f"{told}: weak"}.get(self.sight, told)

    def to_document(self) -> dict[str, Any]:
        return {
            "sight": self.sight.value,
            "found": self.found,
            "n": self.n,
            "why_not_checked": self.why_not_checked or None,
        }


def objections_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the version does not go live unless a person insists, as its enrolment found; empty where nothing objects.

    The manifest lists all of them but that of the eyesight, which is told by its figures.
    """
    evidence = manifest.get("evidence")
    stored = evidence.get("objections") if isinstance(evidence, Mapping) else None
    listed = stored if isinstance(stored, Sequence) and not isinstance(stored, str) else ()
    of_eyesight = Eyesight.of(manifest).objection
    return (*(str(each) for each in listed), *([of_eyesight] if of_eyesight else []))


def advice_of(manifest: Mapping[str, Any]) -> str:
    """What its enrolment advised against blindness; empty where it had nothing to advise."""
    evidence = manifest.get("evidence")
    stored = evidence.get("eyesight") if isinstance(evidence, Mapping) else None
    advice = stored.get("advice") if isinstance(stored, Mapping) else None
    return advice if isinstance(advice, str) else ""


def _counts(stored: Mapping[str, Any]) -> tuple[int, int] | None:
    """Found and drawn, where both are counts: the manifest of an imported version may hold anything."""
    found, n = stored.get("found"), stored.get("n")
    if not isinstance(found, int) or not isinstance(n, int) or not 0 <= found <= n:
        return None
    return int(found), int(n)


def _counts_of_steps(steps: Any) -> tuple[int, int] | None:
    """Found and drawn of the large sizes, from the steps of a manifest that has no sum of them."""
    large = list(_large_steps(steps)) if isinstance(steps, Sequence) and not isinstance(steps, str) else []
    return (sum(found for found, _ in large), sum(n for _, n in large)) if large else None


def _large_steps(steps: Sequence[Any]) -> Iterator[tuple[int, int]]:
    for step in steps:
        size = step.get("size_share") if isinstance(step, Mapping) else None
        if isinstance(size, int | float) and size >= LARGE_SIZES[-1] and (counts := _counts(step)) is not None:
            yield counts
