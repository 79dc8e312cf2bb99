"""Shadow versions in a lineup: loaded and checked as live ones, scored on the live pass where it is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import LiveSet, ProductVersion, Routed, Scored
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving import shadows as shadows_module
from inspector.vision.serving.lineup import VisionLineup, VisionLoader
from tests.unit.drawings import FakeEngine, draw, frame_of, good_images, version_of


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, fake_engine: FakeEngine, tmp_path: Path) -> VisionLoader:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: fake_engine)
    return VisionLoader(EngineSection(batch_max=4), tmp_path)


@pytest.fixture(scope="module")
def others() -> dict[str, Enrolment]:
    """Two more versions of the disc: `alike` has the pass and the preparation of the first, `normalised` has not."""
    images, engine = good_images("disc", 12), FakeEngine()
    return {
        "alike": enrol("disc", images[2:10], EnrolmentOptions(), engine),
        "normalised": enrol("disc", images[:8], EnrolmentOptions(exposure="normalised"), engine),
    }


def pixels_of(seed: int) -> NDArray[np.uint8]:
    return draw("disc", seed, defect=seed % 2 == 1)


def never() -> NDArray[np.uint8]:
    raise AssertionError("the frame need not be decoded")


def loaded(loader: VisionLoader, live: Enrolment, shadow: Enrolment) -> VisionLineup:
    versions = version_of(live, "disc"), version_of(shadow, "disc", number=2, live=False)
    contents = {enrolment.digest: enrolment.artifact for enrolment in (live, shadow)}
    found, events = loader.load(LiveSet("r1", versions[:1], versions[1:]), contents.get, None)
    assert events == []
    assert isinstance(found, VisionLineup)
    return found


def scored(lineup: VisionLineup, seed: int) -> Scored:
    routed = lineup.router.route(frame_of(pixels_of(seed), str(seed)))
    assert isinstance(routed, Routed)
    (answer,) = lineup.scorer.score([routed])
    assert isinstance(answer, Scored)
    return answer


def test_score_same_pass_needs_no_second_one_and_gives_what_the_version_gives_when_live(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment], fake_engine: FakeEngine
) -> None:
    lineup = loaded(loader, enrolled["disc"], others["alike"])
    alone = loaded(loader, others["alike"], enrolled["disc"])
    for seed in range(100, 106):
        answer, expected = scored(lineup, seed), scored(alone, seed)
        assert answer.embedding is not None
        fake_engine.batches.clear()
        found = lineup.shadows.score("disc", answer.embedding, never)
        assert fake_engine.batches == []
        assert isinstance(found, Scored)
        assert (found.level, found.threshold) == (pytest.approx(expected.level, rel=1e-5), expected.threshold)


def test_score_other_preparation_makes_its_own_pass_and_gives_what_the_version_gives_when_live(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment]
) -> None:
    lineup = loaded(loader, enrolled["disc"], others["normalised"])
    alone = loaded(loader, others["normalised"], enrolled["disc"])
    for seed in range(100, 104):
        answer, expected = scored(lineup, seed), scored(alone, seed)
        assert answer.embedding is None
        assert not lineup.shadows.can_use("disc", answer.embedding)
        found = lineup.shadows.score("disc", None, lambda seed=seed: pixels_of(seed))  # type: ignore[misc]  # seed of this turn
        assert isinstance(found, Scored)
        assert found.level == pytest.approx(expected.level, rel=1e-5)


def test_score_batch_of_several_keeps_one_row_of_the_pass_for_each(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment]
) -> None:
    lineup = loaded(loader, enrolled["disc"], others["alike"])
    batch = [lineup.router.route(frame_of(pixels_of(seed), str(seed))) for seed in (100, 101, 102)]
    answers = lineup.scorer.score([routed for routed in batch if isinstance(routed, Routed)])
    for seed, answer in zip((100, 101, 102), answers, strict=True):
        assert isinstance(answer, Scored)
        assert answer.embedding is not None
        assert answer.embedding.size_bytes == sum(patches.nbytes for patches in answer.embedding.patches) > 0
        assert all(len(patches) == 1 and patches.base is None for patches in answer.embedding.patches), "no view"
        together = lineup.shadows.score("disc", answer.embedding, never)
        alone = lineup.shadows.score("disc", scored(lineup, seed).embedding, never)
        assert isinstance(together, Scored)
        assert isinstance(alone, Scored)
        assert together.level == pytest.approx(alone.level, rel=1e-5)


def test_score_without_a_shadow_keeps_no_embedding(loader: VisionLoader, enrolled: dict[str, Enrolment]) -> None:
    live = version_of(enrolled["disc"], "disc")
    found, _ = loader.load(LiveSet("r1", (live,)), {live.digest: enrolled["disc"].artifact}.get, None)
    assert isinstance(found, VisionLineup)
    assert scored(found, 100).embedding is None
    assert found.shadows.version_of("disc") is None


def test_score_moved_threshold_of_the_shadow_counts(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment]
) -> None:
    live, shadow = enrolled["disc"], others["alike"]
    versions = version_of(live, "disc"), version_of(shadow, "disc", number=2, live=False)
    contents = {enrolment.digest: enrolment.artifact for enrolment in (live, shadow)}
    first, _ = loader.load(LiveSet("r1", versions[:1], versions[1:]), contents.get, None)
    moved: ProductVersion = replace(versions[1], threshold=2 * versions[1].threshold)
    second, _ = loader.load(LiveSet("r2", versions[:1], (moved,)), contents.get, first)
    answers = [found.shadows.score("disc", None, lambda: pixels_of(101)) for found in (first, second)]
    assert all(isinstance(answer, Scored) for answer in answers)
    before, after = answers
    assert isinstance(before, Scored)
    assert isinstance(after, Scored)
    assert (after.score, after.threshold) == (before.score, moved.threshold)
    assert after.level < before.level


def test_load_shadow_that_is_open_is_not_measured_again(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment], fake_engine: FakeEngine
) -> None:
    live, shadow = version_of(enrolled["disc"], "disc"), version_of(others["alike"], "disc", number=2, live=False)
    first = loaded(loader, enrolled["disc"], others["alike"])
    fake_engine.batches.clear()
    second, events = loader.load(LiveSet("r2", (live,), (shadow,)), {}.get, first)
    assert (events, fake_engine.batches) == ([], [])
    assert second.shadows.version_of("disc") == shadow
    assert second.shadows.expected_ms("disc", None) == first.shadows.expected_ms("disc", None)


def test_load_promoted_shadow_is_not_opened_again(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment]
) -> None:
    lineup = loaded(loader, enrolled["disc"], others["alike"])
    promoted = version_of(others["alike"], "disc", number=2)
    after, events = loader.load(LiveSet("r2", (promoted,)), {}.get, lineup)  # without the bytes of any artifact
    assert isinstance(after, VisionLineup)
    assert (events, list(after.loaded)) == ([], [promoted.digest])
    assert after.shadows.version_of("disc") is None
    assert isinstance(lineup.scorer.score([]), list), "the old lineup still scores what it routed"


def test_load_shadow_that_does_not_reproduce_its_probes_is_refused_alone(
    loader: VisionLoader,
    enrolled: dict[str, Enrolment],
    others: dict[str, Enrolment],
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live = version_of(enrolled["disc"], "disc")
    shadow = version_of(others["alike"], "disc", number=2, live=False)
    first, _ = loader.load(LiveSet("r1", (live,)), {live.digest: enrolled["disc"].artifact}.get, None)
    monkeypatch.setattr(fake_engine, "drift", 3.0)
    contents = {shadow.digest: others["alike"].artifact}
    second, events = loader.load(LiveSet("r2", (live,), (shadow,)), contents.get, first)
    assert second.products == ("disc",)
    assert second.shadows.version_of("disc") is None
    assert [(event.kind, event.subject) for event in events] == [("version_refused", "disc")]
    assert "version 2" in events[0].detail


def test_load_damaged_shadow_is_refused_alone(loader: VisionLoader, enrolled: dict[str, Enrolment]) -> None:
    live = version_of(enrolled["disc"], "disc")
    shadow = replace(version_of(enrolled["plate"], "disc", number=2, live=False), digest="0" * 64)
    contents = {live.digest: enrolled["disc"].artifact, shadow.digest: b"no artifact"}
    found, events = loader.load(LiveSet("r1", (live,), (shadow,)), contents.get, None)
    assert found.products == ("disc",)
    assert [event.kind for event in events] == ["version_refused"]


def test_score_embedding_too_large_to_keep_is_not_kept_and_the_frame_is_judged(
    loader: VisionLoader,
    enrolled: dict[str, Enrolment],
    others: dict[str, Enrolment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lineup = loaded(loader, enrolled["disc"], others["alike"])
    kept = scored(lineup, 100)
    monkeypatch.setattr(shadows_module, "LARGEST_KEPT_BYTES", 1000)
    answer = scored(lineup, 100)
    assert (answer.level, answer.embedding) == (kept.level, None)
    with_own_pass = lineup.shadows.score("disc", None, lambda: pixels_of(100))
    on_live_pass = lineup.shadows.score("disc", kept.embedding, never)
    assert isinstance(with_own_pass, Scored)
    assert isinstance(on_live_pass, Scored)
    assert with_own_pass.level == pytest.approx(on_live_pass.level, rel=1e-5)
    assert lineup.shadows.expected_ms("disc", None) >= lineup.shadows.expected_ms("disc", kept.embedding)


class Uncopied(np.ndarray):
    """Patches that no memory is left to copy."""

    def __getitem__(self, key: object) -> object:
        if isinstance(key, list):
            raise MemoryError("no memory")
        return super().__getitem__(key)  # type: ignore[index]  # whatever NumPy takes


def test_kept_without_memory_for_a_copy_is_none_and_no_error(
    loader: VisionLoader, enrolled: dict[str, Enrolment], others: dict[str, Enrolment]
) -> None:
    lineup = loaded(loader, enrolled["disc"], others["alike"])
    live = lineup.loaded[enrolled["disc"].digest]
    patches = np.zeros((1, 4, 4), np.float32)
    assert lineup.shadows.kept(live, [patches], 0) is not None
    assert lineup.shadows.kept(live, [patches.view(Uncopied)], 0) is None
