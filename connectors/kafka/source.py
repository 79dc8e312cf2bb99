"""Frames of all Kafka cameras of one agent: one consumer in a group, each partition a stream of its own.

Each assignment of partitions is a generation. A position of an earlier generation acknowledges nothing, and
uncommitted records are delivered again, to this agent or to another agent. The poll loop moves records into bounded
lanes, one for each partition, and never waits for the road: a full lane pauses its partition. Offsets are committed
only for acknowledged records. Before partitions are given up, frames under way get a short time to finish, so that
few frames are delivered twice.
aiokafka supports only eager rebalancing. The sticky assignor leaves partitions where they are as far as possible.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from connectors.kafka.records import Arrived, CameraFinder, delivery_of
from connectors.kafka.strays import Strays
from connectors.kafka.wire.age_watch import AgeWatch
from connectors.kafka.wire.client import Pause, ensure_usable
from connectors.kafka.wire.commits import Commits
from connectors.kafka.wire.lag import LagWatch
from connectors.kafka.wire.lane import Bounds, Lane
from connectors.kafka.wire.link import Link
from connectors.kafka.wire.members import new_consumer, partition_of
from connectors.kafka.wire.refusal import translated
from connectors.kafka.wire.removed import RemovedRecords, beginning_of
from connectors.kafka.wire.trouble import Trouble
from inspector.config.config import Config
from inspector.domain import Delivery, Position
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError
from inspector.ports import Clock, DeadLetters, MakeReady, Telemetry
from inspector.stream.age import marker_period_ms

GOODBYE_S = 3.0
ENTER_S = 30.0
POLL_RECORDS = 64
LOOK_AGAIN_MS = 20
"""Milliseconds that a poll waits while a partition is paused. Short, because its lane may soon have room again."""

NOTHING = TopicPartition("", -1)
"""A partition that does not exist. It is polled while no lane has room, because the group requires regular polls."""


class KafkaSource(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka comes without types
    """A FrameSource over every Kafka camera. Entered means that partitions are assigned, or still being sought.

    Entering raises BrokerRefused if the cluster refuses this agent, and ConfigError if a secret is missing.
    Records of cameras that are not configured are reported, kept in `letters`, and acknowledged.
    """

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry, letters: DeadLetters) -> None:
        self._config = config
        self._settings = config.kafka
        self._clock = clock
        self._telemetry = telemetry
        self._finder = CameraFinder(config)
        self._strays = Strays(clock, telemetry, letters)
        self._removed = RemovedRecords(clock, telemetry)
        self._lag = LagWatch(telemetry)
        self._link = Link(config.kafka, clock, telemetry, "kafka source")
        self._lanes: dict[TopicPartition, Lane] = {}
        self._pumps: dict[Lane, asyncio.Task[None]] = {}
        self._offers: deque[tuple[Lane, Delivery, asyncio.Future[None]]] = deque()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._tried = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._commits: Commits | None = None
        self._running: asyncio.Task[None] | None = None
        self._opening: list[asyncio.Task[None]] = []
        self._first_error: InspectorError | None = None
        self._make_ready: MakeReady | None = None
        self._is_delivering = False
        self._generation = 0
        self._seen_on: dict[str, TopicPartition] = {}
        self._is_paused = False
        self._is_stopped = False
        self._age_period_ms = _age_period_ms(config)

    @property
    def name(self) -> str:
        return f"kafka:{self._settings.group}"

    @property
    def is_connected(self) -> bool:
        """Whether the cluster answers and has assigned partitions; the assignment may be empty.

        A partition that has no leader yet is no lost link: the others go on, and the ages of its own frames can't be
        proved.
        """
        lanes = self._lanes.values()
        return self._link.is_up and (not lanes or any(lane.end_offset is not None for lane in lanes))

    def serves(self, camera: str, /) -> bool:
        """Whether this agent has the camera's partition: that of the camera's last frame, else that of its key."""
        return bool(self._partitions_of(camera))

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name=self.name)
        self._running.add_done_callback(lambda _: self._wake())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENTER_S):
                await self._tried.wait()
        if self._running.done() or isinstance(self._first_error, BrokerRefused):
            await self._end()
            self._raise_failure()
            raise self._first_error or BrokerUnavailable("The Kafka source ended before it began.")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_intake()
        if self._commits is not None and self._link.is_up:
            await self._commits.flush(GOODBYE_S)
        await self._end()

    async def deliveries(self, make_ready: MakeReady | None = None, /) -> AsyncIterator[Delivery]:
        """Every delivery, across reconnects, until `stop_intake`; none while paused. One consumer only."""
        self._make_ready = make_ready
        self._is_delivering = True
        for lane in self._lanes.values():
            self._start_pump(lane)
        while not self._is_stopped:
            self._raise_failure()
            if self._is_paused or not self._offers:
                self._changed.clear()
                await self._changed.wait()
                continue
            lane, delivery, taken = self._offers.popleft()
            if lane.is_closed or taken.cancelled():
                continue
            lane.hand_out(delivery.position.offset)
            taken.set_result(None)
            yield delivery

    def age_bound_ns(self, camera: str, /) -> int | None:
        """The age bound of the camera's partition: the partition of its last frame, else the partition of its key."""
        now_ns = self._clock.monotonic_ns()
        oldest_ns = [self._lanes[each].next_not_before_ns() for each in self._partitions_of(camera)]
        known = [not_before_ns for not_before_ns in oldest_ns if not_before_ns is not None]
        return now_ns - min(known) if known and len(known) == len(oldest_ns) else None

    async def acknowledge(self, position: Position) -> bool:
        """Let the offsets up to `position` be committed. False if the assignment of its partition is over."""
        lane = next((each for each in self._lanes.values() if each.stream == position.stream), None)
        if lane is None or lane.generation != position.generation:
            return False
        self._settle(lane, position.offset)
        return True

    def confirmation(self, _position: Position, /) -> None:
        """None: a record that comes again is known by its offset, whether or not that was committed."""

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._wake()

    async def stop_intake(self) -> None:
        """No new delivery after this. The agent stays a member of the group until the source is left."""
        self._is_stopped = True
        for task in self._pumps.values():
            task.cancel()
        self._wake()

    # --- callbacks of the group, through aiokafka ---

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 - all of them, always
        """Deliver nothing new and let frames under way finish. After that their positions acknowledge nothing."""
        await self._stop_pumps()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.handover_ms / 1000):
                while not all(lane.is_settled for lane in self._lanes.values()):
                    self._settled.clear()
                    await self._settled.wait()
                if self._commits is not None:
                    await self._commits.flush(self._settings.handover_ms / 1000)
        self._drop_lanes()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Make the lanes of the new generation. They open when the ends of their partitions are known."""
        self._drop_lanes()
        self._generation += 1
        bounds = lane_bounds(self._config, len(assigned))
        self._lanes = {partition: Lane(partition, self._generation, bounds) for partition in assigned}
        if self._consumer is not None:
            self._consumer.pause(*assigned)
            for lane in self._lanes.values():
                self._opening.append(asyncio.create_task(self._open_lane(self._consumer, lane)))
                self._opening[-1].add_done_callback(lambda _: self._wake())
        if not assigned:
            self._note_assigned()

    # --- inside ---

    def _partitions_of(self, camera: str) -> list[TopicPartition]:
        """The assigned partitions on which the camera's frames come."""
        seen = self._seen_on.get(camera)
        if seen is not None or self._consumer is None:
            return [seen] if seen in self._lanes else []
        key, topics = self._key_of(camera), self._consumer.subscription()
        placed = (partition_of(self._consumer, topic, key) for topic in topics)
        return [partition for partition in placed if partition in self._lanes]

    async def _run(self) -> None:
        pause = Pause(self._settings)
        while True:
            try:
                await self._live(pause)
            except (KafkaError, OSError, InspectorError) as failure:
                error = translated(failure, self._settings.bootstrap)
                if not isinstance(error, BrokerRefused | BrokerUnavailable):
                    raise
                self._first_error = None if self._tried.is_set() else error
                self._link.note_down(error)
                self._tried.set()
                await pause.after(error)

    async def _live(self, pause: Pause) -> None:
        """Run one consumer from its start to its end. Raises the error that ended it."""
        await ensure_usable(self._settings, () if self._settings.topic_pattern else self._topics())
        consumer = self._consumer = new_consumer(self._config)
        self._commits = Commits(consumer.commit, lambda error: self._strays.commit_refused(str(error)))
        try:
            self._link.note_reached()
            consumer.subscribe(
                topics=() if self._settings.topic_pattern else self._topics(),
                pattern=self._settings.topic_pattern,
                listener=self,
            )
            await consumer.start()
            pause.reset()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commits.run())
                tasks.create_task(self._link.watch())
                tasks.create_task(self._lag.run(consumer, lambda: self._lanes, self._seen_on))
                tasks.create_task(self._removed.run(consumer))
                tasks.create_task(self._poll(consumer))
                if self._age_period_ms is not None:
                    watch = AgeWatch(self._config, self._clock, self._age_period_ms)
                    tasks.create_task(watch.run(lambda: self._lanes))
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            await self._leave(consumer)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """Move records into their lanes until cancelled. This task waits only for the cluster."""
        while True:
            wanted = self._regulate(consumer)
            is_all_open = bool(wanted) and len(wanted) == len(self._lanes)
            timeout_ms = self._settings.poll_ms if is_all_open else LOOK_AGAIN_MS
            fetched = await consumer.getmany(*wanted or [NOTHING], timeout_ms=timeout_ms, max_records=POLL_RECORDS)
            at, at_ns = self._clock.now(), self._clock.monotonic_ns()
            for partition, records in fetched.items():
                lane = self._lanes.get(partition)
                if lane is None or lane.is_closed:
                    consumer.seek(partition, records[0].offset)
                else:
                    if (expected := lane.expected_offset) is not None and expected < records[0].offset:
                        self._removed.suspect(partition, expected, records[0].offset)
                    lane.put(Arrived(record, at, at_ns) for record in records)

    def _regulate(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """Pause the partitions of full lanes and resume those with room. Returns the partitions to poll."""
        wanted: list[TopicPartition] = []
        assigned = consumer.assignment()
        for partition, lane in self._lanes.items():
            if partition not in assigned:
                continue
            if lane.wants_more and lane.end_offset is not None and not self._is_paused and not self._is_stopped:
                consumer.resume(partition)
                wanted.append(partition)
            else:
                consumer.pause(partition)
        return wanted

    async def _open_lane(self, consumer: AIOKafkaConsumer, lane: Lane) -> None:
        """Query the end of the partition now. Records before it have waited and are backlog.

        Each partition is queried by itself, because one without a leader has no end, and must not hold up the others.
        """
        partition, trouble = lane.partition, Trouble(self._clock, self._telemetry, lane.partition)
        while True:
            try:
                committed: int | None = await consumer.committed(partition)
                begins = await beginning_of(consumer, partition)
                end = (await consumer.end_offsets([partition]))[partition]
                break
            except KafkaError as error:
                trouble.goes_on(str(error) or type(error).__name__)
                await asyncio.sleep(self._settings.reconnect_min_s)
        if committed is not None:
            if self._removed.note(partition, committed, begins) and self._commits is not None:
                self._commits.note(partition, begins)  # else each start would tell it again
            lane.expect(max(committed, begins))
        lane.open(end)
        trouble.is_over()
        if self._is_delivering:
            self._start_pump(lane)
        self._note_assigned()

    def _note_assigned(self) -> None:
        self._link.note_up(f"{len(self._lanes)} partitions of {', '.join(sorted(self._topics_read()))}")
        self._tried.set()

    def _start_pump(self, lane: Lane) -> None:
        if lane.end_offset is not None and lane not in self._pumps and not self._is_stopped:
            self._pumps[lane] = asyncio.create_task(self._pump(lane), name=f"{lane.stream} pump")
            self._pumps[lane].add_done_callback(lambda _: self._wake())

    async def _pump(self, lane: Lane) -> None:
        """Hand one lane's records to the road, each as soon as the road is ready for it."""
        while True:
            arrived = await lane.next()
            offset = arrived.record.offset
            camera = self._finder.find(arrived.record)
            if camera is None:
                await self._strays.keep(arrived)
                lane.hand_out(offset, is_done=True)
                self._settle(lane)
                continue
            self._seen_on[camera.name] = lane.partition
            position = lane.position_of(offset)
            not_before_ns = lane.not_before_ns(offset)
            delivery = delivery_of(
                arrived, camera, position, is_backlog=lane.is_backlog(offset), not_before_ns=not_before_ns
            )
            if self._make_ready is not None:
                await self._make_ready(delivery)
            taken = asyncio.get_running_loop().create_future()
            self._offers.append((lane, delivery, taken))
            self._changed.set()
            await taken

    def _settle(self, lane: Lane, offset: int | None = None) -> None:
        commit = lane.settle(offset)
        if commit is not None and self._commits is not None:
            self._commits.note(lane.partition, commit)
        self._settled.set()

    async def _stop_pumps(self) -> None:
        for task in self._pumps.values():
            task.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps.values())
        self._pumps.clear()
        self._offers.clear()

    def _drop_lanes(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes = {}
        if self._commits is not None:
            self._commits.forget()
        for task in self._opening:
            task.cancel()
        self._opening.clear()

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        await self._stop_pumps()
        self._drop_lanes()
        self._consumer = None
        # A cluster that is away gets no goodbye; the group notices the missing member by itself.
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(GOODBYE_S):
                await consumer.stop()

    async def _end(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _raise_failure(self) -> None:
        """Raise the error that ended a task. A fault in this software must not look like a line without frames."""
        for task in [*self._pumps.values(), *self._opening, *([self._running] if self._running else [])]:
            if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    def _wake(self) -> None:
        if self._running is not None and self._running.done():
            self._tried.set()
        self._changed.set()

    def _topics(self) -> tuple[str, ...]:
        return self._config.kafka_topics

    def _topics_read(self) -> set[str]:
        return {partition.topic for partition in self._lanes} or {"nothing yet"}

    def _key_of(self, camera: str) -> str:
        gate = self._config.gate_of(camera)
        return gate.name if gate is not None else camera


def lane_bounds(config: Config, partitions: int) -> Bounds:
    """The bounds of each partition: all that wait, of however many, together take no more than `agent.frames_mib`."""
    settings = config.kafka
    part_mib = min(settings.buffer_mib, config.agent.frames_mib / max(1, partitions))
    return Bounds(settings.buffer_frames, int(part_mib * 1024 * 1024), settings.in_flight)


def _age_period_ms(config: Config) -> float | None:
    """Milliseconds between two queries for the ends of partitions; None if no camera at a gate is on Kafka."""
    gates = (config.gate_of(camera.name) for camera in config.camera if camera.source == "kafka")
    periods = [marker_period_ms(gate.window_ms) for gate in gates if gate]
    return min(periods, default=None)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
