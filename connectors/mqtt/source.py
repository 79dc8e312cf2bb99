"""Frames of one camera from MQTT: kept by the broker until acknowledged, in receive order.

Each camera has one connection and one persistent session under a fixed client id, so that the broker keeps its frames
while the agent is away (for a shared camera, the agent's share of them). Each connection is a generation, and its
positions acknowledge nothing on the next one. Messages that this module drops (retained frames, its own markers) are
acknowledged in their turn. Dropped frames are counted, and events tell of them (`tally`). A marker that the source
sends to itself through the same session tells backlog from live frames: frames before the marker have waited in the
broker. A gated camera gets markers all the time (`markers`), so that the age of each frame has a bound. A frame whose
metadata paho can't read is fetched over MQTT 3.1.1 without its metadata, and carries a note of that.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

from paho.mqtt.client import topic_matches_sub

from connectors.mqtt.markers import MARKER_LOSSES, Markers, marker_topic
from connectors.mqtt.other_form import OtherForm
from connectors.mqtt.tally import Tally
from connectors.mqtt.wire.client import Message, Role
from connectors.mqtt.wire.connection import Connection
from connectors.mqtt.wire.session import Peer, Session
from inspector.config.config import Config, shared
from inspector.config.line_sections import CameraSection, GateSection
from inspector.domain import Delivery, Event, Position, Severity
from inspector.errors import BrokerRefused, BrokerUnavailable
from inspector.ports import Clock, MakeReady, Telemetry
from inspector.stream.age import marker_period_ms
from inspector.stream.envelope import last_topic_level, open_envelope
from inspector.stream.frame_room import FrameRoom
from inspector.stream.outage import OutageDoubt

LOOK_S: Final = 0.25
"""Seconds between two checks whether messages still wait in the broker, while a marker is under way."""

ROUND_TRIP_S: Final = 5.0

LONG_BACKLOG_S: Final = 60.0
"""A longer backlog gives an event, because the broker may refuse the marker silently."""

_UNREADABLE: Final = "the metadata of this frame, or of one beside it, could not be read"


@dataclass(slots=True)
class _Unsettled:
    """A message not yet acknowledged. `packet_id` 0: QoS 0, nothing to send."""

    offset: int
    packet_id: int
    is_done: bool


class MqttSource(Peer):
    """A FrameSource over one camera's topic. Entered means connected, or still trying. The broker keeps the rest.

    Entering raises BrokerRefused if the broker refuses this client. At most `mqtt.in_flight` frames are held
    unacknowledged, and the same number undelivered. Beyond that, without room for another frame as large as the largest
    so far, and while paused, the socket is not read. `room`: that of the agent; unset = one of its own.
    """

    def __init__(
        self,
        config: Config,
        camera: CameraSection,
        clock: Clock,
        telemetry: Telemetry,
        room: FrameRoom | None = None,
    ) -> None:
        self._room = room or FrameRoom(config.agent.frames_mib << 20)
        self._room.listeners.append(self._note_room)
        self._largest_bytes = 0
        self._is_short = False
        self._camera = camera
        self._clock = clock
        self._telemetry = telemetry
        self._agent = config.agent.name
        self._in_flight = config.mqtt.in_flight
        self._topic = config.topic_of(camera)
        self._filter = config.subscription_of(camera)
        other = config.other_form_of(camera)
        self._topics = [self._topic] if other is None else [self._topic, other]
        self._other_form = None if other is None else OtherForm(shared(other, camera), self._report_unheard)
        client_id = f"{config.agent.name}-{camera.name}"
        self._marker_topic = marker_topic(config, camera.name)
        gate = config.gate_of(camera.name)
        self._markers = None if gate is None else self._new_markers(gate)
        self._doubt = None if gate is None else OutageDoubt(gate)
        self._is_reading = False
        self._tally = Tally(clock, self._report)
        # One marker is under way beside the frames, and is acknowledged in its turn.
        most = self._in_flight + (0 if gate is None else 1)
        self._session = Session(config.mqtt, Role(client_id, persistent=True, receive_maximum=most), peer=self)
        self._is_json = camera.encoding == "json" or camera.trigger_from == "json"
        self._connection: Connection | None = None
        self._generation = 0
        self._offset = 0
        self._unsettled: deque[_Unsettled] = deque()
        self._ready: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._all_settled = asyncio.Event()
        self._is_paused = False
        self._is_stopped = False
        self._marker: str | None = None
        self._marker_losses = 0
        self._protocol = config.mqtt.protocol
        self._is_without_metadata = False
        self._is_kept = False
        self._last_message_ns = 0

    @property
    def name(self) -> str:
        return f"mqtt:{self._camera.name}"

    @property
    def is_connected(self) -> bool:
        return self._session.connection is not None

    def age_bound_ns(self, _camera: str, /) -> int | None:
        if self._markers is None or self._markers.not_before_ns is None or not self._ready:
            return None if self._markers is None else self._markers.age_ns()
        # A frame that comes now is taken after the frames that wait here.
        proven_ns = self._ready[0].proven_ns
        return None if proven_ns is None else self._clock.monotonic_ns() - proven_ns

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_intake()
        self._tally.finish()
        await self._session.__aexit__(*exc)

    def serves(self, _camera: str, /) -> bool:
        return True

    async def deliveries(self, _make_ready: MakeReady | None = None, /) -> AsyncIterator[Delivery]:
        """Every delivery, across reconnects, until `stop_intake`; none while paused. One consumer only."""
        while not self._is_stopped:
            if self._session.failure is not None:
                raise self._session.failure
            if self._is_paused or not self._ready:
                self._changed.clear()
                await self._changed.wait()
                continue
            delivery = self._ready.popleft()
            self._regulate()
            yield delivery

    async def acknowledge(self, position: Position) -> bool:
        """Acknowledge the frames up to `position`, in receive order. False if its connection is over."""
        connection = self._connection
        if connection is None or position.stream != self.name or position.generation != self._generation:
            return False
        for each in self._unsettled:
            if each.offset > position.offset:
                break
            each.is_done = True
        self._settle()
        connection.flush()
        return connection.is_open

    def confirmation(self, position: Position) -> asyncio.Future[bool]:
        """Whether the broker has taken the acknowledgement of `position`: True when it answers what was sent after it.

        Bytes that the kernel has taken prove nothing: the link may break before the broker has them.
        """
        connection = self._connection
        if connection is None or position.stream != self.name or position.generation != self._generation:
            lost: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            lost.set_result(False)
            return lost
        return connection.sign_of_life()

    def pause(self) -> None:
        self._is_paused = True
        self._regulate()

    def resume(self) -> None:
        self._is_paused = False
        self._regulate()
        self._changed.set()

    async def stop_intake(self) -> None:
        """No new delivery after this. The broker goes on queueing: the subscription stays."""
        self._is_stopped = True
        self._regulate()
        self._changed.set()

    # --- callbacks of the session ---

    def connected(self, connection: Connection, session_present: bool) -> None:
        self._connection = connection
        self._generation += 1
        self._offset = 0
        self._unsettled.clear()
        self._all_settled.set()
        self._is_kept = session_present
        self._is_reading = False
        if self._doubt is not None:
            self._doubt.begin(is_first=self._generation == 1)
        if self._markers is not None:
            self._markers.begin(connection.opening_ns, is_fresh=not session_present)
        else:
            self._marker = uuid.uuid4().hex if session_present else None
        self._is_without_metadata = connection.protocol != self._protocol
        self._last_message_ns = self._clock.monotonic_ns()
        self._regulate()

    async def prepare(self, connection: Connection) -> None:
        # A kept session is subscribed already. The broker may send more frames than we take before it answers a
        # subscription, so waiting for that answer here could last for ever.
        if not self._is_kept:
            await connection.subscribe([self._filter])

    async def serve(self, connection: Connection) -> None:
        if self._filter != self._topic:
            for topic in self._topics:  # from before the frames were shared: frames came twice
                connection.unsubscribe(topic)
        if self._other_form is not None and not self._is_without_metadata:
            self._other_form.ask(connection)
        if self._markers is not None and not self._is_without_metadata:
            await self._markers.run(connection, self._kept_filters)
        elif self._markers is not None:
            await self._end_backlog_without_metadata(connection, self._markers)
        elif self._marker is not None:
            await self._await_marker(connection, self._marker)
        if self._is_without_metadata:
            await self._all_settled.wait()
            await connection.close()

    async def _end_backlog_without_metadata(self, connection: Connection, markers: Markers) -> None:
        """Take the backlog on this connection. After the backlog, a connection with metadata follows again."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(markers.run(connection, self._kept_filters))
            while self.has_backlog and connection.is_open:  # noqa: ASYNC110 - a marker has no event of its own
                await asyncio.sleep(LOOK_S)
            sending.cancel()

    async def _await_marker(self, connection: Connection, marker: str) -> None:
        """Send the marker and wait until the backlog ends, whether or not the marker returns."""
        is_sent = False
        try:
            await connection.subscribe([self._filter, self._marker_topic])
            # mosquitto 2.0.11 acknowledges a message that it refuses to a 3.1.1 client, and then hangs up. A marker
            # on each connection would therefore cost every connection.
            if self._marker_losses < MARKER_LOSSES:
                self._marker_losses += 1
                is_sent = await connection.publish(self._marker_topic, marker.encode())
        except BrokerRefused as error:
            self._report("marker_refused", str(error))
        except BrokerUnavailable:
            connection.abort("it does not answer a subscription")
            return
        if not is_sent and not self._is_stopped:  # at a stop the connection ends before the answer comes
            self._report("marker_refused", f"the broker does not take messages to {self._marker_topic}")
        await self._watch_backlog(connection, marker)

    def received(self, connection: Connection, message: Message) -> None:
        is_behind_marker = self._is_without_metadata and not self.has_backlog
        if self._is_stopped or is_behind_marker or connection is not self._connection:
            return  # neither handed out nor acknowledged: the broker keeps it
        self._last_message_ns = self._clock.monotonic_ns()
        self._offset += 1
        is_frame = self._is_frame(connection, message)
        self._unsettled.append(_Unsettled(self._offset, message.packet_id, is_done=not is_frame))
        self._all_settled.clear()
        if is_frame:
            delivery = self._delivery(message)
            self._room.hold(delivery.position, self._camera.name, len(delivery.payload))
            self._largest_bytes = max(self._largest_bytes, len(delivery.payload))
            self._ready.append(delivery)
            self._changed.set()
        self._settle()

    def name_taken(self, sentence: str) -> None:
        self._telemetry.event(Event(self._clock.now(), "name_taken", Severity.ALARM, self._agent, sentence))

    def disconnected(self) -> None:
        self._connection = None
        if self._markers is not None:
            self._markers.end()
        # Frames that are here but not handed out stay: a broker without persistence may have lost its copy.
        self._unsettled.clear()
        self._changed.set()

    # --- inside ---

    def _new_markers(self, gate: GateSection) -> Markers:
        period_ms = marker_period_ms(gate.window_ms)
        return Markers(self._marker_topic, period_ms, self._clock, self._report_refused)

    def _report_refused(self, reason: str) -> None:
        detail = f"{reason}; the age of a frame can't be proved, so all frames of {self._camera.name} are late"
        self._telemetry.event(Event(self._clock.now(), "marker_refused", Severity.ALARM, self._camera.name, detail))

    def _report_unheard(self, reason: str) -> None:
        self._report("frames_unheard", f"{reason} A frame that {self._camera.name} publishes there is seen by nobody.")

    @property
    def _kept_filters(self) -> list[str]:
        """Filters that a kept session subscribes to again, because the configuration may have changed. Empty for a
        fresh session, where a second subscription would only deliver retained messages again.
        """
        return [self._filter] if self._is_kept else []

    @property
    def has_backlog(self) -> bool:
        """Whether frames that come now may have waited in the broker."""
        return self._marker is not None if self._markers is None else self._markers.not_before_ns is None

    def _is_frame(self, connection: Connection, message: Message) -> bool:
        """Whether the message is a frame for the road. Markers are taken here; other messages become an event."""
        if message.topic == self._marker_topic:
            if self._markers is not None:
                self._markers.received(message.payload)
            elif self._marker is not None and message.payload == self._marker.encode():
                self._marker = None
                self._marker_losses = 0
            return False
        topic = message.topic
        if topic is None or not any(topic_matches_sub(each, topic) for each in self._topics):
            # The broker's session still has a subscription of an older configuration.
            self._tally.note("unexpected_topic", f"a message on {message.topic!r}, which is not {self._topic}")
            if message.topic is not None:
                connection.unsubscribe(message.topic)
            return False
        if message.is_retained:
            self._telemetry.count("retained_dropped", camera=self._camera.name)
            self._tally.note("retained_dropped", f"a retained frame on {message.topic}; publish frames without retain")
            return False
        return True

    def _delivery(self, message: Message) -> Delivery:
        by_topic = self._camera.trigger_from == "topic" and topic_matches_sub(self._topic, message.topic or "")
        envelope = open_envelope(
            message.payload,
            message.properties,
            is_json=self._is_json,
            most_bytes=int(self._camera.max_mib * 2**20),
            fault=_UNREADABLE if self._is_without_metadata else None,
            topic_trigger=last_topic_level(message.topic or "") if by_topic else None,
        )
        return Delivery(
            position=Position(self.name, self._generation, self._offset),
            camera=self._camera.name,
            payload=envelope.payload,
            properties=envelope.properties,
            received_at=self._clock.now(),
            received_ns=self._last_message_ns,
            redelivered=message.is_duplicate,
            backlog=self.has_backlog,
            not_before_ns=None if self._markers is None else self._markers.not_before_ns,
            may_have_waited=self._may_have_waited(message),
            packet_id=message.packet_id,
        )

    def _may_have_waited(self, message: Message) -> bool:
        """Whether the camera may have kept the frame that came last."""
        if self._doubt is None:
            return False
        is_from_store = message.is_duplicate or self.has_backlog
        return self._doubt.doubts(self._last_message_ns, len(message.payload), is_from_store=is_from_store)

    def _settle(self) -> None:
        """Acknowledge the longest finished prefix, then read on if there is room again."""
        while self._unsettled and self._unsettled[0].is_done:
            packet_id = self._unsettled.popleft().packet_id
            if packet_id and self._connection is not None:
                self._connection.acknowledge(packet_id)
        if not self._unsettled:
            self._all_settled.set()
        self._regulate()

    def _regulate(self) -> None:
        held = sum(not message.is_done for message in self._unsettled)
        self._is_short = not self._room.has_room(self._camera.name, self._largest_bytes)
        has_room = not self._is_short and held < self._in_flight and len(self._ready) < self._in_flight
        if self._connection is None:
            return
        is_reading = has_room and not self._is_paused and not self._is_stopped
        if is_reading and not self._is_reading and self._doubt is not None:
            self._doubt.note_reading(self._clock.monotonic_ns())
        self._is_reading = is_reading
        self._connection.set_reading(is_reading)

    def _note_room(self) -> None:
        if self._is_short:
            self._regulate()

    async def _watch_backlog(self, connection: Connection, marker: str) -> None:
        """End the backlog without its marker, as soon as the broker has nothing more to send."""
        loop = asyncio.get_running_loop()
        report_at_s = loop.time() + LONG_BACKLOG_S
        while self._marker == marker and connection.is_open:
            await asyncio.sleep(LOOK_S)
            if await self._is_drained(connection) and self._marker == marker:
                self._marker = None
                self._report("marker_lost", f"no marker came back on {self._marker_topic}; the broker's queue is empty")
            elif loop.time() > report_at_s:
                report_at_s = float("inf")
                self._report(
                    "backlog_lasting",
                    f"frames of {self._camera.name} are still taken for late ones; if the line is not behind, "
                    f"the broker does not let this agent publish to {self._marker_topic}",
                )

    async def _is_drained(self, connection: Connection) -> bool:
        """Whether nothing waits in the broker: all frames are acknowledged and a round trip delivered no more."""
        if self._unsettled or self._is_paused or self._is_stopped:
            return False
        before = self._offset
        answered = await connection.round_trip(ROUND_TRIP_S)
        return answered is not None and self._offset == before

    def _report(self, kind: str, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, self._camera.name, detail))
