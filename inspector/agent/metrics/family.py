"""What a family of metrics is."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from inspector.agent.metrics.readers import Values
from inspector.agent.metrics.sources import Sources


class Kind(enum.StrEnum):
    """The kinds of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One family. `reads`: the names in `LogTelemetry` from which it takes its values."""

    name: str
    kind: Kind
    meaning: str
    values: Callable[[Sources], Values]
    labels: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Families that belong together."""

    title: str
    families: tuple[Family, ...]
