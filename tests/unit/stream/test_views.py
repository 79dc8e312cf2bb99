"""Views of one part that can't be of one part make it unjudged, with an alarm: other part ids, or one picture twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from inspector.config.loading import parse
from inspector.domain import Action, Cause, Outcome, Severity, Verdict
from inspector.stream.gates import PartKey
from inspector.stream.view_agreement import Disagreement, View, ViewAgreement
from inspector.testing.source import FakeSource
from tests.unit.stream.test_pipeline import GOOD, Plant, until

PAIR = parse(
    {
        "agent": {"name": "agent", "drain_s": 2},
        "camera": [{"name": name, "on_unjudged": "quarantine"} for name in ("cam", "other")],
        "gate": [{"name": "gate", "cameras": ["cam", "other"], "window_ms": 5000}],
    },
    None,
)
PART = PartKey(1, 0, 7)


class Pair(Plant):
    """An agent with two cameras at one gate."""

    def __init__(self) -> None:
        super().__init__(PAIR)
        self.other = FakeSource("other", self.clock)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        pipeline = self.pipeline()
        pipeline._shared.sources["other"] = self.other
        async with self.source, self.other:
            await pipeline.recover()
            run = asyncio.create_task(pipeline.run())
            await pipeline.has_started.wait()
            yield
            pipeline.stop()
            await run

    def show(self, trigger: int, pictures: tuple[bytes, bytes], **ids: tuple[str | None, str | None]) -> None:
        for number, source in enumerate((self.source, self.other)):
            named = {key.replace("_", "-"): said[number] for key, said in ids.items() if said[number] is not None}
            source.push(pictures[number], {"trigger-id": str(trigger), **{k: str(v) for k, v in named.items()}})

    def row_of(self, trigger: int, cause: Cause) -> Verdict:
        (row,) = (row for row in self.rows() if row.trigger_id == trigger and row.cause is cause)
        return row


@pytest.mark.parametrize(
    ("pictures", "part_ids", "cause", "kind"),
    [
        ((GOOD + b"#a", GOOD + b"#b"), ("P1", "P2"), Cause.UNDECODABLE, "views_disagree"),
        ((GOOD + b"#a", GOOD + b"#a"), (None, None), Cause.FRAME_HEALTH, "views_equal"),
        ((GOOD + b"#a", GOOD + b"#a"), ("P1", "P2"), Cause.FRAME_HEALTH, "views_equal"),
    ],
)
async def test_part_whose_views_contradict_each_other_does_not_pass(
    pictures: tuple[bytes, bytes], part_ids: tuple[str | None, str | None], cause: Cause, kind: str
) -> None:
    plant = Pair()
    async with plant.at_work():
        plant.show(7, pictures, part_id=part_ids)
        await plant.has_rows(2)
        await until(lambda: len(plant.line.told) == 1)
    row = plant.row_of(7, cause)
    assert (row.outcome, row.action) == (Outcome.UNJUDGED, Action.QUARANTINE)
    assert [(told.trigger_id, told.action) for told in plant.line.told] == [(7, Action.QUARANTINE)]
    (event,) = (event for event in plant.telemetry.events if event.kind == kind)
    assert (event.severity, event.subject) == (Severity.ALARM, "gate")
    assert "trigger 7 of epoch 1" in event.detail


@pytest.mark.parametrize("part_ids", [("P1", "P1"), ("P1", None), (None, None)])
async def test_part_whose_views_agree_passes(part_ids: tuple[str | None, str | None]) -> None:
    plant = Pair()
    async with plant.at_work():
        plant.show(7, (GOOD + b"#a", GOOD + b"#b"), part_id=part_ids)
        await until(lambda: len(plant.line.told) == 1)
    assert [told.action for told in plant.line.told] == [Action.PASS]
    assert not {"views_equal", "views_disagree"} & set(plant.telemetry.kinds())


async def test_part_of_trigger_zero_whose_views_are_recorded_apart_has_its_decision() -> None:
    plant = Pair()
    async with plant.at_work():
        plant.source.push(GOOD + b"#a", {"trigger-id": "0"})
        await plant.has_rows(1)
        plant.other.push(GOOD + b"#b", {"trigger-id": "0"})
        await plant.has_rows(2)
        await until(lambda: len(plant.ledger.decisions) == 1)
    ((key, stored),) = plant.ledger.decisions.items()
    assert key == ("gate", 1, 0, 0)
    assert (stored.trigger_id, stored.action, stored.sent) == (0, Action.PASS, 1)


async def test_same_picture_of_two_cameras_under_different_triggers_says_nothing() -> None:
    plant = Pair()
    async with plant.at_work():
        plant.show(7, (GOOD + b"#a", GOOD + b"#b"))
        plant.show(8, (GOOD + b"#b", GOOD + b"#c"))
        await until(lambda: len(plant.line.told) == 2)
    assert [told.action for told in plant.line.told] == [Action.PASS] * 2


async def test_simulated_views_may_be_one_picture() -> None:
    plant = Pair()
    async with plant.at_work():
        plant.show(7, (GOOD, GOOD), simulated=("true", "true"))
        await plant.has_rows(2)
    assert {row.cause for row in plant.rows()} == {Cause.OK}


def test_agreement_compares_a_view_with_those_of_other_cameras_only() -> None:
    agreement = ViewAgreement()
    first = View("cam", "a", "P1")
    assert agreement.note("g1", PART, first) is None
    assert agreement.note("g1", PART, View("cam", "b", "P2")) is None, "another picture of the same camera"
    assert agreement.note("g2", PART, View("other", "a", "P9")) is None, "a part of another gate"
    assert agreement.note("g1", PART, View("other", "a", "P1")) == (Disagreement.SAME_PICTURE, first)
    assert agreement.note("g1", PART, View("third", "c", "P3")) == (Disagreement.PART_ID, first)
