"""Where the families read their values: what was counted, and what the event loop has last shown of the agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inspector.agent.telemetry import Figures
from inspector.config.config import Config
from inspector.stream.pipeline.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class View:
    """The agent at one moment, as the event loop shows it. `links`: whether each connection to a broker stands."""

    snapshot: Snapshot
    links: Mapping[str, bool]
    records_unsent: int
    pictures_skipped: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that one reading of all families needs. `view` None: the agent has not come so far.

    `silent_s`: the time since the event loop last gave a sign.
    """

    config: Config
    software: str
    figures: Figures
    view: View | None
    silent_s: float

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.config.camera)

    @property
    def gates(self) -> tuple[str, ...]:
        return tuple(gate.name for gate in self.config.gate)

    def counted(self, name: str, labels: Iterable[str] = ()) -> dict[tuple[str, ...], float]:
        """The counter of this name by the values of these labels. A count without such labels is left out."""
        return _by_values(self.figures.counters, name, tuple(labels))

    def gauged(self, name: str, labels: Iterable[str] = ()) -> dict[tuple[str, ...], float]:
        """The same for a gauge."""
        return _by_values(self.figures.gauges, name, tuple(labels))

    def timed(self, name: str, label: str) -> dict[tuple[str, ...], float]:
        """The same for the time at which something was last."""
        return _by_values(self.figures.times, name, (label,))


def _by_values(
    figures: Mapping[tuple[str, tuple[tuple[str, str], ...]], float], name: str, labels: tuple[str, ...]
) -> dict[tuple[str, ...], float]:
    found = ((dict(pairs), value) for (own, pairs), value in figures.items() if own == name)
    return {tuple(values[label] for label in labels): value for values, value in found if values.keys() == set(labels)}
