"""The road with fakes at its ends: each distinct frame has one row, each delivery is acknowledged after it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.config.loading import parse
from inspector.domain import (
    Action,
    Cause,
    Decision,
    Event,
    Failure,
    GateMode,
    GateState,
    HoldNote,
    Image,
    LateOutcome,
    LiveSet,
    Outcome,
    PlainImage,
    Routed,
    Scored,
    Severity,
    Verdict,
)
from inspector.errors import EngineError, JournalFull, UndecodableFrame
from inspector.ports import ArtifactOf, Lineup, LineupLoader
from inspector.stream import spare_time
from inspector.stream.command_rights import CommandKey
from inspector.stream.frame_room import FrameRoom
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline import Adapters, Pipeline, afterwards
from inspector.stream.pipeline.recording import ENOUGH
from inspector.stream.pipeline.ticket import Stage
from inspector.testing.clock import START
from inspector.testing.edges import (
    FakeAckLine,
    FakeCommandChannel,
    FakeDeadLetters,
    FakeGateLine,
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

GOOD, BAD, NAN = b"0:0.20", b"0:1.50", b"0:nan"
UNKNOWN = b"9:0.20"
POISON = b"poison"


def decode(payload: bytes, camera: CameraSection) -> Image:
    if payload == b"hang":
        threading.Event().wait(0.3)
    if payload == POISON:
        raise Died
    try:
        product, score = payload.split(b"#")[0].decode().split(":")
        pixels = paint(int(product), float(score))
    except ValueError as error:
        raise UndecodableFrame("the bytes are no image") from error
    pixels[1, 1] = list(
        zlib.crc32(payload.split(b"##")[0]).to_bytes(4, "big")[:3]
    )  # grain: other bytes are other pixels
    return PlainImage(pixels)


def settings(**gate: Any) -> Config:
    return parse(
        {
            "agent": {"name": "agent", "drain_s": 2},
            "engine": {"queue_frames": 8, "batch_wait_ms": 1},
            "camera": [{"name": "cam", "on_unjudged": "quarantine", "on_late": "reject"}],
            "gate": [{"name": "gate", "cameras": ["cam"], "window_ms": 2000, **gate}],
        },
        None,
    )


FREE = parse(
    {
        "agent": {"name": "agent", "drain_s": 2},
        "engine": {"queue_frames": 8},
        "camera": [{"name": "cam", "on_unjudged": "reject"}],
    },
    None,
)


def settings_of_engine(**engine: Any) -> Config:
    camera = {"name": "cam", "on_unjudged": "reject"}
    return parse({"agent": {"name": "agent", "drain_s": 2}, "engine": engine, "camera": [camera]}, None)


class BlockedLoader(FakeLoader):
    """Loads until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.is_closed = threading.Event(), threading.Event()

    def load(self, live: LiveSet, artifact_of: ArtifactOf, previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        self.has_begun.set()
        assert self.is_closed.wait(60)
        raise EngineError("it is closed")

    def close(self) -> None:
        self.is_closed.set()


class Died(BaseException):
    """Not an Exception, so that no stage can make a verdict of it."""


class Plant:
    """One agent and what is around it. What survives a restart is handed from one to the next."""

    def __init__(self, config: Config, broker: FakeBroker | None = None, earlier: Plant | None = None) -> None:
        self.config = config
        self.clock = SystemClock()
        self.source = FakeSource("cam", self.clock, broker or (earlier.source.broker if earlier else None))
        self.ledger = earlier.ledger if earlier else InMemoryLedger()
        self.journal = earlier.journal.after_kill() if earlier else InMemoryJournal()
        self.late = earlier.late.after_kill() if earlier else InMemoryLateFrames(self.clock)
        self.line = FakeGateLine(self.clock)
        self.acks = FakeAckLine()
        self.commands = FakeCommandChannel()
        self.command_keys: list[CommandKey] = []
        self.sink, self.images, self.letters = FakeSink(), FakeImages(), FakeDeadLetters()
        self.telemetry = FakeTelemetry()
        self.lineup = FakeLineup()
        self.reached: list[str] = []
        self.room = FrameRoom(config.agent.frames_mib << 20)

    def pipeline(self, checkpoint: Callable[[str], None] | None = None, loader: LineupLoader | None = None) -> Pipeline:
        adapters = Adapters(
            clock=self.clock,
            telemetry=self.telemetry,
            sources={"cam": self.source},
            journal=self.journal,
            ledger=self.ledger,
            registry=InMemoryRegistry(),
            loader=loader or FakeLoader(self.lineup),
            sink=self.sink,
            gate_line=self.line if self.config.gate else None,
            images=self.images,
            dead_letters=self.letters,
            late_frames=self.late,
            decode=decode,
            take_events=self.telemetry.take_events,
            frame_room=self.room,
            command_channel=self.commands,
            command_keys=self.command_keys,
            ack_line=self.acks if self.config.gate else None,
        )
        return Pipeline(self.config, adapters, "test", checkpoint or self.reached.append)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        pipeline = self.pipeline()
        async with self.source:
            await pipeline.recover()
            run = asyncio.create_task(pipeline.run())
            await pipeline.has_started.wait()
            yield pipeline
            pipeline.stop()
            await run

    @property
    def told(self) -> list[Decision]:
        """What the gate was told, by trigger id: which of two parts is decided first is chance, with two workers."""
        return sorted(self.line.told, key=lambda decision: decision.trigger_id)

    def rows(self) -> list[Verdict]:
        return list(self.ledger.rows.values())

    async def all_judged(self, count: int) -> None:
        """That many late frames have rows which say what they showed."""
        late = (LateOutcome.PASS, LateOutcome.REJECT, LateOutcome.UNJUDGED)
        await until(lambda: sum(row.late_outcome in late for row in self.rows()) >= count, 30)

    async def has_rows(self, count: int) -> None:
        await until(lambda: len(self.ledger.rows) >= count)

    def push(self, payload: bytes, trigger: int | None = None, **headers: Any) -> None:
        named = {key.replace("_", "-"): str(value) for key, value in headers.items()}
        if b"#" not in payload and b":" in payload and (trigger is not None or named):
            payload += f"#{trigger} {named}".encode()  # no two pictures of a camera are the same
        self.source.push(payload, named if trigger is None else {**named, "trigger-id": str(trigger)})


async def until(condition: Callable[[], bool], limit_s: float = 10) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.002)


async def test_run_each_frame_has_one_row_one_record_and_is_acknowledged() -> None:
    plant = Plant(FREE)
    async with plant.running():
        for number in range(40):
            plant.push(GOOD if number % 4 else BAD, frame_id=number)
        await plant.has_rows(40)
        await until(lambda: not plant.source.broker.kept)
    assert [row.frame_id for row in plant.rows()] == [str(n) for n in range(40)], "in the order of delivery"
    assert sum(row.outcome is Outcome.REJECT for row in plant.rows()) == 10
    assert len(plant.sink.verdicts) == 40
    assert all(row.published is None for row in plant.rows()), "no gate, nothing published to one"


async def test_run_stopped_while_products_are_loaded_ends_the_load_and_itself() -> None:
    """A first start may export a graph for many seconds; the service manager waits fifteen."""
    plant, loader = Plant(FREE), BlockedLoader()
    pipeline = plant.pipeline(loader=loader)
    running = asyncio.create_task(pipeline.run())
    await asyncio.to_thread(loader.has_begun.wait)
    pipeline.stop()
    await running
    assert loader.is_closed.is_set()
    assert not pipeline.has_started.is_set()


async def test_run_enough_rows_for_a_group_are_written_without_a_wait() -> None:
    patient = FREE.store.model_copy(update={"commit_wait_ms": 3_600_000.0})
    plant = Plant(FREE.model_copy(update={"store": patient}))
    async with plant.running():
        for number in range(ENOUGH):
            plant.push(GOOD, frame_id=number)
        await plant.has_rows(ENOUGH)
        await until(lambda: not plant.source.broker.kept)


async def test_run_every_kind_of_bad_frame_fails_alone_with_its_cause() -> None:
    plant = Plant(FREE)
    async with plant.running():
        for payload in (GOOD, b"", b"junk", NAN, UNKNOWN, GOOD + b"#2"):
            plant.push(payload)
        await plant.has_rows(6)
    assert [row.cause for row in plant.rows()] == [
        Cause.OK,
        Cause.UNDECODABLE,
        Cause.UNDECODABLE,
        Cause.SCORER_ERROR,
        Cause.UNKNOWN_PRODUCT,
        Cause.OK,
    ]
    assert [letter.payload for letter in plant.letters.letters] == [b"", b"junk"]
    assert all(letter.verdict and letter.verdict.result_id == letter.result_id for letter in plant.letters.letters)


async def test_run_product_of_a_camera_that_is_not_live_is_told_at_the_start() -> None:
    camera = {"name": "cam", "on_unjudged": "reject"}
    for product, is_told in (("gamma", True), ("alpha", False), (None, False)):
        plant = Plant(parse({"agent": {"name": "agent"}, "camera": [{**camera, "product": product}]}, None))
        async with plant.running():
            await until(lambda: "lineup" in plant.telemetry.kinds())  # noqa: B023 - of this turn
            assert ("product_missing" in plant.telemetry.kinds()) is is_told


async def test_run_gate_is_told_pass_and_reject_and_rows_say_so() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD, 17)
        plant.push(BAD, 18)
        await plant.has_rows(2)
    assert [(told.trigger_id, told.action) for told in plant.told] == [(17, Action.PASS), (18, Action.REJECT)]
    assert [row.published for row in plant.rows()] == [True, True]
    assert {key[-1]: kept.action for key, kept in plant.ledger.decisions.items()}


async def test_run_same_frame_again_makes_no_row_no_record_and_no_decision() -> None:
    plant = Plant(settings())
    async with plant.running():
        for _ in range(3):
            plant.push(BAD, 17, frame_id="f")
        plant.push(GOOD, 17, frame_id="f")
        await until(lambda: not plant.source.broker.kept)
    assert len(plant.rows()) == 2
    assert [row.id_conflict for row in plant.rows()] == [False, True]
    assert [told.action for told in plant.line.told] == [Action.REJECT], "worst verdict wins"


async def test_run_gap_in_triggers_makes_uninspected_rows() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD, 5)
        plant.push(GOOD, 8)
        await plant.has_rows(4)
    missed = [row for row in plant.rows() if row.outcome is Outcome.UNINSPECTED]
    assert [(row.trigger_id, row.cause, row.gate) for row in missed] == [
        (6, Cause.NOT_RECEIVED, "gate"),
        (7, Cause.NOT_RECEIVED, "gate"),
    ]
    assert "uninspected" in plant.telemetry.kinds()


@pytest.mark.parametrize(("source", "is_said"), [("camera", True), ("encoder", False)])
async def test_run_gap_in_a_count_of_the_camera_itself_is_said_to_be_of_what_was_lost_after_it(
    source: str, is_said: bool
) -> None:
    plant = Plant(settings(trigger_source=source))
    async with plant.running():
        plant.push(GOOD, 5)
        plant.push(GOOD, 7)
        await plant.has_rows(3)
    (missed,) = (row for row in plant.rows() if row.outcome is Outcome.UNINSPECTED)
    assert ("lost after the camera" in (missed.cause_detail or "")) is is_said
    (event,) = (event for event in plant.telemetry.events if event.kind == "uninspected")
    assert ("lost after it" in event.detail) is is_said


async def test_run_gated_frame_without_trigger_is_unjudged_and_untold() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD)
        await plant.has_rows(1)
    assert plant.rows()[0].cause is Cause.NO_TRIGGER_ID
    assert plant.line.told == []


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line rests as soon as no live frame is under way."""
    monkeypatch.setattr(spare_time, "REST_S", 0.0)


def backlog_of(*payloads: bytes) -> FakeBroker:
    broker = FakeBroker()
    for trigger, payload in enumerate(payloads, start=1):
        broker.put(payload, {"trigger-id": str(trigger)})
    return broker


@pytest.mark.usefixtures("resting")
async def test_run_backlog_is_recorded_late_and_never_told_and_judged_afterwards() -> None:
    plant = Plant(settings(), backlog_of(BAD, GOOD, UNKNOWN, b"no image"))
    async with plant.running():
        await plant.all_judged(4)
    rows = plant.rows()
    assert {(row.outcome, row.cause, row.action, row.published) for row in rows} == {
        (Outcome.UNJUDGED, Cause.LATE, Action.REJECT, False)
    }
    assert [(row.late_outcome, row.late_cause) for row in rows] == [
        (LateOutcome.REJECT, Cause.ANOMALY),
        (LateOutcome.PASS, Cause.OK),
        (LateOutcome.UNJUDGED, Cause.UNKNOWN_PRODUCT),
        (LateOutcome.UNJUDGED, Cause.UNDECODABLE),
    ]
    assert [(row.level, row.product) for row in rows] == [(1.5, "alpha"), (0.2, "alpha"), (None, None), (None, None)]
    assert all(row.judged_at is not None for row in rows)
    assert plant.line.told == []
    assert [letter.result_id for letter in plant.letters.letters] == [rows[3].result_id]
    assert [picture.verdict for picture in plant.images.pictures] == rows[:3]


@pytest.mark.usefixtures("resting")
async def test_run_late_frame_has_one_record_which_says_what_it_showed() -> None:
    plant = Plant(settings(), backlog_of(BAD, GOOD))
    async with plant.running():
        await plant.all_judged(2)
        await until(lambda: len(plant.sink.verdicts) >= 2)
    assert plant.sink.verdicts == plant.rows()


@pytest.mark.usefixtures("resting")
async def test_run_late_frames_found_bad_raise_one_alarm_for_many() -> None:
    plant = Plant(settings(), backlog_of(*[BAD + b"#%d" % number for number in range(5)]))
    async with plant.running():
        await plant.all_judged(5)
    told = [event for event in plant.telemetry.events if event.kind == "late_reject"]
    assert [(event.severity, event.subject) for event in told] == [(Severity.ALARM, "cam")] * 2
    assert told[0].detail.startswith("1 part found bad"), "the first at once"
    assert plant.rows()[0].result_id in told[0].detail
    assert told[1].detail.startswith("4 parts found bad"), "the others at the end, before the minute is over"
    assert plant.telemetry.counters["late_rejects"] == 5


async def test_run_backlog_is_recorded_and_acknowledged_while_no_frame_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1,500 frames wait, and the line has no time: rows and acknowledgements go on at the speed of the broker."""
    monkeypatch.setattr(spare_time, "REST_S", 3600.0)
    plant = Plant(settings(), backlog_of(*[GOOD + b"#%d" % number for number in range(1500)]))
    async with plant.running() as pipeline:
        await plant.has_rows(1500)
        await until(lambda: not plant.source.broker.kept)
        assert pipeline._settling.deferring == 0, "no bytes of late frames stay in memory"
        assert plant.late.waiting == 1500
        assert {row.late_outcome for row in plant.rows()} == {LateOutcome.WAITING}
        assert (plant.lineup.batches, plant.sink.verdicts) == ([], [])
        plant.push(GOOD, 1501)
        await until(lambda: bool(plant.line.told))
    assert plant.line.told[0].trigger_id == 1501


async def test_run_late_frames_wait_while_a_live_frame_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_time, "REST_S", 0.0)
    scoring = threading.Event()
    plant = Plant(settings(window_ms=20_000), backlog_of(BAD))
    plant.lineup = FakeLineup(gate=scoring)
    monkeypatch.setattr(afterwards, "LOOK_S", 0.3)  # the live frame comes before the first look
    async with plant.running():
        plant.push(GOOD, 2)
        await plant.has_rows(1)
        await until(lambda: plant.reached.count("routed") == 1)
        await asyncio.sleep(0.5)
        assert plant.late.waiting == 1
        assert "judged_late" not in plant.reached
        scoring.set()
        await plant.all_judged(1)
    assert plant.reached.index("scored") < plant.reached.index("judged_late")


@pytest.mark.usefixtures("resting")
async def test_run_ledger_away_findings_wait_and_are_added_once_it_is_back() -> None:
    plant = Plant(settings(), backlog_of(BAD, GOOD))
    async with plant.running():
        await plant.has_rows(2)
        plant.ledger.is_available = False
        await until(lambda: plant.late.waiting == 0)
        plant.ledger.is_available = True
        await plant.all_judged(2)
    assert [row.late_outcome for row in plant.rows()] == [LateOutcome.REJECT, LateOutcome.PASS]
    assert plant.late.finding_ids() == []


@pytest.mark.usefixtures("resting")
async def test_run_frame_beyond_the_bound_says_that_it_was_not_judged() -> None:
    plant = Plant(settings(), backlog_of(*[GOOD + b"#%d" % number for number in range(10, 30)]))
    plant.late = InMemoryLateFrames(plant.clock, max_bytes=5 * len(GOOD + b"#10"))
    async with plant.running():
        await plant.all_judged(20)
        await until(lambda: len(plant.sink.verdicts) >= 20)
    given_up = [row for row in plant.rows() if row.late_cause is None]
    assert len(given_up) >= 1
    assert {(row.late_outcome, row.level) for row in given_up} == {(LateOutcome.UNJUDGED, None)}
    assert all("images.late_mib" in (row.late_detail or "") for row in given_up)
    assert plant.late.most_bytes <= 5 * len(GOOD + b"#10")
    assert sorted(verdict.result_id for verdict in plant.sink.verdicts) == sorted(plant.ledger.rows)


@pytest.mark.usefixtures("resting")
async def test_run_late_frame_in_bypass_is_uninspected_and_not_judged() -> None:
    plant = Plant(settings(), backlog_of(GOOD))
    plant.ledger.gates["gate"] = GateState("gate", mode=GateMode.BYPASS)
    async with plant.running():
        await plant.has_rows(1)
    (row,) = plant.rows()
    assert (row.outcome, row.cause, row.late_outcome) == (Outcome.UNINSPECTED, Cause.BYPASS, None)


@pytest.mark.usefixtures("resting")
@pytest.mark.parametrize(
    "stage", ["admitted", "kept", "journaled", "recorded", "acknowledged", "judged_late", "amended"]
)
async def test_restart_after_death_at_any_stage_of_a_late_frame_judges_each_once(stage: str) -> None:
    plant = Plant(settings(), backlog_of(*[BAD if number % 2 else GOOD for number in range(6)]))
    died = threading.Event()
    reached: list[str] = []

    def die(at: str) -> None:
        reached.append(at)
        if at == stage and reached.count(at) == 4:
            died.set()
            raise Died

    pipeline = plant.pipeline(die)
    async with plant.source:
        await pipeline.recover()
        run = asyncio.ensure_future(pipeline.run())
        await until(died.is_set)
        run.cancel()
        with contextlib.suppress(BaseException):
            await run
    after = Plant(plant.config, earlier=plant)
    async with after.running():
        await after.all_judged(6)
        await until(lambda: not after.source.broker.kept and not after.late.finding_ids())
    rows = sorted(after.rows(), key=lambda row: row.trigger_id or 0)
    assert [row.trigger_id for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.late_outcome for row in rows] == [LateOutcome.PASS, LateOutcome.REJECT] * 3
    told = Counter(verdict.result_id for verdict in plant.sink.verdicts + after.sink.verdicts)
    assert set(told) == set(after.ledger.rows)
    assert all(verdict.late_outcome is not LateOutcome.WAITING for verdict in after.sink.verdicts)


@pytest.mark.usefixtures("resting")
async def test_restart_after_a_late_frame_killed_the_agent_twice_gives_it_up_alone() -> None:
    plant = Plant(settings(), backlog_of(POISON, GOOD))
    for _ in range(2):
        pipeline = plant.pipeline()
        async with plant.source:
            await pipeline.recover()
            with pytest.raises(BaseException):  # noqa: B017 - the decoder ends the process
                await pipeline.run()
        plant = Plant(plant.config, earlier=plant)
    async with plant.running():
        await plant.all_judged(2)
    guilty, good = plant.rows()
    assert (guilty.late_outcome, guilty.late_cause) == (LateOutcome.UNJUDGED, Cause.UNDECODABLE)
    assert "ended the agent 2 times" in (guilty.late_detail or "")
    assert good.late_outcome is LateOutcome.PASS


@pytest.mark.usefixtures("resting")
async def test_restart_without_the_pictures_of_late_frames_says_so_in_their_rows() -> None:
    plant = Plant(settings(), backlog_of(BAD, GOOD))
    plant.lineup = FakeLineup(names=())  # nothing is enrolled, so both frames wait
    async with plant.running():
        await plant.has_rows(2)
    assert plant.late.waiting == 2
    after = Plant(plant.config, earlier=plant)
    after.late = InMemoryLateFrames(after.clock)
    async with after.running():
        await after.all_judged(2)
        await until(lambda: len(after.sink.verdicts) >= 2)
    assert {(row.late_outcome, row.late_cause) for row in after.rows()} == {(LateOutcome.UNJUDGED, None)}
    assert all("gone" in (row.late_detail or "") for row in after.rows())


@pytest.mark.parametrize(("reserve_ms", "transport_ms"), [(600, 0), (300, 300)])
async def test_run_scorer_too_slow_tells_the_gate_in_time_and_keeps_the_late_score(
    reserve_ms: int, transport_ms: int
) -> None:
    # a busy machine must not eat the time to publish
    plant = Plant(settings(window_ms=1000, reserve_ms=reserve_ms, transport_ms=transport_ms))
    plant.lineup = FakeLineup(gate=threading.Event())
    async with plant.running():
        plant.push(GOOD, 17)
        await until(lambda: len(plant.line.told) == 1)
        assert plant.rows() == [], "the row waits for the score"
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(1)
    row = plant.rows()[0]
    assert (plant.line.told[0].action, plant.line.told[0].cause) == (Action.REJECT, Cause.LATE)
    assert (row.cause, row.level, row.published, row.action) == (Cause.LATE, 0.2, True, Action.REJECT)


async def test_run_waiting_frame_is_shed_as_overload_at_its_deadline() -> None:
    plant = Plant(settings(window_ms=2000, reserve_ms=600))  # a busy machine must not eat the time to publish
    plant.lineup = FakeLineup(gate=threading.Event(), is_batched=True)
    async with plant.running() as pipeline:
        plant.push(GOOD, 1)
        under_way = pipeline._shared.in_flight
        await until(lambda: any(ticket.stage is Stage.SCORING for ticket in under_way.values()))
        plant.push(GOOD, 2)
        await until(lambda: len(plant.line.told) == 2)
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(2)
    assert sorted(row.cause for row in plant.rows()) == [Cause.LATE, Cause.OVERLOAD]


@pytest.mark.parametrize(("match", "is_told"), [("single_in_flight", True), ("trigger_id", False)])
async def test_run_at_a_gate_whose_views_are_not_joined_without_trigger_ids_says_so(match: str, is_told: bool) -> None:
    views = [{"name": name, "on_unjudged": "reject"} for name in ("cam", "other")]
    gate = {"name": "gate", "cameras": ["cam", "other"], "window_ms": 5000, "match": match}
    plant = Plant(parse({"camera": views, "gate": [gate]}, None))
    pipeline = plant.pipeline()
    pipeline._shared.sources["other"] = FakeSource("other", plant.clock)
    async with plant.source:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await until(lambda: bool(plant.line.beats))
        pipeline.stop()
        await run
    assert ("views_not_joined" in plant.telemetry.kinds()) is is_told


async def test_run_last_heartbeat_says_that_the_gate_is_not_ready() -> None:
    plant = Plant(settings())
    async with plant.running():
        await until(lambda: bool(plant.line.beats) and plant.line.beats[-1][1]["ready"] == 1)
    assert (plant.line.beats[-1][1]["ready"], plant.line.beats[-1][1]["fault"]) == (0, Fault.STOPPING)


async def test_run_first_heartbeat_carries_no_mode_that_has_run_out() -> None:
    plant = Plant(settings())
    over = plant.clock.now() - timedelta(seconds=1)
    plant.ledger.gates["gate"] = GateState("gate", mode=GateMode.BYPASS, mode_expires_at=over)
    async with plant.running():
        await until(lambda: bool(plant.line.beats))
    assert {beat["mode"] for _, beat in plant.line.beats} == {1}


async def test_run_three_late_frames_make_the_gate_not_ready_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.stream.pipeline.upkeep.LATE_MEMORY_S", 3.0)
    plant = Plant(settings(window_ms=1000, reserve_ms=600))
    plant.lineup = FakeLineup(gate=threading.Event())

    def is_told(fault: int) -> bool:
        return bool(plant.line.beats) and plant.line.beats[-1][1]["fault"] == fault

    async with plant.running():
        await until(lambda: is_told(0))
        for trigger in range(1, 4):
            plant.push(GOOD, trigger)
        await until(lambda: is_told(Fault.LATE))
        await until(lambda: is_told(0))
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(3)


async def test_run_gate_whose_decisions_the_broker_refuses_is_not_ready_until_one_is_taken() -> None:
    plant = Plant(settings())

    def is_told(fault: int) -> bool:
        return bool(plant.line.beats) and plant.line.beats[-1][1]["fault"] == fault

    async with plant.running():
        await until(lambda: is_told(0))
        plant.line.is_connected = False
        for trigger in range(1, 4):
            plant.push(GOOD, trigger)
        await plant.has_rows(3)
        await until(lambda: is_told(Fault.UNTOLD))
        plant.line.is_connected = True
        plant.push(GOOD, 4)
        await until(lambda: is_told(0))


@pytest.mark.parametrize("age_ms", [None, 2000])
async def test_run_gate_is_not_ready_while_no_frame_could_be_young_enough(
    age_ms: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(settings())
    async with plant.running():
        await until(lambda: bool(plant.line.beats) and plant.line.beats[-1][1]["ready"] == 1)
        monkeypatch.setattr(plant.source, "age_bound_ns", lambda _: None if age_ms is None else age_ms * 1_000_000)
        await until(lambda: plant.line.beats[-1][1]["fault"] == Fault.BACKLOG)
        assert plant.line.beats[-1][1]["ready"] == 0
        monkeypatch.undo()
        await until(lambda: plant.line.beats[-1][1]["ready"] == 1)


async def test_run_stopped_agent_leaves_its_cameras_offline() -> None:
    plant = Plant(settings())
    async with plant.running():
        await until(lambda: plant.sink.states.get("cam/health", {}).get("state") == "online")
    assert plant.sink.states["cam/health"]["state"] == "offline"


async def test_run_new_epoch_is_in_a_heartbeat_before_a_decision_carries_it() -> None:
    plant = Plant(settings(max_gap=3))
    known: list[tuple[int, int]] = []
    publish = plant.line.publish

    async def note(decision: Decision, *may_go: Any) -> bool | None:
        known.append((decision.epoch, plant.line.beats[-1][1]["ep"]))
        return await publish(decision, *may_go)

    plant.line.publish = note  # type: ignore[method-assign]  # the order of two messages is what this is about
    async with plant.running():
        plant.push(GOOD, 100)
        await plant.has_rows(1)
        plant.push(BAD, 5)
        await plant.has_rows(2)
    assert known == [(1, 1), (2, 2)]


async def test_run_streak_of_rejects_raises_one_alarm() -> None:
    plant = Plant(settings(storm_consecutive=3))
    async with plant.running():
        for trigger in range(1, 6):
            plant.push(BAD, trigger)
        await plant.has_rows(5)
    assert plant.telemetry.kinds().count("storm") == 1


@pytest.mark.parametrize("ids", ["trigger", "frame_id", "weak"])
@pytest.mark.parametrize("is_gated", [True, False])
async def test_run_camera_that_repeats_one_picture_is_told_once_an_episode(ids: str, is_gated: bool) -> None:
    plant = Plant(settings(match="single_in_flight", trigger_source="camera") if is_gated else FREE)
    async with plant.running():
        for number in range(20):
            plant.push(
                GOOD + (b"#one" if number < 19 else b"#other"),
                1000 + number if ids == "trigger" else None,
                **({"frame_id": number} if ids == "frame_id" else {}),
            )
        await plant.has_rows(20)
    told = [event for event in plant.telemetry.events if event.kind.startswith("camera_repeats")]
    assert [(event.kind, event.severity, event.subject) for event in told] == [
        ("camera_repeats", Severity.ALARM, "cam"),
        ("camera_repeats_ended", Severity.INFO, "cam"),
    ]
    assert told[1].detail.startswith("19 frames in a row")


@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("is_stamped", [False, True])
async def test_run_frozen_camera_is_told_by_the_fifth_picture_and_judged_again_afterwards(
    pictures: int, is_stamped: bool
) -> None:
    plant = Plant(settings(window_ms=20_000))
    frames = 200
    async with plant.running():
        for number in range(frames):
            stamp = f"##taken at {number}" if is_stamped else ""
            plant.push(GOOD + f"#{number % pictures}{stamp}".encode(), 1000 + number)
            await plant.has_rows(number + 1)
        await until(lambda: plant.sink.states["cam/health"]["frame_health"] == "frozen")
        for number in range(20):
            plant.push(GOOD, 1000 + frames + number)
            await plant.has_rows(frames + number + 1)
        await until(lambda: plant.sink.states["cam/health"]["frame_health"] is None)
    judged = 5 * pictures - 1
    rows = sorted(plant.rows(), key=lambda row: row.trigger_id or 0)
    assert {row.cause for row in (*rows[:judged], *rows[frames:])} == {Cause.OK}
    frozen = rows[judged:frames]
    assert {(row.outcome, row.cause, row.action, row.level) for row in frozen} == {
        (Outcome.UNJUDGED, Cause.FRAME_HEALTH, Action.QUARANTINE, None)
    }
    assert all((row.cause_detail or "").startswith("frozen: the last ") for row in frozen)
    told = [event.kind for event in plant.telemetry.events if event.kind.startswith(("camera_repeats", "frame_health"))]
    assert told == ["camera_repeats", "camera_repeats_ended"], "one fault is told once"


async def test_run_frozen_camera_gets_the_action_that_its_policy_names() -> None:
    camera = {"name": "cam", "on_unjudged": "quarantine", "on_frame_health": "reject"}
    plant = Plant(parse({"agent": {"name": "agent"}, "camera": [camera]}, None))
    async with plant.running():
        for number in range(6):
            plant.push(GOOD + b"#one", number)
        await plant.has_rows(6)
    assert [row.action for row in plant.rows()] == [Action.PASS] * 4 + [Action.REJECT] * 2


async def test_run_frame_that_fails_a_health_check_is_not_scored_and_names_product_fault_and_measure() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.push(GOOD, 1)
        plant.push(b"0:2.54", 2)
        await plant.has_rows(2)
        await until(lambda: plant.sink.states["cam/health"]["frame_health"] == "dark")
    row = next(row for row in plant.rows() if row.trigger_id == 2)
    assert (row.outcome, row.cause, row.action) == (Outcome.UNJUDGED, Cause.FRAME_HEALTH, Action.QUARANTINE)
    assert row.cause_detail == "dark: 3.00 stops darker than good images"
    assert (row.product, row.product_version, row.level, row.threshold) == ("alpha", 1, None, 1.0)
    assert sum(plant.lineup.batches) == 1
    (event,) = [event for event in plant.telemetry.events if event.kind == "frame_health"]
    assert (event.severity, event.subject) == (Severity.ALARM, "cam")
    assert "dark: 3.00 stops" in event.detail


async def test_run_router_is_told_the_announced_product_or_the_last_that_the_camera_showed() -> None:
    plant = Plant(FREE)
    async with plant.running():
        for number, (payload, claim) in enumerate(
            [(GOOD, {}), (b"1:0.20", {}), (UNKNOWN, {}), (BAD, {"product": "beta"})]
        ):
            plant.push(payload, number, **claim)
            await plant.has_rows(number + 1)
    assert plant.lineup.expected == [None, "alpha", "beta", "beta"]
    fixed = {"name": "cam", "on_unjudged": "reject", "product": "alpha"}
    plant = Plant(parse({"agent": {"name": "agent"}, "camera": [fixed]}, None))
    async with plant.running():
        plant.push(b"1:0.20", 1, product="beta")
        await plant.has_rows(1)
    assert plant.lineup.expected == ["alpha"], "the camera's own setting comes first"


async def test_run_static_scene_with_the_noise_of_a_sensor_is_no_frozen_camera() -> None:
    plant = Plant(FREE)
    async with plant.running():
        for number in range(40):
            plant.push(GOOD + b"#noise %d" % number)
        await plant.has_rows(40)
    assert {row.cause for row in plant.rows()} == {Cause.OK}
    assert "frame_health" not in plant.telemetry.kinds()


async def test_run_frames_delivered_again_or_simulated_are_no_repeating_camera() -> None:
    plant = Plant(FREE)
    async with plant.running():
        for number in range(20):
            plant.push(GOOD, 7)
            plant.push(GOOD, 1000 + number, simulated="true")
        await plant.has_rows(21)
        await until(lambda: not plant.source.broker.kept)
    assert "camera_repeats" not in plant.telemetry.kinds()


async def test_run_view_that_never_comes_is_told_by_policy_before_the_part_leaves() -> None:
    config = parse(
        {
            "camera": [
                {"name": "cam", "on_unjudged": "reject"},
                {"name": "other", "on_unjudged": "quarantine"},
            ],
            "gate": [{"name": "gate", "cameras": ["cam", "other"], "window_ms": 120, "reserve_ms": 40}],
        },
        None,
    )
    plant = Plant(config)
    pipeline = plant.pipeline()
    pipeline._shared.sources["other"] = FakeSource("other", plant.clock)  # a second camera, silent
    async with plant.source:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await pipeline.has_started.wait()
        plant.push(GOOD, 9)
        await plant.has_rows(2)
        pipeline.stop()
        await run
    assert [(told.action, told.trigger_id) for told in plant.line.told] == [(Action.QUARANTINE, 9)]
    assert {row.camera: row.cause for row in plant.rows()} == {"cam": Cause.OK, "other": Cause.VIEW_MISSING}
    assert len({row.act_before for row in plant.rows()}) == 1, "both rows have the part's own time"


@pytest.mark.parametrize("is_ledger_away", [False, True])
async def test_run_decision_that_names_an_earlier_view_is_denied_by_no_row(is_ledger_away: bool) -> None:
    """The worst view comes first and waits for the other view, which then completes the part."""
    config = parse(
        {
            "camera": [
                {"name": "cam", "on_unjudged": "quarantine"},
                {"name": "other", "on_unjudged": "reject"},
            ],
            "gate": [{"name": "gate", "cameras": ["cam", "other"], "window_ms": 20_000}],
        },
        None,
    )
    plant = Plant(config)
    pipeline = plant.pipeline()
    other = pipeline._shared.sources["other"] = FakeSource("other", plant.clock)
    async with plant.source, other:
        await pipeline.recover()
        run = asyncio.create_task(pipeline.run())
        await pipeline.has_started.wait()
        plant.ledger.is_available = not is_ledger_away
        plant.push(UNKNOWN, 9)
        await until(lambda: len(plant.sink.verdicts) == 1)
        other.push(GOOD, {"trigger-id": "9"})
        await until(lambda: len(plant.sink.verdicts) == 2)
        plant.ledger.is_available = True
        await plant.has_rows(2)
        pipeline.stop()
        await run
    worst, last = sorted(plant.rows(), key=lambda row: row.camera)
    (decision,) = plant.ledger.decisions.values()
    assert (decision.action, decision.result_id) == (Action.QUARANTINE, worst.result_id)
    assert (worst.published, last.published) == (True, True)


async def test_run_ungated_flood_is_held_back_and_nothing_is_lost() -> None:
    plant = Plant(FREE)
    plant.lineup = FakeLineup(gate=threading.Event())
    async with plant.running():
        for number in range(100):
            plant.push(GOOD, frame_id=number)
        await asyncio.sleep(0.05)
        assert plant.telemetry.counters["deliveries"] < 40, "the camera is held back"
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(100)
    assert {row.cause for row in plant.rows()} == {Cause.OK}


async def test_run_ledger_away_verdicts_go_out_and_rows_follow_once_it_is_back() -> None:
    plant = Plant(settings())
    async with plant.running():
        plant.ledger.is_available = False
        for trigger in range(1, 6):
            plant.push(BAD, trigger)
        await until(lambda: not plant.source.broker.kept)
        assert len(plant.line.told) == 5
        assert plant.rows() == []
        plant.ledger.is_available = True
        await plant.has_rows(5)
    assert [row.trigger_id for row in plant.rows()] == [1, 2, 3, 4, 5]
    assert plant.telemetry.kinds().count("ledger_down") == 1
    assert plant.telemetry.kinds().count("ledger_up") == 1


async def test_run_journal_full_tells_no_gate_and_goes_on_when_there_is_room() -> None:
    plant = Plant(settings(window_ms=200))
    async with plant.running():
        plant.journal.is_full = True
        plant.push(GOOD, 1)
        await until(lambda: "journal_full" in plant.telemetry.kinds())
        await asyncio.sleep(0.25)
        assert plant.line.told == []
        plant.journal.is_full = False
        await plant.has_rows(1)
    assert plant.rows()[0].published is False


@pytest.mark.parametrize("stage", ["admitted", "decoded", "routed", "scored", "journaled", "published", "recorded"])
async def test_restart_after_death_at_any_stage_leaves_one_row_each(stage: str) -> None:
    """The process dies at the stage; the next one finds journal, ledger and broker as they were left."""
    plant = Plant(settings(match="single_in_flight", window_ms=5000))
    died = threading.Event()

    def die(reached: str) -> None:
        if reached == stage and plant.telemetry.counters["deliveries"] >= 4:
            died.set()
            raise Died

    pipeline = plant.pipeline(die)
    async with plant.source:
        await pipeline.recover()
        plant.source.push(GOOD + b"#x")  # two equal frames without any id: two parts
        plant.source.push(GOOD + b"#x")
        for number in range(4):
            plant.push(BAD if number % 2 else GOOD, frame_id=number)
        run = asyncio.ensure_future(pipeline.run())
        await until(died.is_set)
        run.cancel()
        with contextlib.suppress(BaseException):
            await run
    sent_before = [(told.trigger_id, told.result_id) for told in plant.line.told]
    after = Plant(plant.config, earlier=plant)
    async with after.running():
        await until(lambda: not after.source.broker.kept)
    rows = after.rows()
    assert len(rows) == 6
    assert len({row.result_id for row in rows}) == 6
    recorded = {row.result_id for row in rows}
    assert {result_id for _, result_id in sent_before} <= recorded, "no decision on the wire without a row"
    told = {result_id for _, result_id in sent_before}
    assert not [row.result_id for row in rows if row.result_id in told and row.published is False]


async def test_run_decision_without_an_answer_is_a_row_that_says_unknown() -> None:
    plant = Plant(settings())
    plant.line.is_answered = False
    async with plant.running():
        plant.push(GOOD, 1)
        await plant.has_rows(1)
    assert [row.published for row in plant.rows()] == [None]
    assert [decision.sent for decision in plant.ledger.decisions.values()] == [0], "only what is certain counts"


async def test_restart_after_a_decoder_died_gives_up_the_guilty_frame_alone() -> None:
    """Frames that were under way beside it are tried again one by one, and judged."""
    plant = Plant(FREE)
    scoring = threading.Event()
    plant.lineup = FakeLineup(gate=scoring, is_batched=True)  # nothing before the poisoned frame ends in a verdict
    for number in range(4):
        plant.push(GOOD, frame_id=number)
    plant.push(POISON, frame_id=4)
    for number in range(5, 8):
        plant.push(GOOD, frame_id=number)
    for _ in range(2):
        async with plant.source:
            pipeline = plant.pipeline()
            await pipeline.recover()
            run = asyncio.ensure_future(pipeline.run())
            with pytest.raises(BaseExceptionGroup) as ended:
                await run
            assert ended.value.subgroup(Died) is not None
        plant = Plant(FREE, earlier=plant)
    scoring.set()
    async with plant.running():
        await until(lambda: not plant.source.broker.kept)
    causes = {row.frame_id: row.cause for row in plant.rows()}
    assert causes.pop("4") is Cause.UNDECODABLE
    assert len(causes) == 7
    assert Cause.UNDECODABLE not in causes.values()


class ReluctantJournal(InMemoryJournal):
    """Refuses the first verdict once."""

    has_refused = False

    def append_verdict(self, verdict: Verdict, decision: Decision | None, hold: HoldNote | None = None) -> None:
        if not self.has_refused:
            self.has_refused = True
            raise JournalFull("not yet (test)")
        super().append_verdict(verdict, decision, hold)


async def test_restart_tries_the_next_suspect_only_when_the_last_ones_verdict_is_journaled() -> None:
    """Else the guilty one would end the agent while its neighbour still counts as being tried."""
    plant = Plant(FREE)
    suspects = [("cam", hashlib.sha256(payload).hexdigest()) for payload in (GOOD + b"#1", BAD + b"#2")]
    plant.journal = ReluctantJournal(_tries=dict.fromkeys(suspects, 1))
    plant.push(GOOD + b"#1", frame_id=1)
    plant.push(BAD + b"#2", frame_id=2)
    async with plant.running():
        await plant.has_rows(2)
    steps = [kind for kind, _ in plant.journal.entries if kind in ("attempt", "verdict")]
    assert steps == ["attempt", "verdict", "attempt", "verdict"]


async def test_stop_drains_what_is_under_way_and_leaves_the_rest_with_the_broker() -> None:
    plant = Plant(FREE)
    async with plant.running() as pipeline:
        for number in range(200):
            plant.push(GOOD, frame_id=number)
        await plant.has_rows(20)
        pipeline.stop()
    done = {row.frame_id for row in plant.rows()}
    left = {kept.properties["frame-id"] for kept in plant.source.broker.kept}
    assert done | left == {str(n) for n in range(200)}
    assert not done & left, "what has a row is acknowledged, what is not is kept"


async def test_run_each_stage_is_passed_once_for_each_frame_also_in_a_batch() -> None:
    """What ends an agent at the n-th frame of a stage must not depend on how frames fall into batches."""
    plant = Plant(FREE)
    plant.lineup = FakeLineup(gate=threading.Event(), is_batched=True)
    async with plant.running():
        for number in range(8):
            plant.push(GOOD, frame_id=number)
        await until(lambda: plant.reached.count("routed") == 8)
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await until(lambda: not plant.source.broker.kept)
    assert max(plant.lineup.batches) > 1
    stages = ["admitted", "decoded", "routed", "scored", "journaled", "recorded", "acknowledged"]
    assert {stage: plant.reached.count(stage) for stage in stages} == dict.fromkeys(stages, 8)


async def test_run_each_stage_is_passed_once_for_each_frame_of_a_worker() -> None:
    plant = Plant(FREE)
    plant.lineup = FakeLineup(is_batched=False)
    async with plant.running():
        for number in range(8):
            plant.push(GOOD, frame_id=number)
        await until(lambda: not plant.source.broker.kept)
    assert plant.lineup.batches == [1] * 8
    stages = ["admitted", "decoded", "routed", "scored", "journaled", "recorded", "acknowledged"]
    assert {stage: plant.reached.count(stage) for stage in stages} == dict.fromkeys(stages, 8)


async def test_run_workers_score_as_many_frames_at_once_as_there_are_cores() -> None:
    plant = Plant(settings_of_engine(threads=3))
    plant.lineup = FakeLineup(gate=threading.Event(), is_batched=False)
    async with plant.running() as pipeline:
        for number in range(5):
            plant.push(GOOD, frame_id=number)
        under_way = pipeline._shared.in_flight
        await until(lambda: sum(ticket.stage is Stage.SCORING for ticket in under_way.values()) == 3)
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(5)


async def test_run_frame_that_is_told_late_while_a_worker_scores_it_keeps_its_route_and_score() -> None:
    plant = Plant(settings(window_ms=2000, reserve_ms=600))  # a busy machine must not eat the time to publish
    plant.lineup = FakeLineup(gate=threading.Event(), is_batched=False)
    async with plant.running():
        plant.push(BAD, 1)
        await until(lambda: len(plant.line.told) == 1)
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(1)
    (row,) = plant.rows()
    assert (row.outcome, row.cause, row.product) == (Outcome.UNJUDGED, Cause.LATE, "alpha")
    assert row.level is not None


async def test_run_worker_whose_scoring_fails_settles_its_frame_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant(settings_of_engine(threads=1))
    plant.lineup = FakeLineup(is_batched=False)
    score, calls = FakeLineup.score, iter(range(9))

    def failing(lineup: FakeLineup, batch: Sequence[Routed]) -> list[Scored | Failure]:
        if next(calls) == 0:
            raise MemoryError("no memory (test)")
        return score(lineup, batch)

    monkeypatch.setattr(FakeLineup, "score", failing)
    async with plant.running():
        plant.push(GOOD, frame_id=1)
        plant.push(GOOD, frame_id=2)
        await plant.has_rows(2)
    assert [row.cause for row in plant.rows()] == [Cause.SCORER_ERROR, Cause.OK]


async def test_run_batch_is_scored_as_frame_by_frame() -> None:
    plant = Plant(FREE)
    plant.lineup = FakeLineup(gate=threading.Event(), is_batched=True)
    async with plant.running():
        for number in range(8):
            plant.push(f"0:{number / 10}".encode(), frame_id=number)
        await until(lambda: plant.reached.count("routed") == 8)
        assert plant.lineup.gate is not None
        plant.lineup.gate.set()
        await plant.has_rows(8)
    assert max(plant.lineup.batches) > 1
    assert [row.level for row in plant.rows()] == [pytest.approx(n / 10) for n in range(8)]
    assert not any(math.isnan(row.level or 0) for row in plant.rows())


async def test_stop_while_events_are_being_stored_loses_none_of_them() -> None:
    plant = Plant(settings())
    upkeep = plant.pipeline()._upkeep
    gate, stored = asyncio.Event(), []

    async def slow(events: Sequence[Event]) -> None:
        await gate.wait()
        stored.extend(events)

    upkeep._ledger.record_events = slow  # type: ignore[method-assign]
    waiting = [[Event(START, "first", Severity.INFO, "gate", "")], [Event(START, "last", Severity.INFO, "gate", "")]]
    upkeep._take_events = lambda: waiting.pop(0) if waiting else []
    under_way = asyncio.create_task(upkeep.store_events())
    await asyncio.sleep(0)
    last = asyncio.create_task(upkeep.store_events())
    await asyncio.sleep(0)
    gate.set()
    await last
    under_way.cancel()  # as a stop does to the task that stores events all the time
    assert [event.kind for event in stored] == ["first", "last"]
