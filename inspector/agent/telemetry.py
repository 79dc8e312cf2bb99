"""Counters, gauges, events and the one log line of each frame, through structlog. There is no metrics server here.

An event is logged at once, and kept until `take_events` fetches it for the store.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter, deque
from typing import TextIO

import structlog

from inspector.domain import Event, Severity, Verdict
from inspector.text import visible

KEPT_EVENTS = 10_000

_LEVEL: dict[Severity, str] = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ALARM: "error"}


class LogTelemetry:
    """The port `Telemetry` on structlog. One event loop and its worker threads may share it."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("inspector")
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self.counters: Counter[str] = Counter()
        self.latest_ms: dict[str, float] = {}  # reserved for metrics, as the counters are
        self._gauges: dict[str, float] = {}

    def event(self, event: Event) -> None:
        self._events.append(event)
        getattr(self._log, _LEVEL[event.severity])(event.kind, subject=event.subject, detail=event.detail)

    def take_events(self) -> list[Event]:
        """The events since the last call, oldest first."""
        events: list[Event] = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counters[_key(name, labels)] += amount

    def observe_ms(self, name: str, value: float) -> None:
        self.latest_ms[name] = value

    def gauge(self, name: str, value: float | None, **labels: str) -> None:
        if value is None:
            self._gauges.pop(_key(name, labels), None)
        else:
            self._gauges[_key(name, labels)] = value

    def gauges(self) -> dict[str, float]:
        return dict(sorted(self._gauges.items()))

    def report(self) -> None:
        self._log.info("gauges", **self.gauges())

    def verdict(self, verdict: Verdict) -> None:
        self.counters[f"verdicts,outcome={verdict.outcome.value}"] += 1
        self._log.info(
            "verdict",
            camera=verdict.camera,
            trigger=verdict.trigger_id,
            product=verdict.product,
            outcome=verdict.outcome.value,
            cause=verdict.cause.value,
            action=verdict.action.value,
            score_level=None if verdict.level is None else round(verdict.level, 3),
            total_ms=None if verdict.total_ms is None else round(verdict.total_ms, 1),
            published=verdict.published,
            result_id=verdict.result_id,
        )


def _key(name: str, labels: dict[str, str]) -> str:
    return name + "".join(f",{label}={value}" for label, value in sorted(labels.items()))


def _spelt_out(_log: object, _method: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """Spells out control characters. Text from cameras, brokers and databases may hold escapes for a terminal."""
    return {
        name: visible(value, keeps_layout=name == "exception") if isinstance(value, str) else value
        for name, value in line.items()
    }


def configure_logging(level: str = "info", as_json: bool = False, file: TextIO | None = None) -> None:
    """Write log lines to `file` (None: standard error) as key=value or JSON. Call once, at a command's start."""
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _spelt_out,
    ]
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=file or sys.stderr),
        cache_logger_on_first_use=False,
    )
