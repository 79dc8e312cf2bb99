"""Builds the agent from its configuration: opens the adapters and makes the pipeline.

Adapters are entered with `async with`, in the order in which they are needed, and left in the reverse
order. No `stop()` has to repeat that order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from connectors.folder import FolderSource
from connectors.mqtt.ack_line import MqttAckLine
from connectors.mqtt.command_channel import MqttCommandChannel
from connectors.mqtt.gate_line import MqttGateLine
from connectors.mqtt.gate_owners import MqttGateOwners
from connectors.mqtt.source import MqttSource
from connectors.mqtt.tap import MqttTap
from connectors.mqtt.verdict_sink import MqttVerdictSink
from connectors.mqtt.wire.edges import edges_of
from inspector import __version__
from inspector.agent.audit_watch import AuditWatch
from inspector.agent.camera_limits import MIB
from inspector.agent.clock import SystemClock
from inspector.agent.drift_watch import DriftWatch
from inspector.agent.fan_out import FanOutSink, FirstDeadLetters
from inspector.agent.fault_injection import checkpoint, decoder
from inspector.agent.telemetry import LogTelemetry
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.config.loading import secret
from inspector.config.trust_sections import LEAST_KEY_CHARACTERS
from inspector.domain import Event, Severity
from inspector.errors import ConfigError, LedgerUnavailable, UsageError
from inspector.ports import DeadLetters, FrameSource, FrameTap, VerdictSink
from inspector.store.database import Database, configured, ensure_schema
from inspector.store.event_notes import EventNotes
from inspector.store.journal.journal import FileJournal
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.pictures.dead_letters import FolderDeadLetters
from inspector.store.pictures.folders import Held
from inspector.store.pictures.images import FolderImages
from inspector.store.pictures.late_frames import FolderLateFrames
from inspector.store.registry.registry import SqlRegistry
from inspector.store.retention.housekeeping import Housekeeping
from inspector.stream.command_rights import CommandKey
from inspector.stream.decode import keep_opencv_on_the_callers_thread
from inspector.stream.frame_room import FrameRoom
from inspector.stream.pipeline import Adapters, Pipeline
from inspector.vision.routing.profile import routing_profile
from inspector.vision.serving.lineup import VisionLoader

if TYPE_CHECKING:
    from connectors.kafka.sinks import KafkaVerdictSink
    from connectors.kafka.source import KafkaSource

# The Kafka client is loaded where Kafka is used: a tenth of an agent's start is not spent on it elsewhere.

START_RETRY_S = 1.0


class Link(Protocol):
    """A connection to a broker."""

    @property
    def is_connected(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Agent:
    """A pipeline with open adapters, its telemetry and database, and the tasks that look after the store.

    `told`: what its adapters tell of themselves.
    """

    pipeline: Pipeline
    telemetry: LogTelemetry
    housekeeping: Housekeeping
    drift_watch: DriftWatch
    audit_watch: AuditWatch
    database: Database
    told: Told


@dataclass(slots=True)
class Told:
    """What the adapters tell of themselves besides their ports, for figures. Filled while they are opened.

    `links`: whether each connection to a broker stands, by its name. `unsent`: records that wait for a broker.
    """

    links: dict[str, Callable[[], bool]] = field(default_factory=dict)
    unsent: list[Callable[[], int]] = field(default_factory=list)
    pictures_skipped: Callable[[], int] = int


@dataclass(frozen=True, slots=True)
class Common:
    """The objects that the adapters share: the configuration, the clock, and the telemetry."""

    config: Config
    clock: SystemClock
    telemetry: LogTelemetry
    told: Told = field(default_factory=Told)

    def tell(self, kind: str, severity: Severity, subject: str, detail: str) -> None:
        """Report an event, at the current time, that a person may have to know."""
        self.telemetry.event(Event(self.clock.now(), kind, severity, subject, detail))


def tap_of(config: Config, camera: CameraSection) -> FrameTap:
    """A tap on this camera's frames, not yet entered. Agents still get all frames. Raises UsageError for a folder."""
    match camera.source:
        case "kafka":
            from connectors.kafka.tap import KafkaTap

            return KafkaTap(config, camera)
        case "mqtt":
            return MqttTap(config, camera)
        case "folder":
            raise UsageError(f"The camera {camera.name} is a folder; enrol from it by naming {camera.folder}.")


@contextlib.asynccontextmanager
async def opened(config: Config, telemetry: LogTelemetry, is_stopped: Callable[[], bool]) -> AsyncIterator[Agent]:
    """An agent that has recovered an earlier run's verdicts. Its sources are connected; it takes no frame yet."""
    keep_opencv_on_the_callers_thread()
    common = Common(config, SystemClock(), telemetry)
    async with contextlib.AsyncExitStack() as stack:
        if uses_mqtt(config):
            stack.enter_context(edges_of(config.mqtt.host, config.mqtt.port).reported(common.tell))
        store = await _open_store(stack, common, is_stopped)
        adapters = await _open_adapters(stack, common, store)
        pipeline = Pipeline(config, adapters, f"inspector {__version__}", checkpoint())
        if recovered := await pipeline.recover():
            common.tell("recovered", Severity.INFO, "journal", f"{recovered} verdicts of an earlier run have rows now")
        for source in {id(source): source for source in adapters.sources.values()}.values():
            await stack.enter_async_context(source)
        if adapters.ack_line is not None:
            await stack.enter_async_context(adapters.ack_line)
        housekeeping = Housekeeping(
            store.database,
            common.clock,
            telemetry,
            config.retention,
            config.agent.state_dir,
            store.held,
            [routing_profile().graph.to_manifest()],
        )
        watch = DriftWatch(store.database, store.registry, common.clock, telemetry, config.agent)
        audit_watch = AuditWatch(store.database, common.clock, telemetry, config, pipeline.tell_audit_head)
        yield Agent(pipeline, telemetry, housekeeping, watch, audit_watch, store.database, common.told)


@dataclass(frozen=True, slots=True)
class _Store:
    """Database, journal and pictures of this agent, open. `held` names the pictures and dead letters that must stay."""

    database: Database
    journal: FileJournal
    ledger: SqlLedger
    registry: SqlRegistry
    images: FolderImages
    late_frames: FolderLateFrames
    held: Held


async def _open_store(stack: contextlib.AsyncExitStack, common: Common, is_stopped: Callable[[], bool]) -> _Store:
    """Open the journal first, because it may be damaged; then wait for the database."""
    config, clock = common.config, common.clock
    state, limits, kept = config.agent.state_dir, config.journal, config.images
    common.telemetry.note_in(stack.enter_context(EventNotes(state)))
    database = await stack.enter_async_context(configured(config))
    journal = FileJournal(state / "journal", max_bytes=limits.max_mib * MIB, segment_bytes=limits.segment_mib * MIB)
    await stack.enter_async_context(journal)
    for damage in journal.damage:
        common.tell("journal_damaged", Severity.ALARM, "journal", str(damage))
    await _reach(database, common, is_stopped)
    ledger = await stack.enter_async_context(SqlLedger(database, clock))
    registry = await stack.enter_async_context(SqlRegistry(database, clock))
    held = Held(is_known=False)
    images = FolderImages(
        state / "images", max_bytes=kept.max_mib * MIB, keep_passes=kept.keep_passes, clock=clock, held=held
    )
    await stack.enter_async_context(images)
    common.told.pictures_skipped = lambda: images.skipped
    late_frames = FolderLateFrames(state / "late", max_bytes=kept.late_mib * MIB, clock=clock, held=held)
    await stack.enter_async_context(late_frames)
    return _Store(database, journal, ledger, registry, images, late_frames, held)


async def _open_adapters(stack: contextlib.AsyncExitStack, common: Common, store: _Store) -> Adapters:
    """All adapters of the road, open except the sources and the ack line: the road has to recover before them."""
    config, clock, telemetry = common.config, common.clock, common.telemetry
    letters = await _open_dead_letters(stack, common, store.held)
    sink = await stack.enter_async_context(_sink(common))
    frame_room = FrameRoom(config.agent.frames_mib * MIB)
    owners = MqttGateOwners(config, clock, telemetry) if config.gate else None
    gate_line = MqttGateLine(config, clock, telemetry, owners.owns) if owners else None
    command_channel = MqttCommandChannel(config, clock, telemetry) if uses_mqtt(config) else None
    for line in (owners, gate_line, command_channel):
        if line is not None:
            await stack.enter_async_context(line)
    ack_line = MqttAckLine(config, clock, telemetry) if config.gate else None
    for name, link in (("gates", gate_line), ("commands", command_channel), ("acks", ack_line)):
        if link is not None:
            common.told.links[name] = partial(_is_up, link)
    return Adapters(
        clock=clock,
        telemetry=telemetry,
        sources=_sources(common, letters, frame_room),
        journal=store.journal,
        ledger=store.ledger,
        registry=store.registry,
        loader=VisionLoader(config.engine, config.agent.state_dir / "engines"),
        sink=sink,
        gate_line=gate_line,
        images=store.images,
        dead_letters=letters,
        late_frames=store.late_frames,
        decode=decoder(),
        take_events=telemetry.take_events,
        events_stored=telemetry.events_stored,
        frame_room=frame_room,
        command_channel=command_channel,
        gate_owners=owners,
        ack_line=ack_line,
        command_keys=command_keys(config),
    )


def command_keys(config: Config) -> list[CommandKey]:
    """The keys of commands with their secrets. Raises ConfigError for those that are missing or too short."""
    keys, faults = [], []
    for section in config.command_key:
        try:
            key = secret(section.key_secret).get_secret_value()
        except ConfigError as error:
            faults += error.faults
            continue
        if len(key) < LEAST_KEY_CHARACTERS:
            faults.append(f"the secret {section.key_secret!r} has less than {LEAST_KEY_CHARACTERS} characters")
        keys.append(CommandKey(section.name, key.encode(), section.by, section.allow))
    if faults:
        raise ConfigError(faults)
    return keys


async def _reach(database: Database, common: Common, is_stopped: Callable[[], bool]) -> None:
    """Wait for the database, because only the database shows which frames have a row and which products are live."""
    is_told = False
    while True:
        try:
            await ensure_schema(database)
        except LedgerUnavailable as away:
            if is_stopped() or not away.retryable:
                raise
            if not is_told:
                common.tell("ledger_down", Severity.ALARM, "ledger", str(away))
                is_told = True
            await asyncio.sleep(START_RETRY_S)
        else:
            return


async def _open_dead_letters(stack: contextlib.AsyncExitStack, common: Common, held: Held) -> DeadLetters:
    """The Kafka topic if one is configured, with the folder as the fallback; else the folder alone."""
    config = common.config
    max_bytes = config.images.dead_letter_mib * MIB
    folder = FolderDeadLetters(config.agent.state_dir / "dead-letters", max_bytes=max_bytes, held=held)
    await stack.enter_async_context(folder)
    if config.kafka.dead_letter_topic is None:
        return folder
    from connectors.kafka.sinks import KafkaDeadLetters

    topic = await stack.enter_async_context(KafkaDeadLetters(config, common.clock, common.telemetry))
    return FirstDeadLetters([topic, folder])


def _sink(common: Common) -> VerdictSink:
    """Records go to MQTT if this agent uses it, and to Kafka if a topic is configured."""
    config, clock, telemetry = common.config, common.clock, common.telemetry
    sinks: dict[str, MqttVerdictSink | KafkaVerdictSink] = {}
    if uses_mqtt(config):
        sinks["records"] = MqttVerdictSink(config, clock, telemetry)
    if config.kafka.verdict_topic is not None:
        from connectors.kafka.sinks import KafkaVerdictSink

        sinks["records_kafka"] = KafkaVerdictSink(config, clock, telemetry)
    for name, sink in sinks.items():
        common.told.links[name] = partial(_is_up, sink)
        common.told.unsent.append(partial(_unsent, sink))
    return FanOutSink(list(sinks.values()))


def _is_up(link: Link) -> bool:
    return link.is_connected


def _unsent(sink: MqttVerdictSink | KafkaVerdictSink) -> int:
    return sink.unsent


def uses_mqtt(config: Config) -> bool:
    """False if all cameras are on Kafka, there is no gate, and MQTT is not configured."""
    is_all_kafka = bool(config.camera) and all(camera.source == "kafka" for camera in config.camera)
    return not is_all_kafka or bool(config.gate) or "mqtt" in config.model_fields_set


def _sources(common: Common, letters: DeadLetters, room: FrameRoom) -> dict[str, FrameSource]:
    """The source of each camera by the camera's name. All cameras on Kafka have one, which shares their partitions."""
    kafka: KafkaSource | None = None
    sources: dict[str, FrameSource] = {}
    for camera in common.config.camera:
        match camera.source:
            case "kafka":
                from connectors.kafka.source import KafkaSource

                kafka = kafka or KafkaSource(common.config, common.clock, common.telemetry, letters)
                sources[camera.name] = kafka
            case "mqtt":
                sources[camera.name] = MqttSource(common.config, camera, common.clock, common.telemetry, room)
            case "folder":
                sources[camera.name] = FolderSource(camera, common.clock, common.telemetry, room=room)
    return sources
