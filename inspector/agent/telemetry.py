"""Counters, gauges, histograms, events and the one log line of each frame, through structlog.

An event is logged at once, noted in `notes` against a kill, and kept until `take_events` fetches it for the store.
Figures are kept in memory, without
locks: they are written on the event loop and may be read on any thread (`figures`). There is no server here.
"""

from __future__ import annotations

import logging
import math
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

import structlog

from inspector.agent.tallies import Reading, Tally
from inspector.domain import Event, GateMode, Severity, Verdict
from inspector.store.event_notes import EventNotes
from inspector.text import visible

KEPT_EVENTS: Final = 10_000
MOST_PRODUCTS: Final = 200
"""Products with figures of their own. Those that come later share the name `other`."""

OTHER: Final = "other"

LATENCY_BOUNDS_S: Final = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5)
STAGE_BOUNDS_S: Final = (0.001, 0.002, *LATENCY_BOUNDS_S)
LEVEL_BOUNDS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)
"""1.0 is the threshold."""

_LEVEL: dict[Severity, str] = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ALARM: "error"}

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels, by name."""

Key = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures at one moment, each by its name and its labels. `times`: when something was last, in Unix time."""

    counters: Mapping[Key, float]
    gauges: Mapping[Key, float]
    tallies: Mapping[Key, Reading]
    times: Mapping[Key, float]


class LogTelemetry:
    """The port `Telemetry` on structlog. One event loop and its worker threads may share it."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("inspector")
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._counters: dict[Key, float] = {}
        self._gauges: dict[Key, float] = {}
        self._tallies: dict[Key, Tally] = {}
        self._times: dict[Key, float] = {}
        self._products: set[str] = set()
        self._notes: EventNotes | None = None

    def note_in(self, notes: EventNotes) -> None:
        """Note events in this file from now on. Those that an earlier run left there are stored first."""
        self._events.extendleft(reversed(notes.left))
        self._notes = notes

    def event(self, event: Event) -> None:
        self._events.append(event)
        self.count("events", kind=event.kind, severity=event.severity.value)
        self._times[_key("event", {"kind": event.kind})] = event.at.timestamp()
        getattr(self._log, _LEVEL[event.severity])(event.kind, subject=event.subject, detail=event.detail)

        if self._notes is not None:
            self._notes.told(event)

    def event_waits(self, event: Event) -> None:
        if self._notes is not None:
            self._notes.waits(event)

    def events_stored(self) -> None:
        """The store has all events that `take_events` has returned."""
        if self._notes is not None:
            self._notes.keep(tuple(self._events))

    def take_events(self) -> list[Event]:
        """The events since the last call, oldest first."""
        events: list[Event] = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        if "product" in labels:
            labels["product"] = self._product(labels["product"])
        key = _key(name, labels)
        self._counters[key] = self._counters.get(key, 0) + amount

    def observe_ms(self, name: str, value: float) -> None:
        self._tally("stage", STAGE_BOUNDS_S, (("stage", name),)).observe(value / 1e3)

    def gauge(self, name: str, value: float | None, **labels: str) -> None:
        if value is None:
            self._gauges.pop(_key(name, labels), None)
        else:
            self._gauges[_key(name, labels)] = value

    def gauges(self) -> dict[str, float]:
        return dict(sorted((_spelt(key), value) for key, value in self._gauges.copy().items()))

    def figures(self) -> Figures:
        """Everything that was counted and measured. May be called on any thread."""
        tallies = {key: tally.read() for key, tally in self._tallies.copy().items()}
        return Figures(self._counters.copy(), self._gauges.copy(), tallies, self._times.copy())

    def report(self) -> None:
        self._log.info("gauges", **self.gauges())

    def verdict(self, verdict: Verdict) -> None:
        self._measure(verdict)
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

    def _measure(self, verdict: Verdict) -> None:
        camera = verdict.camera
        self.count("verdicts", camera=camera, cause=verdict.cause.value, outcome=verdict.outcome.value)
        if verdict.frame_sha256 is not None:  # a missed part has no frame
            self._times["frame", (("camera", camera),)] = verdict.received_at.timestamp()
        if verdict.simulated:
            self.count("simulated", camera=camera)
        if verdict.total_ms is not None:
            self._tally("latency", LATENCY_BOUNDS_S, (("camera", camera),)).observe(verdict.total_ms / 1e3)
        for stage, took_ms in (
            ("decode", verdict.decode_ms),
            ("route", verdict.route_ms),
            ("embed", verdict.embed_ms),
            ("score", verdict.score_ms),
        ):
            if took_ms is not None:
                self.observe_ms(stage, took_ms)
        is_of_the_line = not verdict.simulated and verdict.mode is not GateMode.GOLDEN
        if verdict.level is not None and verdict.product is not None and is_of_the_line:
            product = (("product", self._product(verdict.product)),)
            if math.isfinite(verdict.level):
                self._tally("level", LEVEL_BOUNDS, product).observe(verdict.level)

    def _tally(self, name: str, bounds: tuple[float, ...], labels: Labels) -> Tally:
        tally = self._tallies.get((name, labels))
        if tally is None:
            tally = self._tallies[name, labels] = Tally(bounds)
        return tally

    def _product(self, name: str) -> str:
        """The product's own name, or the one that it shares with others because there are too many."""
        if name not in self._products:
            if len(self._products) >= MOST_PRODUCTS:
                return OTHER
            self._products.add(name)
        return name


def _key(name: str, labels: dict[str, str]) -> Key:
    return name, tuple(sorted(labels.items()))


def _spelt(key: Key) -> str:
    name, labels = key
    return name + "".join(f",{label}={value}" for label, value in labels)


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
