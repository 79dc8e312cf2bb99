"""A gate that was told something of a part by an earlier run hears nothing better of it, and nothing twice."""

from __future__ import annotations

import pytest

from inspector.domain import Action
from tests.unit.stream.test_pipeline import BAD, GOOD, Plant, settings


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (BAD, GOOD, []),
        (GOOD, GOOD, []),
        (BAD, BAD, []),
        (GOOD, BAD, [(8, Action.REJECT)]),
    ],
    ids=["better", "a pass again", "a reject again", "worse"],
)
async def test_part_that_was_told_before_a_restart_is_told_again_only_if_it_got_worse(
    before: bytes, after: bytes, told: list[tuple[int, Action]]
) -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(before + b"#before", 8)
        await plant.has_rows(1)
    again = Plant(settings(), earlier=plant)
    async with again.running():
        again.push(after + b"#after", 8)
        await again.has_rows(2)
        again.push(GOOD + b"#next", 9)
        await again.has_rows(3)
    assert [(each.trigger_id, each.action) for each in again.line.told] == [*told, (9, Action.PASS)]
