"""The text that a monitoring system reads, in the format of Prometheus, made by its client library.

It is made in small pieces, so that a thread that makes it can let the event loop go on between two of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from inspector.agent.metrics.families import FAMILIES
from inspector.agent.metrics.family import Family, Kind
from inspector.agent.metrics.sources import Sources, View
from inspector.agent.tallies import Reading
from inspector.agent.telemetry import LogTelemetry
from inspector.config.config import Config

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PIECE_SAMPLES: Final = 100
"""So many values take about a millisecond."""

HISTOGRAM_SAMPLES: Final = 16
"""About so many values has one histogram."""

HEAD_LINES: Final = 2
"""HELP and TYPE."""


class Exposition:
    """The figures of one agent. The event loop calls `beat` and `show`; another thread calls `pieces`."""

    def __init__(
        self,
        config: Config,
        software: str,
        telemetry: LogTelemetry,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._config = config
        self._software = software
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._beat_ns = now_ns()
        self._view: View | None = None
        self._process = ProcessCollector(registry=None)

    def beat(self) -> None:
        """The event loop goes on."""
        self._beat_ns = self._now_ns()

    def show(self, view: View) -> None:
        """Replace what is known of the agent."""
        self._view = view

    def pieces(self) -> Iterator[bytes]:
        """The whole text in pieces of some `PIECE_SAMPLES` values, which are those of the time of the first piece."""
        silent_s = max(0, self._now_ns() - self._beat_ns) / 1e9
        sources = Sources.of(self._config, self._software, self._telemetry.figures(), self._view, silent_s)
        texts = itertools.chain.from_iterable(_written(family, sources) for family in FAMILIES)
        standard = ((generate_latest(_Alone(metric)), len(metric.samples)) for metric in self._process.collect())
        piece, count = [], 0
        for text, samples in itertools.chain(texts, standard):
            piece.append(text)
            count += samples
            if count >= PIECE_SAMPLES:
                yield b"".join(piece)
                piece, count = [], 0
        yield b"".join(piece)


class _Alone(Collector):
    """One metric as the library's writer takes it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _written(family: Family, sources: Sources) -> Iterator[tuple[bytes, int]]:
    """The text of some `PIECE_SAMPLES` values after the other, each with their number; the first with the head."""
    rows = iter(sorted(family.values(sources).items()))
    size = PIECE_SAMPLES // HISTOGRAM_SAMPLES if family.kind is Kind.HISTOGRAM else PIECE_SAMPLES
    metric = _metric(family, itertools.islice(rows, size))
    yield generate_latest(_Alone(metric)), len(metric.samples)
    while (metric := _metric(family, itertools.islice(rows, size))).samples:
        *_head, lines = generate_latest(_Alone(metric)).split(b"\n", HEAD_LINES)
        yield lines, len(metric.samples)


def _metric(family: Family, rows: Iterable[tuple[tuple[str, ...], float | Reading]]) -> Metric:
    metric = Metric(family.name.removesuffix("_total"), family.meaning, family.kind.value)
    for values, value in rows:
        labels = dict(zip(family.labels, values, strict=True))
        if isinstance(value, Reading):
            _add_histogram(metric, labels, value)
        else:
            metric.add_sample(family.name, labels, value)
    return metric


def _add_histogram(metric: Metric, labels: dict[str, str], reading: Reading) -> None:
    sums = reading.cumulated
    for bound, count in zip((*map(floatToGoString, reading.bounds), "+Inf"), sums, strict=True):
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{metric.name}_count", labels, sums[-1])
    metric.add_sample(f"{metric.name}_sum", labels, reading.total)
