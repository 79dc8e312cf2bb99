"""Verdict records and dead letters on Kafka topics.

Records are stored and forwarded in order, in bounded memory. When it is full the oldest records are dropped, with one
event per episode and a counter. A receiver may see a record twice and recognises it by its `result_id`.
Letters are durable when `put` returns. If `put` raises, the caller has to keep the letter.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from connectors.kafka.wire.client import Pause
from connectors.kafka.wire.link import Link
from connectors.kafka.wire.producer import Producer
from inspector.config.config import Config
from inspector.domain import DeadLetter, Event, Severity, Verdict
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError
from inspector.ports import Clock, Telemetry
from inspector.stream.verdict_record import verdict_record

FLUSH_S: Final = 1.5
BATCH_RECORDS: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    key: str
    payload: bytes


class KafkaVerdictSink:
    """A VerdictSink on the topic `kafka.verdict_topic`, keyed by gate, else by camera.

    Entered means connected, or still trying; entering raises BrokerRefused if the cluster refuses this agent.
    """

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._topic = config.kafka.verdict_topic or ""
        self._settings = config.kafka
        self._clock = clock
        self._telemetry = telemetry
        self._producer = Producer(config.kafka, f"{config.agent.name}-records", (self._topic,))
        self._link = Link(config.kafka, clock, telemetry, "kafka records")
        self._waiting: deque[_Record] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._sending: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_dropping = False

    @property
    def is_connected(self) -> bool:
        return self._link.is_up

    @property
    def unsent(self) -> int:
        """The number of records that the cluster has not taken yet."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        try:
            await self._producer.ensure_started()
        except BrokerUnavailable as error:
            self._link.note_down(error)
        else:
            self._link.note_up(f"records go to {self._topic}")
        self._sending = asyncio.create_task(self._send_all(), name="kafka records")
        self._watching = asyncio.create_task(self._link.watch(), name="kafka records watch")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._link.is_up:
            await self.flush(FLUSH_S)
        tasks = [task for task in (self._sending, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.unsent:
            self._report("records_lost", f"{self.unsent} records were not taken by the cluster before the end")
        await self._producer.drop()

    async def publish(self, verdict: Verdict) -> None:
        """Accept a record for delivery, without waiting for the cluster. If the sender has failed, raises its error."""
        if self._sending is not None and self._sending.done():
            self._sending.result()
        self._idle.clear()
        self._waiting.append(_Record(verdict.gate or verdict.camera, orjson.dumps(verdict_record(verdict))))
        if len(self._waiting) > self._settings.record_queue:
            self._waiting.popleft()
            self._telemetry.count("records_dropped")
            if not self._is_dropping:
                self._is_dropping = True
                bound = self._settings.record_queue
                self._report("records_dropped", f"the cluster is away or slow; only the newest {bound} are kept")
        self._changed.set()

    async def state(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Does nothing: Kafka has no retained messages. Health and state are published on MQTT."""

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the cluster has taken every record; False if the time is over first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        return not self.unsent

    async def _send_all(self) -> None:
        pause = Pause(self._settings)
        while True:
            if not self._waiting:
                self._is_dropping = False
                self._idle.set()
                self._changed.clear()
                await self._changed.wait()
            batch = list(itertools.islice(self._waiting, BATCH_RECORDS))
            try:
                await self._send(batch)
            except (BrokerUnavailable, BrokerRefused) as error:
                self._link.note_down(error)
                await pause.after(error)
            else:
                pause.reset()
                self._link.note_up(f"records go to {self._topic}")

    async def _send(self, batch: list[_Record]) -> None:
        """Send a batch. Records leave the queue up to the first one that the cluster did not take."""
        answers = []
        try:
            for record in batch:
                answers.append((record, await self._producer.begin(self._topic, record.payload, record.key)))
        finally:
            outcomes = await asyncio.gather(*(answer for _, answer in answers), return_exceptions=True)
            for (record, _), outcome in zip(answers, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    break
                # A newer record may have pushed this one out of the queue meanwhile.
                if self._waiting and self._waiting[0] is record:
                    self._waiting.popleft()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _report(self, kind: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, self._topic, detail))


class KafkaDeadLetters:
    """DeadLetters on the topic `kafka.dead_letter_topic`: the unchanged bytes, with the reason in the headers.

    While the cluster is away, most calls of `put` raise at once; from time to time a call tries the cluster.
    """

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._topic = config.kafka.dead_letter_topic or ""
        self._retry_ns = int(config.kafka.reconnect_max_s * 1e9)
        self._clock = clock
        self._producer = Producer(config.kafka, f"{config.agent.name}-dead-letters", (self._topic,))
        self._telemetry = telemetry
        self._failed: tuple[int, InspectorError] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._producer.ensure_started()
        except BrokerUnavailable as error:
            self._note_failed(error)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._producer.drop()

    async def put(self, letter: DeadLetter) -> None:
        """Store a letter; the cluster has it when this returns. Raises BrokerUnavailable or BrokerRefused."""
        if self._failed is not None and self._clock.monotonic_ns() - self._failed[0] < self._retry_ns:
            raise self._failed[1]
        reason = {
            "x-result-id": letter.result_id,
            "x-camera": letter.camera,
            "x-cause": letter.cause.value,
            "x-detail": letter.detail,
        }
        headers = [(name, value.encode("utf-8", "replace")) for name, value in {**letter.properties, **reason}.items()]
        try:
            await self._producer.send(self._topic, letter.payload, letter.camera, headers)
        except BrokerUnavailable as error:
            self._note_failed(error)
            raise
        if self._failed is not None:
            self._failed = None
            self._report("dead_letter_topic_up", Severity.INFO, "letters go there again")

    def _note_failed(self, error: InspectorError) -> None:
        if self._failed is None:
            self._report("dead_letter_topic_down", Severity.WARNING, f"letters stay in the folder: {error}")
        self._failed = (self._clock.monotonic_ns(), error)

    def _report(self, kind: str, severity: Severity, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, self._topic, detail))
