"""Words for people: every cause, fault and hold has some, and none is the code's own word."""

from __future__ import annotations

import pytest

from inspector.domain import Cause, FrameFault, HeldFor
from inspector.stream.wording import CAUSE_WORDS, FAULT_WORDS, HELD_WORDS, causes_text, counted


@pytest.mark.parametrize(("words", "named"), [(CAUSE_WORDS, Cause), (FAULT_WORDS, FrameFault), (HELD_WORDS, HeldFor)])
def test_words_are_there_for_each_member_and_hold_no_code_word(words: dict[str, str], named: type) -> None:
    assert set(words) == set(named)
    assert all("_" not in said for said in words.values())


def test_counted_is_of_one_or_of_many() -> None:
    assert [counted(number, "part") for number in (0, 1, 2, 1000)] == ["0 parts", "1 part", "2 parts", "1,000 parts"]


def test_causes_text_names_the_most_frequent_first() -> None:
    assert causes_text([]) == ""
    assert causes_text([Cause.LATE, Cause.ANOMALY, Cause.ANOMALY]) == (
        "2 because a defect was found, 1 because it was judged too late"
    )
