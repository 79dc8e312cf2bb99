"""A histogram counts each value once, in the first bucket that it does not exceed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.agent.tallies import Tally

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=1, max_size=8, unique=True), st.lists(numbers, max_size=50))
def test_buckets_of_any_values_hold_those_up_to_their_bound(bounds: list[float], values: list[float]) -> None:
    tally = Tally(sorted(bounds))
    for value in values:
        tally.observe(value)
    reading = tally.read()
    assert reading.cumulated == [sum(value <= bound for value in values) for bound in sorted(bounds)] + [len(values)]
    assert reading.total == pytest.approx(sum(values), abs=1e-3)


def test_reading_stays_as_it_was() -> None:
    tally = Tally((1.0,))
    tally.observe(0.5)
    before = tally.read()
    tally.observe(0.5)
    assert (before.cumulated, tally.read().cumulated) == ([1, 1], [2, 2])
