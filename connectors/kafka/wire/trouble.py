"""Tells of a partition that can't be read, while the rest of the cluster serves the others."""

from __future__ import annotations

from typing import Final

from aiokafka import TopicPartition

from inspector.domain import Event, Severity
from inspector.ports import Clock, Telemetry

PATIENCE_S: Final = 10.0
"""A new leader is elected within this time where there is one to elect."""


class Trouble:
    """One partition from its assignment until its frames are read. Nothing is told of one that is read soon."""

    def __init__(self, clock: Clock, telemetry: Telemetry, partition: TopicPartition) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._subject = f"{partition.topic}/{partition.partition}"
        self._since_ns = clock.monotonic_ns()
        self._is_told = False

    def goes_on(self, reason: str) -> None:
        """Note another try that failed."""
        if not self._is_told and self._lasts_s >= PATIENCE_S:
            self._is_told = True
            detail = f"no frames are read from this partition, for {self._lasts_s:.0f} s now: {reason}"
            self._tell("kafka_partition_down", Severity.WARNING, detail)

    def is_over(self) -> None:
        """Note that the partition is read."""
        if self._is_told:
            self._tell("kafka_partition_up", Severity.INFO, f"frames are read again, after {self._lasts_s:.0f} s")

    @property
    def _lasts_s(self) -> float:
        return (self._clock.monotonic_ns() - self._since_ns) / 1e9

    def _tell(self, kind: str, severity: Severity, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, self._subject, detail))
