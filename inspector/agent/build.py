"""Composition root: configuration to objects, run, drain. The only module that knows every room.

Everything that has a life is entered as an `async with`, in the order it is needed, so that leaving
is the same order backwards and there is no stop() to forget anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from connectors.folder import FolderSource
from connectors.kafka.sinks import KafkaDeadLetters, KafkaVerdictSink
from connectors.kafka.source import KafkaSource
from connectors.kafka.tap import KafkaTap
from connectors.mqtt.command_line import MqttCommandLine
from connectors.mqtt.gate_line import MqttGateLine
from connectors.mqtt.source import MqttSource
from connectors.mqtt.tap import MqttTap
from connectors.mqtt.verdict_sink import MqttVerdictSink
from inspector import __version__
from inspector.agent.clock import SystemClock
from inspector.agent.fan_out import FanOutSink, FirstDeadLetters
from inspector.agent.fault_injection import checkpoint, decoder
from inspector.agent.limits import MIB
from inspector.agent.telemetry import LogTelemetry
from inspector.config.config import Config
from inspector.config.sections import CameraSection
from inspector.domain import Event, Severity
from inspector.errors import LedgerUnavailable, UsageError
from inspector.ports import DeadLetters, FrameSource, FrameTap, VerdictSink
from inspector.store.database import Database, configured, ensure_schema
from inspector.store.journal.journal import FileJournal
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.pictures.dead_letters import FolderDeadLetters
from inspector.store.pictures.folders import Held
from inspector.store.pictures.images import FolderImages
from inspector.store.registry.registry import SqlRegistry
from inspector.store.retention.housekeeping import Housekeeping
from inspector.stream.decode import keep_opencv_on_the_callers_thread
from inspector.stream.pipeline import Adapters, Pipeline
from inspector.vision.serving.lineup import VisionLoader

START_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Agent:
    """A pipeline whose adapters are open, and the telemetry it reports to."""

    pipeline: Pipeline
    telemetry: LogTelemetry
    housekeeping: Housekeeping


def tap_of(config: Config, camera: CameraSection) -> FrameTap:
    """What listens beside the agents to this camera, not yet entered. Raises UsageError for a watched folder."""
    match camera.source:
        case "kafka":
            return KafkaTap(config, camera)
        case "mqtt":
            return MqttTap(config, camera)
        case "folder":
            raise UsageError(f"The camera {camera.name} is a folder; enrol from it by naming {camera.folder}.")


@contextlib.asynccontextmanager
async def opened(config: Config, telemetry: LogTelemetry, is_stopped: Callable[[], bool]) -> AsyncIterator[Agent]:
    """An agent that has recovered what an earlier run left. Sources are connected, nothing is taken yet."""
    keep_opencv_on_the_callers_thread()
    clock = SystemClock()
    state = config.agent.state_dir
    journal_limits = config.journal
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(configured(config))
        journal = await stack.enter_async_context(
            FileJournal(
                state / "journal",
                max_bytes=journal_limits.max_mib * MIB,
                segment_bytes=journal_limits.segment_mib * MIB,
            )
        )
        for damage in journal.damage:
            telemetry.event(Event(clock.now(), "journal_damaged", Severity.ALARM, "journal", str(damage)))
        await _reach(database, telemetry, is_stopped)
        ledger = await stack.enter_async_context(SqlLedger(database, clock))
        registry = await stack.enter_async_context(SqlRegistry(database, clock))
        held, kept = Held(is_known=False), config.images
        images = await stack.enter_async_context(
            FolderImages(
                state / "images", max_bytes=kept.max_mib * MIB, keep_passes=kept.keep_passes, clock=clock, held=held
            )
        )
        letters = await _enter_dead_letters(stack, config, (clock, telemetry), held)
        sink = await stack.enter_async_context(_sink(config, clock, telemetry))
        gate_line = await stack.enter_async_context(MqttGateLine(config, clock, telemetry)) if config.gate else None
        commands = MqttCommandLine(config, clock, telemetry) if uses_mqtt(config) else None
        command_line = None if commands is None else await stack.enter_async_context(commands)
        kafka = KafkaSource(config, clock, telemetry, letters)
        sources = {camera.name: _source(config, camera, clock, telemetry, kafka) for camera in config.camera}
        adapters = Adapters(
            clock=clock,
            telemetry=telemetry,
            sources=sources,
            journal=journal,
            ledger=ledger,
            registry=registry,
            loader=VisionLoader(config.engine, state / "engines"),
            sink=sink,
            gate_line=gate_line,
            images=images,
            dead_letters=letters,
            decode=decoder(),
            take_events=telemetry.take_events,
            command_line=command_line,
        )
        pipeline = Pipeline(config, adapters, f"inspector {__version__}", checkpoint())
        recovered = await pipeline.recover()
        if recovered:
            telemetry.event(
                Event(clock.now(), "recovered", Severity.INFO, "journal", f"{recovered} verdicts became rows")
            )
        for source in {id(source): source for source in sources.values()}.values():
            await stack.enter_async_context(source)
        yield Agent(pipeline, telemetry, Housekeeping(database, clock, telemetry, config.retention, (state, held)))


async def _reach(database: Database, telemetry: LogTelemetry, is_stopped: Callable[[], bool]) -> None:
    """Wait for the database: without it, it is not known which frames have a row and which products are live."""
    is_told = False
    while True:
        try:
            await ensure_schema(database)
        except LedgerUnavailable as away:
            if is_stopped() or not away.retryable:
                raise
            if not is_told:
                telemetry.event(Event(SystemClock().now(), "ledger_down", Severity.ALARM, "ledger", str(away)))
                is_told = True
            await asyncio.sleep(START_RETRY_S)
        else:
            return


async def _enter_dead_letters(
    stack: contextlib.AsyncExitStack, config: Config, told: tuple[SystemClock, LogTelemetry], held: Held
) -> DeadLetters:
    """The Kafka topic where one is configured, with the folder behind it; else the folder."""
    max_bytes = config.images.dead_letter_mib * MIB
    folder = FolderDeadLetters(config.agent.state_dir / "dead-letters", max_bytes=max_bytes, held=held)
    await stack.enter_async_context(folder)
    if config.kafka.dead_letter_topic is None:
        return folder
    topic = await stack.enter_async_context(KafkaDeadLetters(config, *told))
    return FirstDeadLetters([topic, folder])


def _sink(config: Config, clock: SystemClock, telemetry: LogTelemetry) -> VerdictSink:
    """Records to MQTT, unless nothing of this agent is there, and to Kafka where a topic is configured."""
    sinks: list[VerdictSink] = []
    if uses_mqtt(config):
        sinks.append(MqttVerdictSink(config, clock, telemetry))
    if config.kafka.verdict_topic is not None:
        sinks.append(KafkaVerdictSink(config, clock, telemetry))
    return FanOutSink(sinks)


def uses_mqtt(config: Config) -> bool:
    """An agent whose cameras are all on Kafka, without gates, needs no MQTT unless it is configured."""
    is_all_kafka = bool(config.camera) and all(camera.source == "kafka" for camera in config.camera)
    return not is_all_kafka or bool(config.gate) or "mqtt" in config.model_fields_set


def _source(
    config: Config, camera: CameraSection, clock: SystemClock, telemetry: LogTelemetry, kafka: KafkaSource
) -> FrameSource:
    match camera.source:
        case "kafka":
            return kafka
        case "mqtt":
            return MqttSource(config, camera, clock, telemetry)
        case "folder":
            return FolderSource(camera, clock, telemetry)
