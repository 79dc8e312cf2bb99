"""Live products are loaded whatever is wrong with one of them."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.sections import EngineSection, SigningSection
from inspector.domain import Cause, Event, Failure, LiveSet, ProductVersion, Provenance, Routed, Scored, TrustedKey
from inspector.errors import LedgerUnavailable
from inspector.ports import ArtifactOf, Lineup
from inspector.signing.keys import SecretKey
from inspector.signing.statements import ThresholdStatement, VersionStatement, signed
from inspector.signing.vouching import SignaturePolicy
from inspector.store.database import Database, ensure_schema
from inspector.store.registry.registry import SqlRegistry
from inspector.stream.pipeline import upkeep
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.pipeline.upkeep import LineupWatch
from inspector.testing.lineup import FakeLineup, FakeLoader
from inspector.testing.registry import InMemoryRegistry
from inspector.training.enrol import Enrolment
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLoader
from tests.unit.drawings import NOW, FakeEngine, draw, frame_of
from tests.unit.stream.test_pipeline import FREE, Plant

KEY = SecretKey.made()


@dataclass
class NotingLoader(FakeLoader):
    """Keeps what it was handed."""

    handed: list[set[bytes]] = field(default_factory=list)

    def load(self, live: LiveSet, artifact_of: ArtifactOf, previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        given = [artifact_of(version.digest) for version in live.needed]
        self.handed.append({content for content in given if content is not None})
        return super().load(live, artifact_of, previous)


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


async def test_load_without_the_store_is_no_fault_of_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers what is live, and is away when an artifact is fetched."""
    registry, loader = InMemoryRegistry(), NotingLoader()
    await registry.add_version("bolt", b"bolt", {"head": "prototype", "threshold": 1.0}, by="test", activate=True)

    async def away(_product: str, _version: int) -> bytes:
        raise LedgerUnavailable("the store is away")

    shared = Plant(FREE).pipeline()._shared
    watch = LineupWatch(shared, registry, loader)
    with monkeypatch.context() as patched:
        patched.setattr(registry, "artifact", away)
        with pytest.raises(LedgerUnavailable):
            await watch.load()
    assert (watch.current, told(shared)) == (None, [])
    await watch.load()
    assert loader.handed == [{b"bolt"}]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_fetch_for_the_loader_s_thread_ends_with_the_loop_that_should_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is stopped while it loads must not wait for ever for a loop that has ended."""
    monkeypatch.setattr(upkeep, "LOOP_LOOK_S", 0.01)

    async def fetching() -> ArtifactOf:
        registry = InMemoryRegistry()
        await registry.add_version("bolt", b"bolt", {"head": "prototype", "threshold": 1.0}, by="test", activate=True)
        watch = LineupWatch(Plant(FREE).pipeline()._shared, registry, FakeLoader())
        return watch._fetching(await registry.live())

    loop = asyncio.new_event_loop()
    artifact_of = loop.run_until_complete(fetching())
    closing = threading.Timer(0.1, loop.close)
    closing.start()
    with pytest.raises(TimeoutError):
        artifact_of(hashlib.sha256(b"bolt").hexdigest())
    closing.join()


def away(*_: object) -> None:
    raise LedgerUnavailable("the store is away")


async def test_run_takes_up_a_version_whose_bytes_are_whole_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored artifact changes no revision, so nobody would tell the agent to look again."""
    monkeypatch.setattr(upkeep, "MENDED_LOOK_S", 0.0)
    registry, loader = InMemoryRegistry(), NotingLoader()
    await registry.add_version("bolt", b"bolt", {"head": "prototype", "threshold": 1.0}, by="test", activate=True)
    registry.artifacts["bolt", 1] = b"other bytes"
    config = FREE.model_copy(update={"agent": FREE.agent.model_copy(update={"registry_poll_s": 0.01})})
    watch = LineupWatch(Plant(config).pipeline()._shared, registry, loader)
    await watch.load()
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0.1)
    assert loader.handed == [set()], "it is not loaded again while its bytes are damaged"
    with monkeypatch.context() as patched:
        patched.setattr(loader, "load", away)
        registry.artifacts["bolt", 1] = b"bolt"
        await asyncio.sleep(0.1)
    async with asyncio.timeout(30):
        while len(loader.handed) < 2:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    running.cancel()
    assert loader.handed == [set(), {b"bolt"}]


async def test_load_hands_over_the_shadow_beside_its_live_version() -> None:
    registry, loader = InMemoryRegistry(), NotingLoader()
    manifest = {"head": "prototype", "threshold": 1.0}
    await registry.add_version("bolt", b"live", manifest, by="test", activate=True)
    await registry.add_version("bolt", b"shadow", manifest, by="test", activate=False, shadow=True)
    await registry.add_version("bolt", b"neither", manifest, by="test", activate=False)
    await LineupWatch(Plant(FREE).pipeline()._shared, registry, loader).load()
    assert loader.handed == [{b"live", b"shadow"}]


async def signed_line(line: Config = FREE) -> tuple[LineupWatch, InMemoryRegistry, Shared]:
    """A line with a key, and a live version of `bolt` that it has signed."""
    registry = InMemoryRegistry()
    registry.keys = (TrustedKey("plant-a", KEY.public.text, KEY.public.fingerprint, True, NOW, "ada"),)
    digest = hashlib.sha256(b"bolt").hexdigest()
    signature = signed(VersionStatement("bolt", digest, 1.0, {}), KEY)
    manifest = {"head": "prototype", "threshold": 1.0}
    await registry.add_version(
        "bolt", b"bolt", manifest, by="ada", activate=True, provenance=Provenance(signature=signature)
    )
    shared = Plant(line).pipeline()._shared
    return LineupWatch(shared, registry, NotingLoader()), registry, shared


def told(shared: Shared) -> list[tuple[str, str]]:
    return [(event.kind, event.detail) for event in shared.telemetry.events if event.kind not in ("lineup", "engine")]


@pytest.mark.parametrize(
    ("is_batched", "said"),
    [
        (False, "fake: 2 workers, each with one frame at a time from decoding to score, in passes of one thread"),
        (True, "fake: 2 workers for decoding and routing, one scorer with passes over at most 8 frames (measured)"),
    ],
)
async def test_load_says_once_how_frames_go_and_takes_the_lineup_s_batch(is_batched: bool, said: str) -> None:
    config = FREE.model_copy(update={"engine": EngineSection(threads=2)})
    shared = Plant(config).pipeline()._shared
    registry = InMemoryRegistry()
    watch = LineupWatch(shared, registry, FakeLoader(FakeLineup(is_batched=is_batched)))
    await watch.load()
    await registry.add_version("bolt", b"bolt", {"head": "prototype", "threshold": 1.0}, by="test", activate=True)
    await watch.load()
    assert watch.versions == ("bolt:1",)
    assert [event.detail for event in shared.telemetry.events if event.kind == "engine"] == [said]
    last = [event.detail for event in shared.telemetry.events if event.kind == "lineup"][-1]
    assert last == "live products: bolt (bolt:1)"
    assert shared.batcher.largest == 8


async def test_load_signed_version_judges_and_nothing_is_told() -> None:
    watch, _, shared = await signed_line()
    await watch.load()
    assert (watch.versions, told(shared)) == (("bolt:1",), [])


async def test_load_of_many_signed_versions_lets_the_loop_turn_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, registry, _ = await signed_line()
    for name in ("nut", "ring", "plate"):
        await registry.add_version(
            name, name.encode(), {"head": "prototype", "threshold": 1.0}, by="ada", activate=True
        )
    turns, seen = 0, []
    vouched = SignaturePolicy.vouched

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def noted(policy: SignaturePolicy, version: ProductVersion) -> Any:
        seen.append(turns)
        return vouched(policy, version)

    monkeypatch.setattr(SignaturePolicy, "vouched", noted)
    other = asyncio.create_task(turn())
    await watch.load()
    other.cancel()
    assert len(seen) == len(set(seen)) == 4


async def test_load_threshold_moved_behind_the_signature_keeps_the_one_that_was_there() -> None:
    """Somebody wrote into the database: the line goes on as it was, and an alarm says so."""
    watch, registry, shared = await signed_line()
    await watch.load()
    await registry.move_threshold("bolt", 1, 1e308, by="eve", reason="x")
    await watch.load()
    assert [(version.version, version.threshold) for version in watch.live] == [(1, 1.0)]
    ((kind, detail),) = told(shared)
    assert kind == "version_unverified"
    assert "threshold was moved without a signature" in detail
    assert "goes on judging, at the threshold that it had" in detail
    moved = signed(ThresholdStatement("bolt", watch.live[0].digest, 1.1, "ada"), KEY)
    await registry.move_threshold("bolt", 1, 1.1, by="ada", reason="x", signature=moved)
    await watch.load()
    assert [version.threshold for version in watch.live] == [1.1]


async def test_load_version_signed_by_a_stranger_leaves_the_one_before_judging() -> None:
    watch, registry, shared = await signed_line()
    await watch.load()
    stranger = SecretKey.made()
    forged = signed(VersionStatement("bolt", hashlib.sha256(b"worse").hexdigest(), 1.0, {}), stranger)
    manifest = {"head": "prototype", "threshold": 1.0}
    await registry.add_version(
        "bolt", b"worse", manifest, by="eve", activate=True, provenance=Provenance(signature=forged)
    )
    await watch.load()
    assert watch.versions == ("bolt:1",)
    assert [kind for kind, _ in told(shared)] == ["version_unverified"]


async def test_load_at_start_of_a_version_whose_signature_does_not_hold_judges_nothing_with_an_alarm() -> None:
    """There is nothing that was checked to go on with, and another version in its place nobody has chosen."""
    watch, registry, shared = await signed_line()
    await registry.move_threshold("bolt", 1, 1e308, by="eve", reason="x")
    await watch.load()
    assert watch.live == ()
    ((kind, detail),) = told(shared)
    assert (kind, "No version of bolt judges" in detail) == ("version_unverified", True)


@pytest.mark.parametrize("is_required", [False, True])
async def test_load_unsigned_version_judges_with_a_warning_unless_signatures_are_required(is_required: bool) -> None:
    line = FREE.model_copy(update={"signing": SigningSection(required=is_required)})
    watch, registry, shared = await signed_line(line)
    manifest = {"head": "prototype", "threshold": 1.0}
    await registry.add_version("nut", b"nut", manifest, by="ada", activate=True)
    await watch.load()
    assert [version.product for version in watch.live] == (["bolt"] if is_required else ["bolt", "nut"])
    assert [kind for kind, _ in told(shared)] == ["version_unverified" if is_required else "version_unsigned"]
    await registry.move_threshold("nut", 1, 2.0, by="ada", reason="x")
    await watch.load()
    assert len(told(shared)) == (2 if is_required else 1), "a warning comes once"


async def test_load_shadow_whose_signature_does_not_hold_is_not_scored() -> None:
    watch, registry, shared = await signed_line()
    forged = Provenance(signature=signed(VersionStatement("bolt", "0" * 64, 1.0, {}), KEY))
    manifest = {"head": "prototype", "threshold": 1.0}
    await registry.add_version("bolt", b"shadow", manifest, by="eve", activate=False, shadow=True, provenance=forged)
    await watch.load()
    assert (watch.versions, watch.shadows) == (("bolt:1",), ())
    assert [kind for kind, _ in told(shared)] == ["version_unverified"]


@dataclass
class Line:
    """A watch over the real registry, loader, router and scorer, as an agent has them, on an engine of the tests."""

    database: Database
    registry: SqlRegistry
    shared: Shared
    watch: LineupWatch


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_engine: FakeEngine) -> AsyncIterator[Line]:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: fake_engine)
    shared = Plant(FREE).pipeline()._shared
    async with Database(f"sqlite:///{tmp_path / 'inspector.db'}") as database:
        await ensure_schema(database)
        async with SqlRegistry(database, SystemClock()) as registry:
            watch = LineupWatch(shared, registry, VisionLoader(EngineSection(batch_max=4), tmp_path))
            yield Line(database, registry, shared, watch)


async def test_load_product_with_only_a_shadow_version_is_not_released_until_it_is_live(
    line: Line, enrolled: dict[str, Enrolment]
) -> None:
    for product, is_live in (("disc", False), ("plate", True)):
        done = enrolled[product]
        await line.registry.add_version(
            product, done.artifact, dict(done.manifest), by="test", activate=is_live, shadow=not is_live
        )
    await line.watch.load()
    assert line.watch.current is not None
    assert line.watch.current.products == ("plate",)
    found = line.watch.current.router.route(frame_of(draw("disc", 100)))
    assert isinstance(found, Failure)
    assert (found.cause, found.detail) == (Cause.NOT_RELEASED, "disc has only a shadow version")
    assert found.product == "disc", "so that its shadow version can score it"
    assert line.watch.current.shadows.version_of("disc") is not None
    answer = line.watch.current.shadows.score("disc", None, lambda: draw("disc", 100))
    assert isinstance(answer, Scored)
    assert isinstance(line.watch.current.router.route(frame_of(draw("plate", 100))), Routed)
    line.watch.current.check_canary()
    await line.registry.activate("disc", 1, by="test", reason="test")
    await line.watch.load()
    assert line.watch.current.products == ("disc", "plate")
    assert line.watch.current.shadows.version_of("disc") is None
    assert isinstance(line.watch.current.router.route(frame_of(draw("disc", 100))), Routed)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("manifest = substr(manifest, 1, 500)", "its manifest in the store is damaged"),
        ("manifest = '[]'", "its manifest in the store is damaged"),
        ("artifact = substr(artifact, 1, 500)", "its stored bytes are damaged or gone"),
        ("artifact = cast(substr(artifact, 1, 500) AS TEXT)", "its stored bytes are damaged or gone"),
        ("threshold = 'abc'", "its threshold in the store is no number"),
        ("threshold = 9e999", "its threshold in the store is no number"),
        ("threshold = 1e308", "its threshold in the store, 1e+308, is level 1e+06 of its enrolment"),
        ("threshold = -1", "its threshold in the store, -1, is level -"),
    ],
)
async def test_load_damaged_row_refuses_its_version_alone(
    damage: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    line: Line,
    enrolled: dict[str, Enrolment],
) -> None:
    """What a full disk, a slip of a hand or another tool leaves behind."""
    monkeypatch.setattr(upkeep, "MENDED_LOOK_S", 0.0)
    for product in ("disc", "plate"):
        done = enrolled[product]
        await line.registry.add_version(product, done.artifact, dict(done.manifest), by="test", activate=True)
    async with line.database.writing() as connection:
        await connection.exec_driver_sql("CREATE TABLE whole AS SELECT * FROM product_versions")
        await connection.exec_driver_sql(f"UPDATE product_versions SET {damage} WHERE product = 'disc'")
    await line.watch.load()
    assert line.watch.versions == ("plate:1",)
    assert not await line.watch._has_come(), "it is not loaded again while its row is damaged"
    async with line.database.writing() as connection:
        await connection.exec_driver_sql(
            "UPDATE product_versions SET (manifest, artifact, threshold) = (SELECT manifest, artifact, "
            "threshold FROM whole WHERE whole.product = product_versions.product)"
        )
    assert await line.watch._has_come()
    await line.watch.load(is_asked=True)
    assert line.watch.versions == ("disc:1", "plate:1")
    assert not await line.watch._has_come()
    ((kind, detail),) = told(line.shared)
    assert kind == "version_refused"
    assert detail.startswith("disc version 1 is refused: ")
    assert said in detail


@pytest.mark.parametrize("attack", [{"threshold": 1e308}, {"signature": "of another key"}])
async def test_load_of_a_blinded_version_goes_on_rejecting_broken_parts(
    attack: dict[str, Any],
    line: Line,
    enrolled: dict[str, Enrolment],
) -> None:
    """Somebody who may write into the database tries to blind it."""
    disc = enrolled["disc"]
    mine = signed(VersionStatement("disc", disc.digest, float(disc.manifest["threshold"]), {}), KEY)
    key = TrustedKey("plant-a", KEY.public.text, KEY.public.fingerprint, True, NOW, "ada")
    await line.registry.add_key(key, by="ada", reason="x")
    await line.registry.add_version(
        "disc", disc.artifact, dict(disc.manifest), by="ada", activate=True, provenance=Provenance("x", mine)
    )
    await line.watch.load()
    assert told(line.shared) == []
    assert level_of_a_broken_part(line.watch) > 1.0
    if "threshold" in attack:
        await line.registry.move_threshold("disc", 1, 1e308, by="eve", reason="x")
    else:
        forged = signed(VersionStatement("disc", disc.digest, 1e308, {}), SecretKey.made())
        await line.registry.move_threshold("disc", 1, 1e308, by="eve", reason="x")
        await line.registry.sign("disc", 1, forged, by="eve", reason="x")
    await line.watch.load()
    assert level_of_a_broken_part(line.watch) > 1.0
    assert [kind for kind, _ in told(line.shared)] == ["version_unverified"]


def level_of_a_broken_part(watch: LineupWatch) -> float:
    assert watch.current is not None
    routed = watch.current.router.route(frame_of(draw("disc", 301, defect=True)))
    assert isinstance(routed, Routed)
    (scored,) = watch.current.scorer.score([routed])
    assert isinstance(scored, Scored)
    return scored.level
