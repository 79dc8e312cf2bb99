"""Verdict records on MQTT for people and dashboards; no gate listens to them.

Records are stored and forwarded in order, in bounded memory. When it is full the oldest records are dropped, with one
event per episode and a counter. A receiver may see a record twice and recognises it by its `result_id`. Health
and state are retained and published anew on every connection, with a last will.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import orjson

from connectors.mqtt.wire.client import Role, Will
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.domain import SCHEMA_VERSION, Event, Outcome, Severity, Verdict
from inspector.files import make_folder, write_text
from inspector.ports import Clock, Telemetry
from inspector.stream.verdict_record import verdict_record

GOODBYE_FLUSH_S: Final = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    topic: str
    payload: bytes


class MqttVerdictSink(Peer):
    """A VerdictSink over MQTT. Entered means connected, or still trying; entering raises BrokerRefused."""

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._prefix = config.agent.prefix
        self._bound = config.mqtt.record_queue
        self._clock = clock
        self._telemetry = telemetry
        self._agent = config.agent.name
        self._session_id = uuid.uuid4().hex
        self._session_file = session_file(config)
        self._agent_topic = f"agent/{config.agent.name}/state"
        self._stale_states: dict[str, None] = {}
        self._is_refusal_told = False
        self._states: dict[str, bytes] = {self._agent_topic: self._state_payload({"state": "online"})}
        will = Will(f"{self._prefix}/{self._agent_topic}", self._state_payload({"state": "offline"}))
        self._session = Session(config.mqtt, Role(f"{config.agent.name}:records", will=will), peer=self)
        self._waiting: deque[_Record] = deque()
        self._in_flight: dict[_Record, None] = {}  # in the order sent
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_dropping = False
        self._audit: Any = None

    @property
    def is_connected(self) -> bool:
        return self._session.connection is not None

    @property
    def unsent(self) -> int:
        """The number of records that the broker has not taken yet."""
        return len(self._waiting) + len(self._in_flight)

    async def __aenter__(self) -> Self:
        with contextlib.suppress(OSError):  # without it the doctor can't identify this agent
            await asyncio.to_thread(_write, self._session_file, self._session_id)
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.is_connected:
            await self.flush(GOODBYE_FLUSH_S)
        if self.unsent:
            self._report("records_lost", f"{self.unsent} records were not taken by the broker before the end")
        await self._say_offline()
        await self._session.__aexit__(*exc)

    async def publish(self, verdict: Verdict) -> None:
        """Accept a record for delivery on `{camera}/verdict`; a reject is also sent on `{camera}/reject`."""
        payload = orjson.dumps(verdict_record(verdict))
        self._accept(_Record(f"{self._prefix}/{verdict.camera}/verdict", payload))
        if verdict.outcome is Outcome.REJECT:
            self._accept(_Record(f"{self._prefix}/{verdict.camera}/reject", payload))

    async def state(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Publish a retained message below the prefix (`cam1/health`). Each connection publishes the newest again."""
        self._states[topic] = self._state_payload(payload)
        if topic == self._agent_topic:
            self._audit = payload.get("audit")
        self._stale_states[topic] = None
        self._changed.set()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has taken every record; False if the time is over first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        return not self.unsent

    # --- callbacks of the session ---

    def connected(self, _connection: Connection, _session_present: bool) -> None:
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        self._stale_states = dict.fromkeys(self._states)
        self._is_refusal_told = False

    async def serve(self, connection: Connection) -> None:
        while connection.is_open:
            self._changed.clear()
            while connection.send_room and self._stale_states:
                topic, _ = self._stale_states.popitem()
                connection.publish(f"{self._prefix}/{topic}", self._states[topic], retain=True)
            while connection.send_room and self._waiting:
                record = self._waiting.popleft()
                self._in_flight[record] = None
                answer = connection.publish(record.topic, record.payload)
                answer.add_done_callback(partial(self._answered, connection, record))
            await self._changed.wait() if connection.send_room else await connection.wait_for_room()

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    # --- inside ---

    def _accept(self, record: _Record) -> None:
        self._idle.clear()
        self._waiting.append(record)
        if self.unsent > self._bound:
            self._waiting.popleft()
            self._telemetry.count("records_dropped")
            if not self._is_dropping:
                self._is_dropping = True
                self._report("records_dropped", f"the broker is away or slow; only the newest {self._bound} are kept")
        self._changed.set()

    def _answered(self, connection: Connection, record: _Record, answer: asyncio.Future[bool]) -> None:
        if not answer.result() and not connection.is_open:
            return  # lost, not refused: it goes out again on the next connection
        if not answer.result():
            self._telemetry.count("records_refused")
            if not self._is_refusal_told:
                self._is_refusal_told = True
                self._report("records_refused", f"the broker does not take records on {record.topic}")
        self._in_flight.pop(record, None)
        self._changed.set()
        if not self.unsent:
            self._is_dropping = False
            self._idle.set()

    async def _say_offline(self) -> None:
        """Publish the state "offline" before an orderly goodbye, after which the broker does not send the last will."""
        connection = self._session.connection
        if connection is None:
            return
        payload = self._state_payload({"state": "offline", "audit": self._audit})
        answer = connection.publish(f"{self._prefix}/{self._agent_topic}", payload, retain=True)
        await asyncio.wait([answer], timeout=1.0)
        if not answer.done() or not answer.result():
            connection.abort("the broker did not take the goodbye")

    def _state_payload(self, payload: Mapping[str, Any]) -> bytes:
        return orjson.dumps({"schema": SCHEMA_VERSION, **payload, "session": self._session_id})

    def _report(self, kind: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, self._agent_topic, detail))


def session_file(config: Config) -> Path:
    """The file in the state folder that holds the id of the agent's last session, as on its state topic."""
    return config.agent.state_dir / "mqtt-session"


def _write(path: Path, text: str) -> None:
    make_folder(path.parent)
    write_text(path, text)
