"""Frames without ids whose acknowledgement the broker has not confirmed, on a link that breaks."""

from __future__ import annotations

import pytest

from inspector.domain import Identity
from tests.unit.stream.test_pipeline import FREE, GOOD, Plant, settings, until

GATED = settings(match="single_in_flight")


def plant_of(is_gated: bool) -> Plant:
    plant = Plant(GATED if is_gated else FREE)
    plant.source.loses_acknowledgements = True
    return plant


async def send(plant: Plant, count: int) -> None:
    for number in range(count):
        plant.push(GOOD + b"#%d" % number)
    await plant.has_rows(count)
    await until(lambda: len(plant.source.acknowledged) > 0 and plant.source.acknowledged[-1].offset == count)


@pytest.mark.parametrize("is_gated", [True, False])
async def test_run_frames_whose_acknowledgement_was_lost_with_the_link_get_no_second_row(is_gated: bool) -> None:
    plant = plant_of(is_gated)
    async with plant.running():
        await send(plant, 5)
        plant.source.break_link()
        await until(lambda: plant.telemetry.counters["redeliveries"] == 5)
        plant.source.loses_acknowledgements = False
        plant.push(GOOD + b"#last")
        await plant.has_rows(6)
        await until(lambda: not plant.source.broker.kept)
    assert len(plant.rows()) == 6
    assert {row.identity for row in plant.rows()} == {Identity.WEAK}


@pytest.mark.parametrize("is_gated", [True, False])
async def test_run_frame_that_was_lost_on_its_way_here_is_none_with_equal_bytes_in_doubt(is_gated: bool) -> None:
    """The broker took the acknowledgement, its answer was lost, and with it a frame that it marks as sent before."""
    plant = plant_of(is_gated)
    async with plant.running():
        await send(plant, 1)
        plant.source.lose_link()
        plant.source.broker.kept.clear()
        plant.push(GOOD + b"#0")
        plant.source.broker.kept[0].was_sent = True
        plant.source.restore_link()
        await plant.has_rows(2)
    assert [row.redelivered for row in plant.rows()] == [False, True]


@pytest.mark.parametrize("is_gated", [True, False])
async def test_run_redelivery_after_a_confirmed_acknowledgement_is_a_frame_of_its_own(is_gated: bool) -> None:
    plant = plant_of(is_gated)
    async with plant.running() as pipeline:
        await send(plant, 1)
        plant.source.confirm()
        await until(lambda: not pipeline._recording._unconfirmed)
        plant.source.lose_link()
        plant.push(GOOD + b"#0")
        plant.source.broker.kept[0].was_sent = True
        plant.source.restore_link()
        await plant.has_rows(2)
        plant.source.confirm()
    assert [row.redelivered for row in plant.rows()] == [False, True]
