"""Checks a broker for `inspector doctor`: whether it answers, accepts the agent, and keeps messages during an absence.

The probe has its own client ids and its own topic. It sends nothing to camera, gate or record topics and leaves
nothing behind in the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from connectors.mqtt.command_channel import topics as command_topics
from connectors.mqtt.markers import marker_topic
from connectors.mqtt.verdict_sink import session_file
from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.config.loading import secret
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError
from inspector.files import read_regular
from inspector.stream.gate_fault import WORDS, Fault

BURST: Final = 1200
"""Messages of the queue test: more than the thousand that mosquitto keeps by default for an absent client."""

MOST_SESSION_BYTES: Final = 4096

DROPPED: Final = "$SYS/broker/publish/messages/dropped"
"""Topic on which mosquitto counts the messages that it has dropped for absent or slow clients."""

PACKET_ROOM_BYTES: Final = 64 * 1024
"""Bytes of a packet beside the frame: topic, properties, the other keys of a JSON frame."""

ANSWER_S: Final = 5.0
QUIET_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. `detail` says what the check showed, or what to do.

    `is_needed`: no part is judged, or told to its gate, without what was checked.
    """

    subject: str
    is_ok: bool
    detail: str
    is_needed: bool = True


async def probe(config: Config) -> list[Finding]:
    """Findings about the section `mqtt`, in the order of the checks. A failed check is a finding, not an exception."""
    settings = config.mqtt
    address = f"{settings.host}:{settings.port}"
    doctor = _Doctor(config)
    try:
        connection = await doctor.connect(is_persistent=False)
    except (BrokerUnavailable, BrokerRefused, ConfigError) as error:
        return [Finding("mqtt broker", False, str(error))]
    findings = [Finding("mqtt broker", True, f"{address} speaks MQTT {settings.protocol}")]
    try:
        findings.append(await doctor.check_name(connection))
        findings += doctor.check_gates()
        findings += _packet_size(config, connection.maximum_packet_bytes)
        findings.append(await doctor.check_round_trip(connection))
        for camera in _gated_cameras(config):
            if not connection.is_open:  # a broker may hang up on what it refuses
                connection = await doctor.connect(is_persistent=False)
            findings.append(await doctor.check_markers(connection, camera))
        for read in _topics_read(config):
            if not connection.is_open:
                connection = await doctor.connect(is_persistent=False)
            findings.append(await _subscription(connection, read))
        if not connection.is_open:
            connection = await doctor.connect(is_persistent=False)
        findings.append(await doctor.check_dropped(connection))
    except (BrokerUnavailable, BrokerRefused) as error:
        findings.append(Finding("mqtt broker", False, str(error)))
    finally:
        await connection.close()
    findings.append(await doctor.check_queue())
    return findings


class _Doctor(Peer):
    """Connects as the agent would, and counts the messages that return on its own topic."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._settings = config.mqtt
        self._client_id = f"{config.agent.name}:doctor"
        self._topic = f"{config.agent.prefix}/agent/{config.agent.name}/doctor"
        self._expected = b""
        self._expected_on = self._topic
        self._seen = 0
        self._came = asyncio.Event()
        self._agent = config.agent.name
        self._state_topic = f"{config.agent.prefix}/agent/{self._agent}/state"
        self._state_came = asyncio.Event()
        self._online: set[str] = set()
        self._gates: dict[str, str] = {}
        self._session_file = session_file(config)
        self._dropped: int | None = None
        self._count_came = asyncio.Event()

    async def connect(self, *, is_persistent: bool) -> Connection:
        """Connect. Raises BrokerUnavailable, BrokerRefused, or ConfigError if a secret is missing."""
        # The broker ends the session of a killed probe within a minute.
        settings = self._settings.model_copy(update={"session_expiry_s": min(60, self._settings.session_expiry_s)})
        role = Role(self._client_id, persistent=is_persistent)
        connection = Connection(settings, role, self._password(), self)
        await connection.open()
        return connection

    async def check_name(self, connection: Connection) -> Finding:
        """Whether another agent of this name, with another state folder, is at the broker."""
        subject = "mqtt agent name"
        with contextlib.suppress(BrokerUnavailable, BrokerRefused, TimeoutError):
            await connection.subscribe([self._state_topic])
            async with asyncio.timeout(QUIET_S):
                await self._state_came.wait()
        own = await asyncio.to_thread(_read, self._session_file)
        others = self._online - {own}
        if others:
            detail = (
                f"another agent named {self._agent} is online (session {min(others)} on {self._state_topic}), not the "
                "one of this state folder; two of one name take each other's connections for ever. Give each its own "
                "agent.name, or end the other one; a state that a broker kept of a dead agent is cleared by publishing "
                "an empty retained message there"
            )
            return Finding(subject, False, detail)
        said = "no other agent of this name is online" if self._state_came.is_set() else "no agent has used this name"
        return Finding(subject, True, said)

    def check_gates(self) -> Iterator[Finding]:
        """Whether each gate is ready, by what this agent says of it. None while the agent does not run.

        Reads what `check_name` has heard.
        """
        for gate in self._config.gate:
            with contextlib.suppress(KeyError):  # not said, or by a later version of the agent
                fault = Fault[self._gates[gate.name].upper()]
                subject = f"mqtt {gate.name} now"
                if fault is Fault.NONE:
                    yield Finding(subject, True, "ready")
                    continue
                detail = f"not ready, fault {fault}: {WORDS[fault]}; the gate's default applies to every part"
                yield Finding(subject, False, detail, is_needed=fault not in {Fault.HELD, Fault.STOPPING})

    async def check_round_trip(self, connection: Connection) -> Finding:
        """Whether a published message returns, as markers must."""
        subject = "mqtt publish and subscribe"
        self._expect_anew()
        started_s = asyncio.get_running_loop().time()
        try:
            await connection.subscribe([self._topic])
        except (BrokerUnavailable, BrokerRefused) as error:
            return Finding(subject, False, str(error))
        connection.publish(self._topic, self._expected)
        if not await self._wait_for(1):
            return Finding(subject, False, f"no message to {self._topic} came back; check the broker's access list")
        took_ms = (asyncio.get_running_loop().time() - started_s) * 1000
        return Finding(subject, True, f"a message came back after {took_ms:.1f} ms")

    async def check_markers(self, connection: Connection, camera: str) -> Finding:
        """Whether the markers of a gated camera return. Without them no age of its frames can be proved."""
        subject, topic = f"mqtt markers of {camera}", marker_topic(self._config, camera)
        self._expect_anew(topic)
        try:
            await connection.subscribe([topic])
        except (BrokerUnavailable, BrokerRefused) as error:
            return Finding(subject, False, f"{error} Its gate would never be ready.")
        connection.publish(topic, self._expected)
        if not await self._wait_for(1):
            detail = f"no message to {topic} came back: its gate would never be ready; check the broker's access list"
            return Finding(subject, False, detail)
        return Finding(subject, True, "the age of its frames can be proved")

    async def check_dropped(self, connection: Connection) -> Finding:
        """Whether the broker has dropped messages since its start. Some brokers hide this number from some users."""
        subject, is_needed = "mqtt dropped for absent clients", False
        with contextlib.suppress(BrokerUnavailable, BrokerRefused, TimeoutError):
            await connection.subscribe([DROPPED])
            async with asyncio.timeout(QUIET_S):
                await self._count_came.wait()
        if self._dropped is None:
            return Finding(subject, True, f"not told: this broker has no {DROPPED}, or this user may not read it")
        if self._dropped:
            return Finding(
                subject,
                False,
                f"the broker has dropped {self._dropped} messages since its start, perhaps frames of cameras among "
                "them (and trials of this doctor): nobody else is told; for mosquitto raise max_queued_messages",
                is_needed,
            )
        return Finding(subject, True, "none since the broker's start")

    async def check_queue(self) -> Finding:
        """Whether the broker keeps a burst for a client that is away."""
        # A broker that keeps little for absent agents still serves present ones.
        subject, is_needed = "mqtt queue for an absent agent", False
        try:
            kept = await self._burst_kept()
        except (BrokerUnavailable, BrokerRefused) as error:
            return Finding(subject, False, str(error), is_needed)
        if kept < BURST:
            return Finding(
                subject,
                False,
                f"the broker kept {kept} of {BURST} messages while their receiver was away; for mosquitto set "
                "max_queued_messages 0, or frames are lost without a word",
                is_needed,
            )
        return Finding(subject, True, f"kept all of {BURST} messages while their receiver was away")

    async def _burst_kept(self) -> int:
        self._expect_anew()
        absent = await self.connect(is_persistent=True)
        try:
            await absent.subscribe([self._topic])
        finally:
            await absent.close()
        await self._publish_burst()
        returned = await self.connect(is_persistent=True)
        try:
            while self._seen < BURST and await self._wait_for(self._seen + 1, QUIET_S):
                pass
        finally:
            await returned.close()
            # A clean start and a goodbye end the session.
            await (await self.connect(is_persistent=False)).close()
        return self._seen

    async def _publish_burst(self) -> None:
        sender = Connection(self._settings, Role(f"{self._client_id}:sender"), self._password(), Peer())
        await sender.open()
        try:
            answers = []
            for _ in range(BURST):
                await sender.wait_for_room()
                answers.append(sender.publish(self._topic, self._expected))
            await asyncio.wait(answers, timeout=ANSWER_S)
        finally:
            await sender.close()

    def received(self, connection: Connection, message: Message) -> None:
        if message.packet_id:
            connection.acknowledge(message.packet_id)
        if message.topic == self._expected_on and message.payload == self._expected:
            self._seen += 1
            self._came.set()
        if message.topic == self._state_topic:
            self._note_state(message.payload)
        if message.topic == DROPPED and message.payload.isdigit():
            self._dropped = int(message.payload)
            self._count_came.set()

    def _note_state(self, payload: bytes) -> None:
        with contextlib.suppress(orjson.JSONDecodeError):
            state = orjson.loads(payload)
            if isinstance(state, dict) and state.get("state") != "offline":
                self._online.add(str(state.get("session")))
                self._gates = _faults_of(state.get("gates"))
        self._state_came.set()

    def _password(self) -> str | None:
        name = self._settings.password_secret
        return secret(name).get_secret_value() if name else None

    def _expect_anew(self, topic: str | None = None) -> None:
        self._expected_on = topic or self._topic
        self._expected = uuid.uuid4().hex.encode()
        self._seen = 0

    async def _wait_for(self, count: int, timeout_s: float = ANSWER_S) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while self._seen < count:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return False
        return True


def _read(path: Path) -> str | None:
    try:
        return read_regular(path, MOST_SESSION_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        return None


def _packet_size(config: Config, maximum_bytes: int | None) -> Iterator[Finding]:
    """Whether the largest frame that each camera may send fits into a packet the broker takes."""
    cameras = [camera for camera in config.camera if camera.source == "mqtt"]
    if maximum_bytes is None:
        if cameras and config.mqtt.protocol == "5":
            yield Finding("mqtt packet size", True, "the broker names no largest packet")
        return
    for camera in cameras:
        in_base64 = 4 / 3 if camera.encoding == "json" else 1
        needed = int(camera.max_mib * 2**20 * in_base64) + PACKET_ROOM_BYTES
        subject = f"mqtt packet size for {camera.name}"
        if maximum_bytes < needed:
            detail = (
                f"the broker takes packets of at most {maximum_bytes} bytes, and a frame of "
                f"max_mib = {camera.max_mib:g} needs {needed}: larger ones never arrive. Raise the broker's limit "
                "(mosquitto: max_packet_size)"
            )
            fits_mib = _rounded_down((maximum_bytes - PACKET_ROOM_BYTES) / in_base64 / 2**20)
            if fits_mib > 0:
                detail += f", or set this camera's max_mib to {fits_mib:g}"
            yield Finding(subject, False, detail)
        else:
            yield Finding(subject, True, f"the broker takes packets of {maximum_bytes} bytes, frames need {needed}")


def _rounded_down(size_mib: float) -> float:
    """The size with two decimals, or with two significant digits if it is smaller than 0.1; 0 for no room at all."""
    if size_mib <= 0:
        return 0.0
    steps = 10.0 ** max(2, 1 - math.floor(math.log10(size_mib)))
    return math.floor(size_mib * steps) / steps


@dataclass(frozen=True, slots=True)
class _Read:
    """A topic filter that the agent reads, and what is lost where it may not, if that is less than all of the line."""

    topic: str
    loss: str | None = None


def _topics_read(config: Config) -> Iterator[_Read]:
    """All topic filters of this agent, of which each camera's own form comes first."""
    cameras = [camera for camera in config.camera if camera.source == "mqtt"]
    for camera in cameras:
        yield _Read(_unnoticed(config.topic_of(camera), camera))
    for gate in config.gate:
        yield _Read(f"{config.agent.prefix}/gate/{gate.name}/ack")
    for topic in command_topics(config):
        yield _Read(topic, "No command would be heard there.")
    for camera in cameras:
        if other := config.other_form_of(camera):
            without = "without" if camera.trigger_from == "topic" else "with"
            loss = f"Nobody would hear frames of {camera.name} {without} a trigger id in their topic."
            yield _Read(_unnoticed(other, camera), loss)


def _unnoticed(topic: str, camera: CameraSection) -> str:
    """The filter as the doctor may subscribe to it: in a group of its own, it takes no shared frame from an agent."""
    return topic if camera.shared_group is None else f"$share/doctor/{topic}"


async def _subscription(connection: Connection, read: _Read) -> Finding:
    subject = f"mqtt topic {read.topic}"
    try:
        await connection.subscribe([read.topic])
    except (BrokerUnavailable, BrokerRefused) as error:
        if read.loss is None:
            return Finding(subject, False, str(error))
        return Finding(subject, False, f"{error} {read.loss}", is_needed=False)
    return Finding(subject, True, "may be read")


def _faults_of(gates: object) -> dict[str, str]:
    """The fault of each gate in the state of an agent, by the gate's name."""
    if not isinstance(gates, dict):
        return {}
    return {name: str(gate.get("fault")) for name, gate in gates.items() if isinstance(gate, dict)}


def _gated_cameras(config: Config) -> list[str]:
    """The MQTT cameras that are at a gate."""
    return [camera.name for camera in config.camera if camera.source == "mqtt" and config.gate_of(camera.name)]
