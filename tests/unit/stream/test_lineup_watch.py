"""Live products are loaded whatever is wrong with one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from inspector.domain import Event, LiveSet
from inspector.ports import Lineup
from inspector.stream.pipeline.upkeep import LineupWatch
from inspector.testing.lineup import FakeLoader
from inspector.testing.registry import InMemoryRegistry
from tests.unit.stream.test_pipeline import FREE, Plant


@dataclass
class NotingLoader(FakeLoader):
    """Keeps what it was handed."""

    handed: list[set[bytes]] = field(default_factory=list)

    def load(self, live: LiveSet, artifacts: dict[str, bytes], previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        self.handed.append(set(artifacts.values()))
        return super().load(live, artifacts, previous)


async def test_load_damaged_artifact_hands_over_the_others() -> None:
    registry, loader = InMemoryRegistry(), NotingLoader()
    for product in ("bolt", "nut"):
        await registry.add_version(
            product, product.encode(), {"head": "prototype", "threshold": 1.0}, by="test", activate=True
        )
    registry.artifacts["nut", 1] = b"other bytes"
    shared = Plant(FREE).pipeline()._shared
    watch = LineupWatch(shared, registry, loader)
    await watch.load()
    assert loader.handed == [{b"bolt"}]
    assert watch.current is not None
