"""Words for people: numbers of things, and causes. Pure.

An event says what happened, why, and what to do or where to look next. Nobody has to know the code's own words for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from inspector.domain import Cause, FrameFault, HeldFor

CAUSE_WORDS: Final[dict[Cause, str]] = {
    Cause.OK: "it was good",
    Cause.ANOMALY: "a defect was found",
    Cause.UNKNOWN_PRODUCT: "no known product was shown",
    Cause.WRONG_PRODUCT: "another product than announced was shown",
    Cause.UNDECODABLE: "the frame could not be decoded",
    Cause.SCORER_ERROR: "scoring failed",
    Cause.NO_TRIGGER_ID: "the frame carried no trigger id",
    Cause.NOT_RELEASED: "the gate was not released",
    Cause.FRAME_HEALTH: "the frame did not show its part well enough",
    Cause.LATE: "it was judged too late",
    Cause.OVERLOAD: "more frames came than could be judged",
    Cause.VIEW_MISSING: "a view was missing",
    Cause.NOT_RECEIVED: "no frame came",
    Cause.BYPASS: "the line was in bypass",
}

HELD_WORDS: Final[dict[HeldFor, str]] = {
    HeldFor.CONSECUTIVE_REJECTS: "too many rejects in a row",
    HeldFor.REJECT_SHARE: "too large a share of rejects",
    HeldFor.NO_TRIGGER_ID: "too many frames in a row without a trigger id",
    HeldFor.UNKNOWN_PRODUCT: "too many frames in a row without a known product",
    HeldFor.FRAME_HEALTH: "too many frames in a row that were too bad to be judged",
    HeldFor.ACCOUNT: "too many parts that are not accounted for",
    HeldFor.GOLDEN_FAILED: "a golden challenge failed",
    HeldFor.GOLDEN_MISSING: "a golden challenge is missing",
}

FAULT_WORDS: Final[dict[FrameFault, str]] = {
    FrameFault.DARK: "too dark",
    FrameFault.BRIGHT: "too bright",
    FrameFault.BLURRED: "blurred",
    FrameFault.MOVED: "moved against the enrolled pictures",
    FrameFault.FROZEN: "frozen",
    FrameFault.COVERED: "covered",
}


def counted(number: int, noun: str) -> str:
    """The number with its noun: `1 part`, `3 parts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def causes_text(causes: Iterable[Cause]) -> str:
    """How many had which cause, the most frequent first: `17 because no known product was shown, 3 because ...`."""
    return ", ".join(f"{number:,} because {CAUSE_WORDS[cause]}" for cause, number in Counter(causes).most_common())
