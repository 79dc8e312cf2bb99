"""Asks a broker for `inspector doctor` which agent owns each gate, and whether this agent could.

The question makes an owner repeat its notice. It claims nothing and leaves nothing in the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Final

from connectors.mqtt.gate_owners import decode_notice, encode_notice, known_identity, owner_topic
from connectors.mqtt.probe import ANSWER_S, Finding
from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer
from inspector.config.config import Config
from inspector.config.loading import secret
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError
from inspector.stream.ownership import BEAT_S, RETAINED, WAITS_AGAIN_S, Notice, Word

LISTEN_S: Final = WAITS_AGAIN_S + BEAT_S
"""Long enough for a notice of the owner, and for a question of each agent that waits."""

DOCTOR: Final = "doctor"


async def probe_owners(config: Config) -> list[Finding]:
    """One finding for each gate. Empty if the broker can't be reached, which `probe` has found already."""
    findings = []
    with contextlib.suppress(BrokerUnavailable, BrokerRefused, ConfigError):
        for gate in config.gate:
            findings.append(await _Listener(config, gate.name).ask())
    return findings


class _Listener(Peer):
    """Listens on the owner topic of one gate. A notice before its own question came back may be an old one."""

    def __init__(self, config: Config, gate: str) -> None:
        self._config = config
        self._gate = gate
        self._topic = owner_topic(config, gate)
        self._session = uuid.uuid4().hex
        self._came_back = asyncio.Event()
        self._stored: Notice | None = None
        self._live: Notice | None = None
        self._waiting: dict[str, Notice] = {}
        self._identity: str | None = None

    async def ask(self) -> Finding:
        """Connect and ask. Raises BrokerUnavailable, BrokerRefused, or ConfigError if a secret is missing."""
        subject = f"mqtt owner of {self._gate}"
        self._identity = await asyncio.to_thread(known_identity, self._config.agent.state_dir)
        name = self._config.mqtt.password_secret
        password = secret(name).get_secret_value() if name else None
        role = Role(f"{self._config.agent.name}:doctor")
        connection = Connection(self._config.mqtt, role, password, self)
        await connection.open()
        try:
            is_answered = await self._listen(connection)
        except BrokerRefused as refusal:
            return Finding(subject, False, f"{refusal} The gate would never be ready.")
        finally:
            await connection.close()
        if not is_answered:
            detail = f"no message to {self._topic} came back: the gate would never be ready; check the access list"
            return Finding(subject, False, detail)
        return Finding(subject, *self._verdict())

    async def _listen(self, connection: Connection) -> bool:
        await connection.subscribe([self._topic])
        question = Notice(DOCTOR, DOCTOR, self._session, term=0, epoch=0, number=1, word=Word.ASK)
        connection.publish(self._topic, encode_notice(question))
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._came_back.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(LISTEN_S)
        return True

    def _verdict(self) -> tuple[bool, str]:
        owner = self._live
        if owner is None:
            return True, f"no agent decides about its parts now{_last(self._stored)}"
        who = _named(owner)
        section = next(gate for gate in self._config.gate if gate.name == self._gate)
        is_of_group = all(self._config.camera_named(camera).source == "kafka" for camera in section.cameras)
        if self._is_mine(owner):
            if is_of_group or not self._waiting:
                return True, f"this agent, {who}, decides about its parts"
            others = ", ".join(sorted(_named(notice) for notice in self._waiting.values()))
            return False, (
                f"this agent, {who}, decides about its parts, but another agent serves the gate too and waits for it: "
                f"{others}. End one of them, or give one of them another gate or prefix"
            )
        if is_of_group:
            return True, f"the agent {who} of this group decides about its parts"
        return False, (
            f"the agent {who} decides about its parts, so this agent tells the gate nothing (gate_owned_by_other). "
            "End one of the two, or give one of them another gate or prefix"
        )

    def _is_mine(self, notice: Notice) -> bool:
        return (notice.agent, notice.identity) == (self._config.agent.name, self._identity)

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        notice = decode_notice(message.payload) if message.topic == self._topic else None
        if notice is None:
            return
        if notice.session == self._session:
            self._came_back.set()
        elif notice.word is Word.ONLINE and self._came_back.is_set():
            self._live = notice
        elif notice.word in RETAINED:
            self._live, self._stored = None, notice
        elif self._came_back.is_set() and notice.identity != DOCTOR and not self._is_mine(notice):
            self._waiting[notice.session] = notice


def _named(notice: Notice) -> str:
    return f"{notice.agent} (session {notice.session})"


def _last(stored: Notice | None) -> str:
    """What the retained notice says of an owner that is not there."""
    if stored is None:
        return ""
    ended = "gave it up" if stored.word is Word.FREE else "ended without giving it up"
    return f"; the last, {_named(stored)}, {ended} in epoch {stored.epoch}"
