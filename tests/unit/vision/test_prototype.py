"""Properties of the prototype head that no profile may lose."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inspector.training.dataset.splitting import held_out
from inspector.training.enrol import Enrolment
from inspector.training.heads.banks import MemberRecipe, build_bank, build_covers, build_pooled, placed
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.pooling import pooled
from inspector.vision.engines.protocols import Bank, Search, unit_length
from inspector.vision.engines.search_graph import bank_feeds
from inspector.vision.heads.base import Readout, top_mean
from inspector.vision.heads.prototype import (
    ORDINARY,
    Member,
    PrototypeHead,
    PrototypeModel,
    on_whole_grid,
    to_measure,
    worst,
)
from inspector.vision.networks.graphs import Embedding
from tests.unit.drawings import FakeEngine

RNG = np.random.default_rng(0)
TOP = Readout("top_share", 0.02, 0.0, 64)


def member(bank: Bank, grid: int = 8, **changes: float) -> Member:
    weights = {"in_decision": 1.0, "in_map": 1.0, "score_usual": 0.0, "score_unit": 1.0, "map_unit": 1.0} | changes
    return Member(0, grid, bank, sources=np.full((len(bank.prototypes), 3), -1, np.int32), **weights)


def plain_bank(prototypes: NDArray[np.float32]) -> Bank:
    return Bank(np.zeros(prototypes.shape[1], np.float32), None, prototypes)


def placed_bank(cells: int) -> Bank:
    rng = np.random.default_rng(4)
    mix, mean = rng.standard_normal((6, 4)).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    prototypes, scales = rng.standard_normal((cells, 4)), rng.uniform(0.5, 2.0, (cells, 4))
    return Bank(mean, mix, prototypes.astype(np.float32), scales=scales.astype(np.float32))


def patches(frames: int = 1, cells: int = 64, channels: int = 6, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((frames, cells, channels)).astype(np.float32)


@pytest.fixture(scope="module", params=["fake", "onnxruntime"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FakeEngine | OnnxEngine:
    return FakeEngine() if request.param == "fake" else OnnxEngine(tmp_path_factory.mktemp("unused"), 1)


def test_search_patch_equal_to_a_prototype_scores_zero(engine: FakeEngine) -> None:
    cells = patches()
    search = engine.search(plain_bank(cells[0, ::4].copy()))
    distances, indices = search.distances(cells), search.indices(cells)
    np.testing.assert_allclose(distances[0, 0, ::4], 0.0, atol=2e-3)
    assert indices[0, ::4].tolist() == list(range(16))


def test_search_equals_the_distances_written_out(engine: FakeEngine) -> None:
    cells, prototypes = patches(2), patches(seed=5)[0, :10]
    mix = RNG.standard_normal((6, 4)).astype(np.float32)
    mean = RNG.standard_normal(6).astype(np.float32)
    bank = Bank(mean, mix, prototypes[:, :4].copy())
    written = np.linalg.norm(((cells - mean) @ mix)[:, :, None] - bank.prototypes, axis=3)
    distances, indices = engine.search(bank).distances(cells), engine.search(bank).indices(cells)
    np.testing.assert_allclose(distances[:, 0], written.min(axis=2), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(indices, written.argmin(axis=2))


def test_search_of_places_compares_each_patch_with_its_own_place_alone(engine: FakeEngine) -> None:
    cells, bank = patches(2), placed_bank(64)
    assert bank.projection is not None
    written = np.linalg.norm((cells - bank.mean) @ bank.projection * bank.scales - bank.prototypes, axis=2)
    search = engine.search(bank)
    np.testing.assert_allclose(search.distances(cells), written[:, None], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(search.indices(cells), [np.arange(64)] * 2)
    turned = search.distances(cells[:, ::-1].copy())
    assert not np.allclose(np.sort(turned), np.sort(search.distances(cells)))  # the same patches in other places


def test_placed_bank_measures_distance_in_the_spread_of_each_place() -> None:
    rng = np.random.default_rng(0)
    spreads = np.array([0.1, 1.0, 4.0], np.float32)[:, None]
    centres = rng.standard_normal((3, 6)).astype(np.float32) * 10
    frames = centres + spreads * rng.standard_normal((400, 3, 6)).astype(np.float32)
    good = placed(frames, None)
    bank = good.bank(np.arange(400) < 300)
    distances = good.distances(bank, np.arange(400) >= 300)
    expected = np.sqrt(6 / (0.9 + 0.1 * np.mean(spreads**2) / spreads[:, 0] ** 2))  # a tenth of all places' variance
    np.testing.assert_allclose(np.sqrt(np.square(distances).mean(axis=0)), expected, rtol=0.1)
    found = FakeEngine().search(bank).distances(frames[300:])
    np.testing.assert_allclose(found[:, 0], distances, rtol=1e-3, atol=1e-3)


def test_placed_bank_of_frames_that_are_all_alike_is_finite() -> None:
    good = placed(np.ones((5, 3, 6), np.float16), 4)
    bank = good.bank(np.ones(5, np.bool_))
    assert bank.prototypes.shape == (3, 4)
    assert bank.scales is not None
    assert np.isfinite(bank.scales).all()
    np.testing.assert_allclose(good.distances(bank, np.ones(5, np.bool_)), 0.0, atol=1e-3)


def test_joint_search_gives_what_each_bank_gives_by_itself(engine: FakeEngine) -> None:
    rng = np.random.default_rng(3)
    mix, mean = rng.standard_normal((6, 4)).astype(np.float32), rng.standard_normal(6).astype(np.float32)
    prototypes = patches(cells=12, seed=5)[0]
    banks = [
        replace(plain_bank(prototypes), covers=3),
        Bank(mean, mix, prototypes[:, :4].copy()),
        Bank(np.zeros(6, np.float32), None, unit_length(prototypes), unit_length=True),
        Bank(mean / 10, mix, prototypes[:, :4].copy(), unit_length=True),
        Bank(mean / 10, None, prototypes, unit_length=True),
        Bank(np.ones(12, np.float32), np.eye(12, dtype=np.float32), prototypes[:1].repeat(2, axis=1), is_pooled=True),
        placed_bank(cells=26),
    ]
    own = [patches(2, cells=20 + number, seed=number) for number in range(len(banks))]
    own[3][0, 7] = 0.0  # a patch without any signal
    together = engine.joint_search(banks).distances(own)
    for bank, cells, distances in zip(banks, own, together, strict=True):
        np.testing.assert_array_equal(distances, engine.search(bank).distances(cells))
        np.testing.assert_allclose(distances, FakeEngine().search(bank).distances(cells), rtol=1e-3, atol=2e-3)


def test_search_of_several_covers_is_each_searched_by_itself(engine: FakeEngine) -> None:
    cells, prototypes = patches(2), patches(cells=12, seed=5)[0]
    together = engine.search(replace(plain_bank(prototypes), covers=3)).distances(cells)
    assert together.shape == (2, 3, 64)
    for cover in range(3):
        alone = engine.search(plain_bank(prototypes[cover * 4 : cover * 4 + 4])).distances(cells)
        np.testing.assert_allclose(together[:, cover], alone[:, 0], rtol=1e-3, atol=1e-3)
    whole = engine.search(plain_bank(prototypes)).distances(cells)
    np.testing.assert_allclose(together.min(axis=1), whole[:, 0], rtol=1e-3, atol=1e-3)


def test_judge_a_member_of_several_covers_says_the_mean_of_their_scores() -> None:
    cells, bank = patches(), replace(plain_bank(patches(seed=3)[0, :6]), covers=2)
    both = PrototypeModel((member(bank),), TOP).open(FakeEngine()).judge([cells])[0]
    halves = [plain_bank(bank.prototypes[:3]), plain_bank(bank.prototypes[3:])]
    alone = [PrototypeModel((member(each),), TOP).open(FakeEngine()).judge([cells])[0] for each in halves]
    assert both.score == pytest.approx(np.mean([each.score for each in alone]), rel=1e-5)
    np.testing.assert_allclose(both.grid_map, np.mean([each.grid_map for each in alone], axis=0), rtol=1e-5)


def test_head_holds_no_bank_twice_until_a_map_is_drawn() -> None:
    """Copies of banks are the greater part of what a product takes in memory."""
    made: list[weakref.ref[object]] = []

    class Watched(FakeEngine):
        def search(self, bank: Bank) -> Search:
            found = super().search(bank)
            made.append(weakref.ref(found))
            return found

    cells = patches()
    decides = member(plain_bank(patches(seed=3)[0, :6]), in_map=0.0)
    draws = member(plain_bank(patches(seed=4)[0, :6]), in_decision=0.0)
    head = PrototypeModel((decides, draws), TOP).open(Watched())
    (judgement,) = head.judge([cells])
    gc.collect()
    assert sum(each() is not None for each in made) == 1  # that of the decision
    assert judgement.grid_map.max() > 0
    assert sum(each() is not None for each in made) == 2


def test_build_covers_begin_elsewhere_and_are_of_one_size() -> None:
    vectors = patches(cells=400)[0]
    recipe = MemberRecipe(Embedding((8,), 8), 20, covers=3)
    bank, picked = build_covers(vectors, recipe, np.random.default_rng(0))
    assert picked is not None
    np.testing.assert_array_equal(vectors[picked] - bank.mean, bank.prototypes)
    first, second, third = np.split(picked, 3)
    assert len({int(each[0]) for each in (first, second, third)}) == 3
    few = np.repeat(patches(cells=4)[0], 5, axis=0)
    bank, picked = build_covers(few, recipe, np.random.default_rng(0))
    assert bank.prototypes.shape == (12, 6)
    assert len(np.unique(bank.prototypes, axis=0)) == 4


def test_search_cosine_equals_one_minus_the_largest_similarity(engine: FakeEngine) -> None:
    """The 1x1 convolution and channel max-pool of the paper, written as a matrix product."""
    cells, prototypes = patches(), unit_length(patches(seed=6)[0, :9])
    bank = Bank(np.zeros(6, np.float32), None, prototypes, unit_length=True)
    distances = engine.search(bank).distances(cells)
    similarity = unit_length(cells[0]) @ prototypes.T
    np.testing.assert_allclose(to_measure(distances, True)[0, 0], 1 - similarity.max(axis=1), atol=1e-4)


@given(st.integers(0, 500))
def test_measure_cosine_stays_within_zero_and_two(seed: int) -> None:
    cells = patches(seed=seed)
    bank = Bank(np.zeros(6, np.float32), None, unit_length(-cells[0, :1]), unit_length=True)
    measured = to_measure(FakeEngine().search(bank).distances(cells), True)
    assert measured.min() >= 0.0
    assert measured.max() <= 2.0


@given(st.integers(0, 500), st.integers(1, 20))
def test_search_adding_a_prototype_never_raises_a_distance(seed: int, count: int) -> None:
    cells, prototypes = patches(seed=seed), patches(cells=count + 1, seed=seed + 1)[0]
    engine = FakeEngine()
    fewer = engine.search(plain_bank(prototypes[:count])).distances(cells)
    more = engine.search(plain_bank(prototypes)).distances(cells)
    assert (more <= fewer + 1e-4).all()


def test_judge_image_score_is_the_mean_of_the_top_of_its_map() -> None:
    cells, bank = patches(), plain_bank(patches(seed=3)[0, :4])
    head = PrototypeModel((member(bank),), TOP).open(FakeEngine())
    judged = head.judge([cells])[0]
    distances = FakeEngine().search(bank).distances(cells)
    np.testing.assert_allclose(judged.grid_map, distances.reshape(8, 8))
    assert judged.score == pytest.approx(float(np.sort(distances[0, 0])[-1:].mean()))


def test_judge_the_member_that_minds_most_decides() -> None:
    cells, bank = patches(), plain_bank(patches(seed=3)[0, :4])
    one = PrototypeModel((member(bank),), TOP).open(FakeEngine()).judge([cells])[0].score
    members = [
        member(bank, score_usual=one - 1.0, score_unit=2.0),  # half a spread beyond its median
        member(bank, score_usual=one - 1.0, score_unit=0.25, in_map=0.0),  # four
        member(bank, score_usual=one - 1.0, score_unit=0.01, in_decision=0.0),  # a hundred, but it only draws
    ]
    judged = PrototypeModel(tuple(members), TOP).open(FakeEngine()).judge([cells])[0]
    assert judged.score == pytest.approx(4.0 + ORDINARY, rel=1e-5)


def test_judge_draws_a_map_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, bank = patches(3), plain_bank(patches(seed=3)[0, :4])
    members = [member(bank, in_map=0.0), member(bank, in_decision=0.0), member(bank)]
    drawn: list[tuple[int, int]] = []
    measure = PrototypeHead.measure

    def counted(head: PrototypeHead, index: int, given: NDArray[np.float32]) -> NDArray[np.float32]:
        drawn.append((index, len(given)))
        return measure(head, index, given)

    monkeypatch.setattr(PrototypeHead, "measure", counted)
    judged = PrototypeModel(tuple(members), TOP).open(FakeEngine()).judge([cells])
    assert drawn == []  # members of the decision are searched together
    expected = FakeEngine().search(bank).distances(cells[1:2])[0].reshape(8, 8) * 2
    np.testing.assert_allclose(judged[1].grid_map, expected, rtol=1e-5)
    assert judged[1].grid_map is judged[1].grid_map
    assert drawn == [(1, 1)]  # the map of the member that decides and draws is known
    back = pickle.loads(pickle.dumps(judged[0]))
    assert back.score == judged[0].score
    np.testing.assert_array_equal(back.grid_map, judged[0].grid_map)


def test_judge_a_single_member_says_its_score_in_its_unit() -> None:
    cells, bank = patches(), plain_bank(patches(seed=3)[0, :4])
    one = PrototypeModel((member(bank),), TOP).open(FakeEngine()).judge([cells])[0].score
    head = PrototypeModel((member(bank, score_usual=0.7, score_unit=2.0),), TOP).open(FakeEngine())
    assert head.judge([cells])[0].score == pytest.approx(one / 2.0, rel=1e-5)


def test_worst_is_never_below_zero_and_never_hides_what_is_not_finite() -> None:
    bank = plain_bank(patches(seed=3)[0, :4])
    pair = [member(bank, score_usual=5.0), member(bank, score_usual=5.0)]
    assert worst(pair, {0: 0.0, 1: 0.0}, ordinary=1.0) == 0.0
    assert np.isnan(worst(pair, {0: np.nan, 1: 9.0}, ordinary=1.0))
    assert np.isnan(worst(pair, {0: 9.0, 1: np.nan}, ordinary=1.0))


def test_judge_batch_equals_frame_by_frame(engine: FakeEngine) -> None:
    cells = patches(5)
    head = PrototypeModel((member(plain_bank(patches(seed=3)[0, :4])),), TOP).open(engine)
    together = head.judge([cells])
    alone = [head.judge([cells[row : row + 1]])[0] for row in range(5)]
    assert [judged.score for judged in together] == [judged.score for judged in alone]


def test_judge_frame_that_is_not_finite_spoils_no_other() -> None:
    cells = patches(3)
    head = PrototypeModel((member(plain_bank(patches(seed=3)[0, :4])),), TOP).open(FakeEngine())
    expected = [judged.score for judged in head.judge([cells])]
    cells[1] = np.nan
    found = [judged.score for judged in head.judge([cells])]
    assert not np.isfinite(found[1])
    assert (found[0], found[2]) == (expected[0], expected[2])


def test_readout_smoothed_max_is_the_maximum_of_the_smoothed_map() -> None:
    spot = np.zeros((16, 16), np.float32)
    spot[8, 8] = 1.0
    readout = Readout("smoothed_max", 0.0, 4.0, 64)
    smooth = readout.smoothed(spot)
    assert smooth.shape == (64, 64)
    assert readout.score(spot) == pytest.approx(float(smooth.max()))
    assert 0 < readout.score(spot) < 1


def test_top_mean_takes_at_least_one_value() -> None:
    values = np.array([1.0, 5.0, 3.0], np.float32)
    assert top_mean(values[None], 0.01) == [5.0]
    assert top_mean(np.stack([values, -values]), 0.67).tolist() == [4.0, -2.0]


def test_build_bank_whitened_patches_have_unit_spread() -> None:
    vectors = (RNG.standard_normal((2000, 5)) * [10, 1, 0.1, 5, 2]).astype(np.float32)
    bank, picked = build_bank(vectors, MemberRecipe(Embedding((8,), 8), 50, whiten=True), np.random.default_rng(0))
    assert bank.projection is not None
    assert picked is not None
    spread = np.sort(((vectors - bank.mean) @ bank.projection).std(axis=0))
    np.testing.assert_allclose(spread[2:], 1.0, atol=0.1)
    assert spread[0] < 0.3  # noise is held down by the floor, not blown up
    np.testing.assert_allclose((vectors[picked] - bank.mean) @ bank.projection, bank.prototypes, rtol=1e-5)


@pytest.mark.parametrize("clustering", ["spherical-kmeans", "first-neighbour"])
def test_build_bank_protoad_prototypes_are_unit_means(clustering: str) -> None:
    recipe = MemberRecipe(Embedding((8,), 8), 20, unit_length=True, clustering=clustering)  # type: ignore[arg-type]
    bank, picked = build_bank(patches(cells=500)[0], recipe, np.random.default_rng(0))
    assert picked is None
    assert 1 <= len(bank.prototypes) <= 20
    np.testing.assert_allclose(np.linalg.norm(bank.prototypes, axis=1), 1.0, atol=1e-5)


@given(st.integers(5, 3000))
def test_held_out_any_count_keeps_about_a_fifth_apart(count: int) -> None:
    apart = held_out(count)
    assert apart.any()
    assert not apart.all()
    assert abs(apart.mean() - 0.2) < 0.17 if count < 50 else abs(apart.mean() - 0.2) < 0.03


def test_pooled_frame_is_the_mean_and_spread_of_each_channel() -> None:
    import torch

    cells = patches(3)
    found = pooled(cells)
    assert found.shape == (3, 1, 12)
    np.testing.assert_allclose(found[:, 0, :6], cells.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found[:, 0, 6:], cells.std(axis=1), atol=1e-5)
    np.testing.assert_allclose(pooled(torch.from_numpy(cells)).numpy(), found, atol=1e-5)
    np.testing.assert_array_equal(pooled(cells[1:2])[0], found[1])


def test_pooled_member_finds_a_change_of_the_frame_that_no_patch_shows(engine: FakeEngine) -> None:
    good = patches(40, seed=3)
    bank = build_pooled(pooled(good)[:, 0])
    whole = member(replace(bank, is_pooled=True), grid=1)
    head = PrototypeModel((whole, member(plain_bank(good.reshape(-1, 6)[::40].copy()))), TOP).open(engine)
    ordinary = patches(1, seed=50)
    calm = ordinary * np.float32(0.5)  # each patch lies among the good ones, all together spread too little
    scores = [float(head.measure(0, frame)[0].squeeze()) for frame in (ordinary, calm)]
    assert head.measure(0, ordinary).shape == (1, 1, 1, 1)
    assert scores[1] > 2 * scores[0]


def test_build_pooled_few_frames_measures_a_finite_distance() -> None:
    frames = pooled(patches(2))[:, 0]
    bank = build_pooled(frames)
    assert bank.projection is not None
    distances = np.linalg.norm((pooled(patches(3, seed=9))[:, 0] - bank.mean) @ bank.projection, axis=1)
    assert np.isfinite(distances).all()
    assert (distances > 0).all()


@pytest.mark.parametrize("grid", [4, 5])
def test_whole_grid_of_checkered_cells_fills_each_gap_with_the_cells_beside_it(grid: int) -> None:
    ramp = np.add.outer(10.0 * np.arange(grid), np.arange(grid)).astype(np.float32)
    ours = np.add.outer(np.arange(grid), np.arange(grid)) % 2 == 0
    whole = on_whole_grid(ramp[ours], grid)
    np.testing.assert_array_equal(whole[ours], ramp[ours])
    np.testing.assert_allclose(whole[1:-1, 1:-1], ramp[1:-1, 1:-1], rtol=1e-6)
    assert whole[0, 1] == pytest.approx((ramp[0, 0] + ramp[0, 2] + ramp[1, 1]) / 3)
    np.testing.assert_array_equal(on_whole_grid(ramp, grid), ramp)


def test_build_bank_on_few_axes_compares_directions_within_them() -> None:
    rng = np.random.default_rng(2)
    vectors = (rng.standard_normal((300, 2)) @ rng.standard_normal((2, 6)) + 3.0).astype(np.float32)
    vectors += 0.01 * rng.standard_normal(vectors.shape).astype(np.float32)
    recipe = MemberRecipe(Embedding((8,), 8), 20, unit_length=True, clustering="spherical-kmeans", axes=3)
    bank, _ = build_bank(vectors, recipe, np.random.default_rng(0))
    assert bank.projection is not None
    assert bank.projection.shape == (6, 3)
    np.testing.assert_allclose(np.linalg.norm(bank.prototypes, axis=1), 1.0, rtol=1e-5)
    directions = unit_length(vectors)
    kept = directions @ bank.projection @ bank.projection.T
    assert np.linalg.norm(kept - directions, axis=1).max() < 0.02  # three axes hold what there is in the six channels
    whole, _ = build_bank(vectors, replace(recipe, axes=None), np.random.default_rng(0))
    assert whole.projection is None


def test_member_reads_its_map_by_its_own_share() -> None:
    cells, bank = patches(), plain_bank(patches(seed=5)[0, :4])
    head = PrototypeModel((replace(member(bank), top_share=1 / 64),), TOP).open(FakeEngine())
    raw = head.measure(0, cells)[0]
    assert head.judge([cells])[0].score == pytest.approx(float(raw.max()))
    wide = PrototypeModel((replace(member(bank), top_share=1.0),), TOP).open(FakeEngine())
    assert wide.judge([cells])[0].score == pytest.approx(float(raw.mean()))


def test_read_bank_is_searched_in_the_arrays_that_were_read(enrolled: dict[str, Enrolment]) -> None:
    artifact = unpack(enrolled["disc"].artifact)
    assert isinstance(artifact.head, PrototypeModel)
    for member in artifact.head.members:
        feeds = bank_feeds(member.bank)
        assert np.shares_memory(feeds["prototypes_0"], member.bank.prototypes)
