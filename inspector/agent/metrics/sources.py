"""Where the families read their values: what was counted, and what the event loop has last shown of the agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from inspector.agent.tallies import Reading
from inspector.agent.telemetry import Figures, Key, Labels
from inspector.config.config import Config
from inspector.stream.pipeline.snapshot import Snapshot

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class View:
    """The agent at one moment, as the event loop shows it. `links`: whether each connection to a broker stands.

    `drifts`: product, camera and direction of each drift that is there.
    """

    snapshot: Snapshot
    links: Mapping[str, bool]
    records_unsent: int
    pictures_skipped: int
    drifts: tuple[tuple[str, str, str], ...] = ()


class Named(dict[str, list[tuple[Labels, Value]]]):
    """Values with their labels, by name."""

    @classmethod
    def of(cls, values: Mapping[Key, Value]) -> Named[Value]:
        named: Named[Value] = cls()
        for (name, labels), value in values.items():
            named.setdefault(name, []).append((labels, value))
        return named

    def by(self, name: str, labels: Iterable[str] = ()) -> dict[tuple[str, ...], Value]:
        """By the values of these labels, in this order. A value with other labels is left out."""
        wanted = tuple(labels)
        found = ((dict(pairs), value) for pairs, value in self.get(name, ()))
        return {tuple(own[label] for label in wanted): value for own, value in found if own.keys() == set(wanted)}


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that one reading of all families needs. `view` None: the agent has not come so far.

    `silent_s`: the time since the event loop last gave a sign.
    """

    config: Config
    software: str
    view: View | None
    silent_s: float
    counters: Named[float] = field(default_factory=Named)
    gauges: Named[float] = field(default_factory=Named)
    tallies: Named[Reading] = field(default_factory=Named)
    times: Named[float] = field(default_factory=Named)

    @classmethod
    def of(cls, config: Config, software: str, figures: Figures, view: View | None, silent_s: float) -> Sources:
        return cls(
            config,
            software,
            view,
            silent_s,
            Named.of(figures.counters),
            Named.of(figures.gauges),
            Named.of(figures.tallies),
            Named.of(figures.times),
        )

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.config.camera)

    @property
    def gates(self) -> tuple[str, ...]:
        return tuple(gate.name for gate in self.config.gate)
