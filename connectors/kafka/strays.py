"""Records that belong to no camera of this agent. They are reported and kept, and never stop their partition."""

from __future__ import annotations

import uuid

from connectors.kafka.records import Arrived, named_in, plain_headers
from inspector.domain import Cause, DeadLetter, Event, ResultId, Severity
from inspector.errors import InspectorError
from inspector.ports import Clock, DeadLetters, Telemetry

TOLD_EVERY_S = 60.0
_NAMESPACE = uuid.UUID("5d1a3b1c-54b4-5c1e-8a64-0f4a4a8f6a11")


class Strays:
    """Keeps each stray record as a dead letter, with at most one event a minute for each detail of an event."""

    def __init__(self, clock: Clock, telemetry: Telemetry, letters: DeadLetters) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._letters = letters
        self._told_ns: dict[tuple[str, str], int] = {}
        self._untold: dict[tuple[str, str], int] = {}

    async def keep(self, arrived: Arrived) -> None:
        """Keep the record as a dead letter. If that fails, an event says that it is lost."""
        record = arrived.record
        named = named_in(record)
        self._tell("unknown_camera", record.topic, f"records of camera {named}, which is not configured here")
        self._telemetry.count("unknown_camera")
        letter = DeadLetter(
            result_id=ResultId(str(uuid.uuid5(_NAMESPACE, arrived.broker_id))),
            camera="unknown",
            payload=record.value or b"",
            properties=plain_headers(record.headers),
            cause=Cause.UNDECODABLE,
            detail=f"camera {named} is not configured; {arrived.broker_id}",
            received_at=arrived.at,
        )
        try:
            await self._letters.put(letter)
        except InspectorError as error:
            self._telemetry.count("dead_letters_lost")
            self._tell("dead_letter_lost", record.topic, str(error))

    def commit_refused(self, reason: str) -> None:
        """Report that the cluster takes no commits: after a restart the frames are delivered again."""
        self._tell("commit_refused", "kafka", reason)

    def _tell(self, kind: str, subject: str, detail: str) -> None:
        key, now_ns = (kind, detail), self._clock.monotonic_ns()
        last_ns = self._told_ns.get(key)
        if last_ns is not None and now_ns - last_ns < TOLD_EVERY_S * 1e9:
            self._untold[key] = self._untold.get(key, 0) + 1
            return
        if len(self._told_ns) > 1000:
            self._told_ns.clear()  # an endless supply of new names must not fill the memory
        self._told_ns[key] = now_ns
        more = self._untold.pop(key, 0)
        suffix = f" ({more} more since the last word)" if more else ""
        self._telemetry.event(Event(self._clock.now(), kind, Severity.WARNING, subject, detail + suffix))
