"""A person's word on a result: whether the part was good, and what kind of defect it had or seemed to have."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from inspector.domain.frames import ResultId


class ReviewLabel(enum.StrEnum):
    """What a person calls the part."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


_WORDS: Final = {
    **dict.fromkeys(("good", "ok", "pass"), ReviewLabel.GOOD),
    **dict.fromkeys(("bad", "defect", "defective", "nok", "reject"), ReviewLabel.BAD),
}


def label_of(word: str) -> ReviewLabel:
    """The label for a word in the store, which another program may have written. Unknown words count as unsure."""
    return _WORDS.get(word.strip().lower(), ReviewLabel.UNSURE)


@dataclass(frozen=True, slots=True)
class Review:
    """One person's word on one result. Every review is kept; the newest one that was not undone counts.

    `kind`: the defect in the plant's own words, or what was taken for one; None where nothing was said. `is_blind`: the
    person had not been shown the heat map. `number` is the row's, 0 before it is stored.
    """

    result_id: ResultId
    label: ReviewLabel
    by: str
    at: datetime
    kind: str | None = None
    note: str = ""
    is_blind: bool = False
    number: int = 0
    undone_at: datetime | None = None
    undone_by: str | None = None

    @property
    def is_undone(self) -> bool:
        return self.undone_at is not None
