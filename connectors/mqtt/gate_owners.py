"""The owners of gates over MQTT: one retained topic for each gate, on which all agents say and read who owns it.

The rules are in `inspector.stream.ownership`. Beside it each agent has a retained topic that says whether it is at the
gate, with a last will `offline`. Each gate has a client of its own, because a client has one will only. Nobody relies
on a retained message: a broker that died keeps an old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import orjson

from connectors.mqtt.wire.client import Message, Role, Will
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config
from inspector.domain import Event, GateOwner, GateState, Severity
from inspector.files import make_folder, read_regular, write_text
from inspector.ports import Clock, Telemetry
from inspector.stream.gate_record import gate_from_record, gate_record
from inspector.stream.handover import handed_over
from inspector.stream.ownership import RETAINED, Notice, Ownership, Word

VERSION: Final = 1
MOST_IDENTITY_BYTES: Final = 4096
TICK_S: Final = 0.05
"""Longest time between two looks whether a notice is due."""

GOODBYE_S: Final = 1.0
LARGEST: Final = 2**53
"""Terms, epochs and numbers beyond are refused, so that the next one is a number too."""


class MqttGateOwners:
    """The port `GateOwners` over MQTT. Entered means connected, or still trying; entering raises BrokerRefused."""

    def __init__(self, config: Config, clock: Clock, telemetry: Telemetry) -> None:
        self._state_dir = config.agent.state_dir
        self._clock = clock
        self._config = config
        self._telemetry = telemetry
        self._stack = contextlib.AsyncExitStack()
        self._gates: dict[str, _Gate] = {}
        self._denied: set[str] = set()
        self.session = uuid.uuid4().hex
        self.identity = ""

    async def __aenter__(self) -> Self:
        self.identity = await asyncio.to_thread(ensure_identity, self._state_dir)
        async with contextlib.AsyncExitStack() as stack:
            for section in self._config.gate:
                ownership = Ownership(self._config.agent.name, self.identity, self.session)
                gate = _Gate(self._config, section.name, ownership, self._clock, self._telemetry)
                self._gates[section.name] = await stack.enter_async_context(gate)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def want(self, gates: Mapping[str, GateState]) -> None:
        for name, gate in self._gates.items():
            gate.want(gates.get(name))

    def owns(self, gate: str) -> bool:
        is_taken_over = self._gates[gate].ownership.predecessor is None
        return is_taken_over and gate not in self._denied and self.is_claimed(gate)

    def is_claimed(self, gate: str) -> bool:
        return self._gates[gate].ownership.is_owned(self._clock.monotonic_ns())

    def rival(self, gate: str) -> GateOwner | None:
        return _owner(gate, self._gates[gate].ownership.rival(self._clock.monotonic_ns()))

    def contender(self, gate: str) -> GateOwner | None:
        return _owner(gate, self._gates[gate].ownership.contender(self._clock.monotonic_ns()))

    def predecessor(self, gate: str) -> GateOwner | None:
        return _owner(gate, self._gates[gate].ownership.predecessor)

    def succeed(self, gate: str) -> None:
        self._gates[gate].ownership.succeed()

    def is_settled(self, gate: str) -> bool:
        return self._gates[gate].ownership.is_settled(self._clock.monotonic_ns())

    def is_unanswered(self, gate: str) -> bool:
        return self._gates[gate].ownership.is_unanswered(self._clock.monotonic_ns())

    def heard(self, gate: str) -> frozenset[str]:
        return self._gates[gate].ownership.heard_sessions

    def deny(self, gate: str, is_denied: bool) -> None:
        (self._denied.add if is_denied else self._denied.discard)(gate)


class _Gate(Peer):
    """The client of one gate. It sends the notices that `ownership` asks for while the link is up."""

    def __init__(self, config: Config, gate: str, ownership: Ownership, clock: Clock, telemetry: Telemetry) -> None:
        self.ownership = ownership
        self._agent = config.agent.name
        self._topic = owner_topic(config, gate)
        self._clock = clock
        self._telemetry = telemetry
        self._state: GateState | None = None
        self._told_state: GateState | None = None
        self._changed = asyncio.Event()
        self._presence_topic = f"{self._topic}/{config.agent.name}"
        will = Will(self._presence_topic, self._presence_payload("offline"))
        role = Role(f"{config.agent.name}:gates:{gate}", will=will)
        self._session = Session(config.mqtt, role, peer=self)

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._state = self._told_state = None
        connection = self._session.connection
        if connection is not None:
            answers = self._send_due(connection)
            answers.append(connection.publish(self._presence_topic, b"", retain=True))  # which clears it
            await asyncio.wait(answers, timeout=GOODBYE_S)
        await self._session.__aexit__(*exc)

    def want(self, state: GateState | None) -> None:
        """Claim the gate, which stands at this state; None gives it up."""
        if state != self._state:
            self._state = state
            self._told_state = None if state is None else handed_over(state)
            self._changed.set()

    # --- callbacks of the session ---

    async def prepare(self, connection: Connection) -> None:
        await connection.subscribe([self._topic])

    def connected(self, _connection: Connection, _session_present: bool) -> None:
        self.ownership.begin()

    def disconnected(self) -> None:
        self.ownership.end()

    async def serve(self, connection: Connection) -> None:
        connection.publish(self._presence_topic, self._presence_payload("online"), retain=True)
        loop = asyncio.get_running_loop()
        while connection.is_open:
            self._changed.clear()
            self._send_due(connection)
            # On a full multiple of the tick, so that one turn of the loop serves all gates.
            tick = loop.call_at((loop.time() // TICK_S + 1) * TICK_S, self._changed.set)
            try:
                await self._changed.wait()
            finally:
                tick.cancel()

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        notice = decode_notice(message.payload)
        if message.topic == self._topic and notice is not None:
            self.ownership.hear(notice, self._clock.monotonic_ns())
            self._changed.set()

    def _presence_payload(self, state: str) -> bytes:
        return orjson.dumps({"v": VERSION, "agent": self._agent, "session": self.ownership.session, "state": state})

    def _send_due(self, connection: Connection) -> list[asyncio.Future[bool]]:
        if not connection.send_room:
            return []
        state = self._state
        notices = self.ownership.due(
            self._clock.monotonic_ns(),
            is_wanted=state is not None,
            epoch=0 if state is None else state.epoch,
            state=self._told_state,
        )
        return [
            connection.publish(self._topic, encode_notice(notice), retain=notice.word in RETAINED) for notice in notices
        ]


def owner_topic(config: Config, gate: str) -> str:
    """The topic on which agents say who owns this gate."""
    return f"{config.agent.prefix}/gate/{gate}/owner"


def encode_notice(notice: Notice) -> bytes:
    return orjson.dumps(
        {
            "v": VERSION,
            "agent": notice.agent,
            "identity": notice.identity,
            "session": notice.session,
            "term": notice.term,
            "ep": notice.epoch,
            "n": notice.number,
            "state": notice.word.value,
            "gate": None if notice.state is None else gate_record(notice.state),
        }
    )


def decode_notice(payload: bytes) -> Notice | None:
    """None for a payload of any other form, for example the empty one that clears a retained message."""
    try:
        table = orjson.loads(payload)
        texts = [table[key] for key in ("agent", "identity", "session")]
        numbers = [table[key] for key in ("term", "ep", "n")]
        word = Word(table["state"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    if not all(isinstance(text, str) for text in texts) or not all(_is_count(number) for number in numbers):
        return None
    agent, identity, session = texts
    term, epoch, number = numbers
    return Notice(agent, identity, session, term, epoch, number, word, _state(table.get("gate")))


def _state(record: Any) -> GateState | None:
    """None if the owner tells no state, or one that this software can't read: its epoch still counts."""
    with contextlib.suppress(ValueError):
        return gate_from_record(record) if isinstance(record, dict) else None
    return None


def _owner(gate: str, notice: Notice | None) -> GateOwner | None:
    if notice is None:
        return None
    return GateOwner(gate, notice.agent, notice.session, notice.epoch, identity=notice.identity, state=notice.state)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= LARGEST


def identity_file(state_dir: Path) -> Path:
    """The file in the state folder that holds the agent's identity, made at its first start with a gate."""
    return state_dir / "agent-identity"


def ensure_identity(state_dir: Path) -> str:
    """The agent's identity, which it keeps over restarts. A folder that can't be written gives a new one each time."""
    known = known_identity(state_dir)
    if known is not None:
        return known
    file, identity = identity_file(state_dir), uuid.uuid4().hex
    with contextlib.suppress(OSError):
        make_folder(file.parent)
        write_text(file, identity)
    return identity


def known_identity(state_dir: Path) -> str | None:
    """The identity of the agent with this state folder; None if it has none yet."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return read_regular(identity_file(state_dir), MOST_IDENTITY_BYTES).decode("ascii").strip() or None
    return None
