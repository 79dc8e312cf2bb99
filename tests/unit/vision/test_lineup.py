"""Live products side by side: routed, scored in batches, refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.config.sections import EngineSection
from inspector.domain import Cause, Failure, LiveSet, ProductVersion, Routed, Scored, Severity
from inspector.errors import EngineError, LedgerUnavailable, ParityError
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.vision.artifacts.format import unpack
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLineup, VisionLoader
from tests.unit.drawings import FakeEngine, draw, encode, frame_of, version_of

NAMES = ("disc", "plate", "mesh")


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, fake_engine: FakeEngine, tmp_path: Path) -> VisionLoader:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: fake_engine)
    return VisionLoader(EngineSection(batch_max=4), tmp_path)


@pytest.fixture
def artifacts(enrolled: dict[str, Enrolment]) -> dict[str, bytes]:
    return {enrolment.digest: enrolment.artifact for enrolment in enrolled.values()}


@pytest.fixture
def live(enrolled: dict[str, Enrolment]) -> LiveSet:
    return LiveSet("r1", tuple(version_of(enrolled[name], name) for name in NAMES))


@pytest.fixture
def lineup(loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes]) -> VisionLineup:
    found, events = loader.load(live, artifacts.get, None)
    assert events == []
    assert isinstance(found, VisionLineup)
    return found


def routed(lineup: VisionLineup, product: str, seed: int, *, defect: bool = False) -> Routed:
    found = lineup.router.route(frame_of(draw(product, seed, defect=defect), str(seed)))
    assert isinstance(found, Routed)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_route_parts_go_to_their_product(lineup: VisionLineup, name: str) -> None:
    found = routed(lineup, name, 100)
    assert (found.facts.product, found.facts.product_version, lineup.revision) == (name, 1, "r1")
    assert 0 < found.facts.confidence <= 1
    assert found.size_px == (96, 96)
    assert found.prepared.shape == (256, 256, 3)
    assert found.facts.route_ms > 0


def test_route_stranger_is_unknown_and_names_the_nearest(lineup: VisionLineup) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    found = lineup.router.route(frame_of(noise))
    assert isinstance(found, Failure)
    assert found.cause is Cause.UNKNOWN_PRODUCT
    assert any(name in found.detail for name in NAMES)


def test_route_without_products_is_unknown(loader: VisionLoader) -> None:
    empty, events = loader.load(LiveSet("r0", ()), {}.get, None)
    found = empty.router.route(frame_of(draw("disc", 1)))
    assert found == Failure(Cause.UNKNOWN_PRODUCT, "no product is enrolled")
    assert (events, empty.products) == ([], ())
    empty.check_canary()


def test_route_shadow_only_product_is_not_released(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    shadow = replace(live.versions[0], is_live=False, is_shadow=True)
    found, _ = loader.load(LiveSet("r2", live.versions[1:], shadows=(shadow,)), artifacts.get, None)
    answer = found.router.route(frame_of(draw("disc", 100)))
    assert isinstance(answer, Failure)
    assert answer.cause is Cause.NOT_RELEASED
    assert found.products == ("mesh", "plate")


def test_load_shadow_beside_a_live_version_of_its_product_is_never_routed_to(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes], enrolled: dict[str, Enrolment]
) -> None:
    shadow = replace(version_of(enrolled["mesh"], "disc", number=2, live=False), product="disc")
    found, events = loader.load(LiveSet("r2", live.versions[:1], shadows=(shadow,)), artifacts.get, None)
    assert isinstance(found, VisionLineup)
    assert (events, list(found.loaded)) == ([], [live.versions[0].digest])


def test_route_on_many_threads_gives_what_one_gives(lineup: VisionLineup) -> None:
    frames = [frame_of(draw(NAMES[seed % 3], seed), str(seed)) for seed in range(24)]
    alone = [lineup.router.route(frame) for frame in frames]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lineup.router.route, frames))
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Routed)
        assert isinstance(other, Routed)
        assert replace(one.facts, route_ms=0) == replace(other.facts, route_ms=0)
        np.testing.assert_array_equal(one.prepared, other.prepared)


def test_score_mixed_batch_keeps_order_and_equals_frame_by_frame(lineup: VisionLineup) -> None:
    batch = [routed(lineup, NAMES[seed % 3], 100 + seed, defect=seed % 2 == 1) for seed in range(9)]
    together = lineup.scorer.score(batch)
    for frame, answer in zip(batch, together, strict=True):
        (alone,) = lineup.scorer.score([frame])
        assert isinstance(answer, Scored)
        assert isinstance(alone, Scored)
        assert answer.level == pytest.approx(alone.level, rel=1e-5)
        assert answer.threshold == frame.facts.threshold


def test_score_one_main_pass_for_one_batch_key(lineup: VisionLineup, fake_engine: FakeEngine) -> None:
    batch = [routed(lineup, NAMES[seed % 3], 100 + seed) for seed in range(6)]
    assert len({frame.batch_key for frame in batch}) == 1
    fake_engine.batches.clear()
    lineup.scorer.score(batch)
    assert fake_engine.batches == [6]


@pytest.mark.parametrize("name", NAMES)
def test_score_defect_lies_above_good_and_is_located(lineup: VisionLineup, name: str) -> None:
    frames = [routed(lineup, name, 301, defect=True), *(routed(lineup, name, 302 + seed) for seed in range(8))]
    bad, *good = lineup.scorer.score(frames)
    assert isinstance(bad, Scored)
    levels = [each.level for each in good if isinstance(each, Scored)]
    assert len(levels) == 8
    assert bad.level > max(1.0, *levels)
    assert sum(level > 1.0 for level in levels) <= 2  # eight images promise no more than that
    assert bad.regions
    assert bad.heat_map is not None
    assert bad.heat_map.max() > 128
    x, y = bad.regions[0].x + bad.regions[0].width / 2, bad.regions[0].y + bad.regions[0].height / 2
    assert 20 < x < 76
    assert 20 < y < 76
    assert bad.engine == "fake"


@pytest.mark.parametrize("prepared", [None, np.zeros((8, 8, 3), np.uint8), np.zeros((256, 256, 3), np.float32)])
def test_score_bad_frame_fails_alone(lineup: VisionLineup, prepared: object) -> None:
    batch = [routed(lineup, "disc", seed) for seed in range(3)]
    batch[1] = replace(batch[1], prepared=prepared)
    answers = lineup.scorer.score(batch)
    assert isinstance(answers[0], Scored)
    assert isinstance(answers[2], Scored)
    assert isinstance(answers[1], Failure)
    assert answers[1].cause is Cause.SCORER_ERROR


def test_score_frame_that_breaks_the_pass_fails_alone(lineup: VisionLineup, fake_engine: FakeEngine) -> None:
    batch = [routed(lineup, "disc", seed) for seed in range(3)]
    batch[2] = replace(batch[2], prepared=np.full((256, 256, 3), 7, np.uint8))
    fake_engine.fail_on = 7
    answers = lineup.scorer.score(batch)
    assert [type(answer) for answer in answers] == [Scored, Scored, Failure]


def test_score_frame_of_another_lineup_is_refused(lineup: VisionLineup) -> None:
    known = routed(lineup, "disc", 1)
    frame = replace(known, facts=replace(known.facts, artifact_digest="0" * 64))
    (answer,) = lineup.scorer.score([frame])
    assert isinstance(answer, Failure)
    assert "not in this lineup" in answer.detail


def test_score_uses_the_registry_threshold(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes], lineup: VisionLineup
) -> None:
    strict = replace(live.versions[0], threshold=live.versions[0].threshold * 0.99)
    moved, _ = loader.load(LiveSet("r2", (strict, *live.versions[1:])), artifacts.get, lineup)
    assert isinstance(moved, VisionLineup)
    before = lineup.scorer.score([routed(lineup, "disc", 300)])[0]
    after = moved.scorer.score([routed(moved, "disc", 300)])[0]
    assert isinstance(before, Scored)
    assert isinstance(after, Scored)
    assert after.score == before.score
    assert after.threshold < before.threshold


def test_load_threshold_that_no_command_sets_leaves_the_one_before_judging(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes], lineup: VisionLineup
) -> None:
    blinded = replace(live.versions[0], threshold=1e308)
    found, (event,) = loader.load(LiveSet("r2", (blinded, *live.versions[1:])), artifacts.get, lineup)
    assert isinstance(found, VisionLineup)
    assert (event.kind, event.severity, event.subject) == ("version_refused", Severity.ALARM, "disc")
    assert event.detail.endswith("moves it back. Version 1 goes on judging, at the threshold that it had")
    assert routed(found, "disc", 100).facts.threshold == live.versions[0].threshold


def test_load_damaged_version_is_refused_and_others_go_on(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    digest = live.versions[0].digest
    damaged = bytearray(artifacts[digest])
    damaged[-1] ^= 1
    found, (event,) = loader.load(live, {**artifacts, digest: bytes(damaged)}.get, None)
    assert (event.kind, event.severity, event.subject) == ("version_refused", Severity.ALARM, "disc")
    assert found.products == ("mesh", "plate")


def test_load_damaged_version_in_place_of_a_good_one_leaves_the_good_one_judging(
    loader: VisionLoader,
    live: LiveSet,
    artifacts: dict[str, bytes],
    lineup: VisionLineup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong with it, also what nobody thought of."""
    worse = replace(live.versions[0], version=2, digest="0" * 64)
    next_live = LiveSet("r2", (worse, *live.versions[1:]))
    found, (event,) = loader.load(next_live, artifacts.get, lineup)
    assert isinstance(found, VisionLineup)
    assert (event.kind, event.severity) == ("version_refused", Severity.ALARM)
    assert event.detail.endswith("Version 1 goes on judging")
    assert {(each.product, each.version) for each in found.versions} == {("disc", 1), ("mesh", 1), ("plate", 1)}
    assert routed(found, "disc", 100).facts.product_version == 1
    found.check_canary()

    def broken(*_: object) -> None:
        raise KeyError("nobody thought of it")

    monkeypatch.setattr(VisionLoader, "_open", broken)
    again, (event,) = loader.load(LiveSet("r3", next_live.versions), {"0" * 64: b"x", **artifacts}.get, found)
    assert "it can't be loaded (KeyError" in event.detail
    assert again.products == ("disc", "mesh", "plate")


def test_load_engine_that_scores_otherwise_refuses_every_version(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes], fake_engine: FakeEngine
) -> None:
    fake_engine.drift = 0.5
    found, events = loader.load(live, artifacts.get, None)
    assert found.products == ()
    assert [event.kind for event in events] == ["version_refused"] * 3


def test_load_reuses_what_the_previous_lineup_holds(loader: VisionLoader, live: LiveSet, lineup: VisionLineup) -> None:
    fewer = LiveSet("r2", live.versions[:2])
    found, events = loader.load(fewer, {}.get, lineup)
    assert isinstance(found, VisionLineup)
    assert (events, found.products, found.revision) == ([], ("disc", "plate"), "r2")
    digest = live.versions[0].digest
    assert found.loaded[digest].inspector is lineup.loaded[digest].inspector
    # Frames that the old lineup routed are still scored by it.
    assert isinstance(lineup.scorer.score([routed(lineup, "mesh", 3)])[0], Scored)


def test_load_activated_version_is_all_that_is_fetched_and_run(
    loader: VisionLoader,
    live: LiveSet,
    artifacts: dict[str, bytes],
    fake_engine: FakeEngine,
) -> None:
    """Frames come meanwhile: what is open and warm costs them nothing."""
    fetched: list[str] = []

    def artifact_of(digest: str) -> bytes | None:
        fetched.append(digest)
        return artifacts.get(digest)

    before, _ = loader.load(LiveSet("r1", live.versions[:2]), artifact_of, None)
    assert fetched == [version.digest for version in live.versions[:2]]
    fetched.clear()
    fake_engine.batches.clear()
    after, events = loader.load(LiveSet("r2", live.versions), artifact_of, before)
    assert (events, after.products) == ([], ("disc", "mesh", "plate"))
    assert fetched == [live.versions[2].digest]
    probes = len(unpack(artifacts[fetched[0]]).probes)
    assert len(fake_engine.batches) == 2 * probes, "each probe goes through the routing pass and its own"


def test_load_pass_that_no_lineup_has_run_is_warmed_up_beside_warm_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    engine = FakeEngine(is_batched=True)
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: engine)
    loader = VisionLoader(EngineSection(batch_max=4), tmp_path)
    before, _ = loader.load(LiveSet("r1", live.versions[:1]), artifacts.get, None)
    assert isinstance(before, VisionLineup)
    monkeypatch.setattr(lineup_module, "batch_key_of", lambda *_: "another pass")
    engine.batches.clear()
    loader.load(LiveSet("r2", live.versions[:2]), artifacts.get, before)
    assert engine.batches.count(4) == 1


def test_load_store_that_goes_away_ends_the_load_and_refuses_nothing(loader: VisionLoader, live: LiveSet) -> None:
    def artifact_of(_digest: str) -> bytes | None:
        raise LedgerUnavailable("the store is away")

    with pytest.raises(LedgerUnavailable):
        loader.load(live, artifact_of, None)


def test_close_ends_the_load_before_the_next_version(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    fetched: list[str] = []

    def artifact_of(digest: str) -> bytes | None:
        fetched.append(digest)
        loader.close()
        return artifacts.get(digest)

    with pytest.raises(EngineError, match="The agent is stopped"):
        loader.load(live, artifact_of, None)
    assert fetched == [live.versions[0].digest]


def test_load_version_without_bytes_is_refused(loader: VisionLoader, live: LiveSet) -> None:
    found, events = loader.load(live, {}.get, None)
    assert len(events) == 3
    assert found.products == ()


def test_check_canary_engine_that_moves_is_noticed(lineup: VisionLineup, fake_engine: FakeEngine) -> None:
    lineup.check_canary()
    fake_engine.drift = 0.5
    with pytest.raises(ParityError):
        lineup.check_canary()


def test_load_warms_up_the_worst_legal_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    engine = FakeEngine(is_batched=True)
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: engine)
    found, _ = VisionLoader(EngineSection(batch_max=4), tmp_path).load(live, artifacts.get, None)
    assert found.is_batched
    assert {1, 4} <= set(engine.batches)


def test_load_batch_is_measured_once_where_the_configuration_leaves_it_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    engine, measured = FakeEngine(is_batched=True), []
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: engine)
    monkeypatch.setattr(lineup_module, "best_batch", lambda _, canvas: measured.append(canvas) or 16)
    loader = VisionLoader(EngineSection(), tmp_path)
    empty, _ = loader.load(LiveSet("r0", ()), {}.get, None)
    assert empty.batch == 1, "there is nothing to measure with"
    first, _ = loader.load(live, artifacts.get, empty)
    second, _ = loader.load(replace(live, revision="r2"), artifacts.get, first)
    assert (first.batch, second.batch, measured) == (16, 16, [(256, 256)])
    assert {1, 16} <= set(engine.batches)


def test_load_batch_of_single_frames_is_one_whatever_is_configured(lineup: VisionLineup) -> None:
    assert (lineup.batch, lineup.engine) == (1, "fake")


def test_load_engine_of_single_frames_is_warmed_up_by_one_frame(lineup: VisionLineup, fake_engine: FakeEngine) -> None:
    assert not lineup.is_batched
    assert set(fake_engine.batches) == {1}


def test_version_of_other_product_name_routes_under_the_registry_name(
    loader: VisionLoader, live: LiveSet, artifacts: dict[str, bytes]
) -> None:
    renamed: ProductVersion = replace(live.versions[0], product="disc-b")
    found, _ = loader.load(LiveSet("r3", (renamed,)), artifacts.get, None)
    assert found.products == ("disc-b",)


def test_score_tiled_frame_is_a_batch_by_itself_and_the_region_lies_on_the_defect(
    loader: VisionLoader, fake_engine: FakeEngine
) -> None:
    """Frames of 3:1, tiles in a row, only the right two thirds looked at."""
    size = (100, 300)
    images = [ImageSource(f"{seed}", payload=encode(draw("mesh", seed, size=size))) for seed in range(8)]
    framing = Framing(tiles=(1, 2), roi=(1 / 3, 0.0, 2 / 3, 1.0), size_px=256)
    enrolment = enrol("mesh", images, EnrolmentOptions(profile="fast", framing=framing), fake_engine)
    version = version_of(enrolment, "mesh")
    found, events = loader.load(LiveSet("r1", (version,)), {version.digest: enrolment.artifact}.get, None)
    assert (events, found.products) == ([], ("mesh",))

    def answer(at: tuple[int, int] | None, seed: int) -> Scored:
        pixels = draw("mesh", seed, size=size)
        if at is not None:
            cv2.circle(pixels, at, 7, (255, 255, 0), -1)
        frame = found.router.route(frame_of(pixels, str(seed)))
        assert isinstance(frame, Routed)
        assert isinstance(frame.prepared, np.ndarray)
        assert frame.prepared.shape == (256, 480, 3)
        frames.append(frame)
        (scored,) = found.scorer.score([frame])
        assert isinstance(scored, Scored)
        return scored

    frames: list[Routed] = []
    good, outside, inside = answer(None, 50), answer((40, 50), 50), answer((260, 30), 51)
    assert good.level < 1.0
    assert outside.level == good.level
    assert inside.level > 1.0
    region = inside.regions[0]
    assert region.x <= 260 <= region.x + region.width
    assert region.y <= 30 <= region.y + region.height
    assert region.x >= 100
    assert len({frame.batch_key for frame in frames}) == 3
    fake_engine.batches.clear()
    together = found.scorer.score(frames)
    assert fake_engine.batches == [2, 2, 2]
    assert [each.level for each in together if isinstance(each, Scored)] == [good.level, outside.level, inside.level]
