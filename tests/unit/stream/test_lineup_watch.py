"""Live products are loaded whatever is wrong with one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.sections import EngineSection
from inspector.domain import Cause, Event, Failure, LiveSet, Routed, Scored
from inspector.ports import Lineup
from inspector.store.database import Database, ensure_schema
from inspector.store.registry.registry import SqlRegistry
from inspector.stream.pipeline.upkeep import LineupWatch
from inspector.testing.lineup import FakeLoader
from inspector.testing.registry import InMemoryRegistry
from inspector.training.enrol import Enrolment
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLoader
from tests.unit.drawings import FakeEngine, draw, frame_of
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


async def test_load_hands_over_the_shadow_beside_its_live_version() -> None:
    registry, loader = InMemoryRegistry(), NotingLoader()
    manifest = {"head": "prototype", "threshold": 1.0}
    await registry.add_version("bolt", b"live", manifest, by="test", activate=True)
    await registry.add_version("bolt", b"shadow", manifest, by="test", activate=False, shadow=True)
    await registry.add_version("bolt", b"neither", manifest, by="test", activate=False)
    await LineupWatch(Plant(FREE).pipeline()._shared, registry, loader).load()
    assert loader.handed == [{b"live", b"shadow"}]


async def test_load_product_with_only_a_shadow_version_is_not_released_until_it_is_live(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_engine: FakeEngine, enrolled: dict[str, Enrolment]
) -> None:
    """With the real registry, loader and router, as an agent has them."""
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: fake_engine)
    shared = Plant(FREE).pipeline()._shared
    async with Database(f"sqlite:///{tmp_path / 'inspector.db'}") as database:
        await ensure_schema(database)
        async with SqlRegistry(database, SystemClock()) as registry:
            for product, is_live in (("disc", False), ("plate", True)):
                done = enrolled[product]
                await registry.add_version(
                    product, done.artifact, dict(done.manifest), by="test", activate=is_live, shadow=not is_live
                )
            watch = LineupWatch(shared, registry, VisionLoader(EngineSection(batch_max=4), tmp_path))
            await watch.load()
            assert watch.current is not None
            assert watch.current.products == ("plate",)
            found = watch.current.router.route(frame_of(draw("disc", 100)))
            assert isinstance(found, Failure)
            assert (found.cause, found.detail) == (Cause.NOT_RELEASED, "disc has only a shadow version")
            assert found.product == "disc", "so that its shadow version can score it"
            assert watch.current.shadows.version_of("disc") is not None
            answer = watch.current.shadows.score("disc", None, lambda: draw("disc", 100))
            assert isinstance(answer, Scored)
            assert isinstance(watch.current.router.route(frame_of(draw("plate", 100))), Routed)
            watch.current.check_canary()
            await registry.activate("disc", 1, by="test", reason="test")
            await watch.load()
            assert watch.current.products == ("disc", "plate")
            assert watch.current.shadows.version_of("disc") is None
            assert isinstance(watch.current.router.route(frame_of(draw("disc", 100))), Routed)
