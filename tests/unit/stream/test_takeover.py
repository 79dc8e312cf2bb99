"""A stream that was another agent's: state is loaded before its first frame, and stored as far as rows go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.config.loading import parse
from inspector.domain import GateState, Image, Outcome, PlainImage, StormCounts, Verdict
from inspector.stream.frame_room import FrameRoom
from inspector.stream.identity import FrameIds, FrameMemory, Known, Motion, New, TriggerCounter
from inspector.stream.pipeline import Adapters, Pipeline
from inspector.testing.edges import (
    FakeAckLine,
    FakeCommandChannel,
    FakeDeadLetters,
    FakeGateLine,
    FakeGateOwners,
    FakeImages,
    FakeSink,
    FakeTelemetry,
)
from inspector.testing.journal import InMemoryJournal
from inspector.testing.late_frames import InMemoryLateFrames
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.lineup import FakeLineup, FakeLoader, paint
from inspector.testing.registry import InMemoryRegistry
from inspector.testing.source import FakeBroker, FakeSource
from inspector.testing.source_contract import wait_until

CONFIG = parse(
    {
        "agent": {"name": "agent", "drain_s": 2},
        "engine": {"queue_frames": 8, "batch_wait_ms": 1},
        "camera": [{"name": "cam", "on_unjudged": "quarantine"}],
        "gate": [{"name": "gate", "cameras": ["cam"], "window_ms": 5000}],
    },
    None,
)


def decode(payload: bytes, camera: CameraSection) -> Image:
    return PlainImage(paint(0, 0.2))


class GroupAgent:
    """One of several agents that share a broker and a ledger."""

    def __init__(
        self,
        broker: FakeBroker,
        ledger: InMemoryLedger,
        config: Config = CONFIG,
        owners: FakeGateOwners | None = None,
        acks: FakeAckLine | None = None,
    ) -> None:
        clock = SystemClock()
        self.source = FakeSource("cam", clock, broker, is_shared=True)
        self.telemetry = FakeTelemetry()
        self.sink = FakeSink()
        self.line = FakeGateLine(clock)
        self.commands = FakeCommandChannel()
        self.pipeline = Pipeline(
            config,
            Adapters(
                clock=clock,
                telemetry=self.telemetry,
                sources={camera.name: self.source for camera in config.camera},
                journal=InMemoryJournal(),
                ledger=ledger,
                registry=InMemoryRegistry(),
                loader=FakeLoader(FakeLineup()),
                sink=self.sink,
                gate_line=self.line,
                images=FakeImages(),
                dead_letters=FakeDeadLetters(),
                late_frames=InMemoryLateFrames(clock),
                decode=decode,
                take_events=self.telemetry.take_events,
                frame_room=FrameRoom(1 << 30),
                gate_owners=owners,
                ack_line=acks,
                command_channel=self.commands,
            ),
            "test",
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Recovered and running, but its stream is another's until `source.restore_link`."""
        await self.pipeline.recover()
        run = asyncio.create_task(self.pipeline.run())
        await self.pipeline.has_started.wait()
        yield
        self.pipeline.stop()
        await run


def rows(ledger: InMemoryLedger) -> list[Verdict]:
    return list(ledger.rows.values())


def push(source: FakeSource, trigger: int) -> None:
    source.push(b"part %d" % trigger, {"trigger-id": str(trigger)})


async def test_stream_that_moves_to_another_agent_goes_on_counting_where_it_was() -> None:
    broker, ledger = FakeBroker(), InMemoryLedger()
    first, second = GroupAgent(broker, ledger), GroupAgent(broker, ledger)
    async with first.running(), second.running():
        first.source.restore_link()
        for trigger in range(1, 6):
            push(first.source, trigger)
        await wait_until(lambda: len(ledger.rows) == 5 and not broker.kept)
        first.source.lose_link()
        second.source.restore_link()
        push(second.source, 8)
        await wait_until(lambda: len(ledger.rows) == 8 and not broker.kept)
    numbers = [(row.trigger_id, row.outcome) for row in rows(ledger) if row.outcome is Outcome.UNINSPECTED]
    assert numbers == [(6, Outcome.UNINSPECTED), (7, Outcome.UNINSPECTED)]
    assert {row.epoch for row in rows(ledger)} == {1}
    assert "counter_reset" not in second.telemetry.kinds()


async def test_stream_that_comes_back_finds_what_the_other_agent_did() -> None:
    broker, ledger = FakeBroker(), InMemoryLedger()
    first, second = GroupAgent(broker, ledger), GroupAgent(broker, ledger)
    async with first.running(), second.running():
        first.source.restore_link()
        push(first.source, 1)
        await wait_until(lambda: not broker.kept)
        first.source.lose_link()
        second.source.restore_link()
        push(second.source, 2)
        push(second.source, 40_000)
        push(second.source, 40_001)
        await wait_until(lambda: not broker.kept)
        second.source.lose_link()
        first.source.restore_link()
        push(first.source, 40_002)
        await wait_until(lambda: not broker.kept)
    assert [(row.trigger_id, row.epoch) for row in rows(ledger)] == [
        (1, 1), (2, 1), (40_000, 2), (40_001, 2), (40_002, 2),
    ]  # fmt: skip
    assert "counter_reset" not in first.telemetry.kinds()
    counted = StormCounts(recent="00000")  # each agent goes on with the counts of the other
    assert ledger.gates["gate"] == GateState("gate", epoch=2, last_trigger=40_002, storm=counted, watched=5)


async def test_stream_taken_over_while_the_ledger_is_away_waits_for_it() -> None:
    broker, ledger = FakeBroker(), InMemoryLedger()
    agent = GroupAgent(broker, ledger)
    async with agent.running():
        ledger.is_available = False
        agent.source.restore_link()
        push(agent.source, 1)
        await asyncio.sleep(0.05)
        assert len(broker.kept) == 1
        assert agent.line.told == []
        ledger.is_available = True
        await wait_until(lambda: not broker.kept)
    assert [row.trigger_id for row in rows(ledger)] == [1]


async def test_agent_that_serves_no_camera_of_a_gate_does_not_beat_for_it() -> None:
    ledger = InMemoryLedger()
    agent = GroupAgent(FakeBroker(), ledger)
    serves = [False]
    agent.source.serves = lambda camera: serves[0]  # type: ignore[method-assign, assignment]
    async with agent.running():
        agent.source.restore_link()
        push(agent.source, 1)
        await wait_until(lambda: bool(ledger.rows))
        assert agent.line.beats == []
        assert agent.line.told == [], "a PLC that has heard no epoch drops a decision of it"
        serves[0] = True
        await wait_until(lambda: bool(agent.line.beats))


def counter(epoch: int = 1, last: int | None = None, **more: bool | int) -> TriggerCounter:
    return TriggerCounter(GateState("gate", epoch, last, **more), None, 100)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mine", "stored", "expected"),
    [
        ((1, 5), (1, 9), (1, 9)),
        ((1, 9), (1, 5), (1, 9)),
        ((1, 900), (2, 3), (2, 3)),
        ((2, 3), (1, 900), (2, 3)),
        ((1, None), (1, 3), (1, 3)),
    ],
)
def test_adopt_takes_what_has_come_further(
    mine: tuple[int, int | None], stored: tuple[int, int | None], expected: tuple[int, int | None]
) -> None:
    made = counter(*mine)
    made.adopt(GateState("gate", *stored))
    assert (made.state.epoch, made.state.last_trigger) == expected


def test_adopt_of_an_equal_state_keeps_a_gate_held() -> None:
    made = counter(1, 5, held=True)
    made.adopt(GateState("gate", 1, 5, reject_streak=3))
    assert (made.state.held, made.state.reject_streak) == (True, 3)


def test_recorded_state_is_what_has_rows_not_what_was_admitted() -> None:
    made = counter(1, 5)
    for number in (6, 7, 8):
        made.step(number, can_be_reset=True)
    made.record((1, 0, 6))
    assert made.state.last_trigger == 8
    assert made.recorded_state.last_trigger == 6
    made.step(2, can_be_reset=True)
    made.record((1, 0, 8))
    assert (made.recorded_state.epoch, made.recorded_state.last_trigger) == (1, 8), "the reset has no row yet"
    made.record((2, 0, 2))
    assert (made.recorded_state.epoch, made.recorded_state.last_trigger) == (2, 2)


def test_recorded_state_of_an_announced_epoch_is_the_new_one() -> None:
    made = counter(1, 5)
    made.new_epoch()
    made.record((1, 0, 5))
    assert made.recorded_state == GateState("gate", 2, None)


def test_counter_parts_seen_beyond_the_last_one_stored_were_not_missed() -> None:
    made = counter(1, 5)
    for count in (6, 8):
        made.remember(count)
    step = made.step(11, can_be_reset=True)
    assert (step.motion, step.missed) == (Motion.FORWARD, (9, 10))


def test_frame_of_a_backlog_that_stands_before_the_last_one_is_no_reset() -> None:
    memory = FrameMemory("cam", "", counter(1, 50), 100)
    ids = FrameIds(None, 48, None, "sha", broker_id="frames/0/7/1", is_redelivered=True)
    found = memory.classify(ids)
    assert isinstance(found, New)
    assert (found.key.epoch, found.was_reset) == (1, False)
    assert isinstance(memory.classify(ids), Known)
