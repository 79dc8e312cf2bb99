"""The student head: one graph for all students, training that can be interrupted, and the head in the product."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import Failure, LiveSet, Scored
from inspector.errors import ArtifactError
from inspector.evaluation.evaluate import EvaluationOptions, evaluate
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.training.heads import student_training
from inspector.training.heads.factory import recipe_for
from inspector.training.heads.student import StudentRecipe, scale_of, split
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.heads.student_training import StudentTrainer, Variant, hard_mined, level_loss
from inspector.training.heads.teacher_maps import TeacherMaps, look
from inspector.vision.artifacts.format import LEVEL_TOLERANCE, pack, unpack
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.torch_engine import TorchEngine
from inspector.vision.heads.base import Readout
from inspector.vision.heads.student import LevelScale, StudentModel
from inspector.vision.networks.student_graph import MAPS, STUDENT_EMBEDDINGS, StudentWeights, check_shapes, tensor_names
from inspector.vision.networks.student_network import Comparison, StudentNetwork
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.lineup import VisionLoader
from inspector.vision.serving.product_inspector import ProductInspector
from tests.unit.drawings import FakeEngine, draw, encode, frame_of, good_images, version_of

CHANNELS = {"stem": 6, "low": 5, "high": 7}
SIDES = {"stem": 16, "low": 8, "high": 4}
SHORT = TrainingPlan(steps=20, check_every=5)
OPTIONS = EnrolmentOptions(head="student", training=TrainingPlan(steps=8, check_every=4))


def patches(count: int, seed: int = 0) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((count, SIDES[name] ** 2, CHANNELS[name])).astype(np.float32) for name in MAPS]


def teacher_maps(count: int = 9) -> TeacherMaps:
    """A teacher that says at each level what the stem says there, averaged and mixed: it can be learnt."""
    rng = np.random.default_rng(1)
    stem = rng.standard_normal((count, 4, 4, 6)).repeat(4, axis=1).repeat(4, axis=2)
    stem += 0.1 * rng.standard_normal(stem.shape)
    found = {"stem": stem}
    for name, factor in (("low", 2), ("high", 4)):
        side = SIDES[name]
        pooled = stem.reshape(count, side, factor, side, factor, 6).mean(axis=(2, 4))
        found[name] = pooled @ rng.standard_normal((6, CHANNELS[name]))
    arrays = {name: value.reshape(count, -1, value.shape[-1]).astype(np.float16) for name, value in found.items()}
    return TeacherMaps(range(count), arrays)


def random_weights(seed: int = 0, *, is_coded: bool = True) -> StudentWeights:
    rng = np.random.default_rng(seed)
    network = StudentNetwork(*CHANNELS.values())
    tensors = {
        name: (0.1 * rng.standard_normal(tuple(value.shape))).astype(np.float32)
        for name, value in network.state_dict().items()
    }
    for name, channels in CHANNELS.items():
        tensors[f"{name}.mean"] = rng.standard_normal(channels).astype(np.float32)
        tensors[f"{name}.scale"] = rng.uniform(0.5, 2.0, channels).astype(np.float32)
    return StudentWeights(tensors, is_coded)


def trainer(plan: TrainingPlan = SHORT, variant: Variant | None = None, seed: int = 0) -> StudentTrainer:
    return StudentTrainer(teacher_maps(), range(6), range(6, 9), replace(plan, seed=seed), variant)


def same(one: StudentWeights, other: StudentWeights) -> bool:
    return all(np.array_equal(one.tensors[name], other.tensors[name]) for name in tensor_names())


@pytest.fixture(scope="module")
def onnx_engine(engine_cache: Path) -> OnnxEngine:
    return OnnxEngine(engine_cache, 1)


@pytest.fixture(scope="module")
def taught() -> dict[str, Enrolment]:
    """Two products with a student each, on the fake engine. Never changed by a test."""
    return {name: enrol(name, good_images(name, 12), OPTIONS, FakeEngine()) for name in ("disc", "mesh")}


# The graph ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_coded", [True, False])
def test_student_graph_agrees_with_torch(onnx_engine: OnnxEngine, is_coded: bool) -> None:
    weights, batch = random_weights(is_coded=is_coded), patches(3)
    ours = onnx_engine.student(weights)(batch)
    theirs = TorchEngine("torch", 1).student(weights)(batch)
    assert [(low.shape, high.shape) for low, high in ours] == [((8, 8), (4, 4))] * 3
    for one, other in zip(ours, theirs, strict=True):
        for mine, his in zip(one, other, strict=True):
            np.testing.assert_allclose(mine, his, rtol=1e-4, atol=1e-5)


def test_student_graph_batch_equals_frame_by_frame_to_the_bit(onnx_engine: OnnxEngine) -> None:
    compare, batch = onnx_engine.student(random_weights()), patches(3)
    together = compare(batch)
    for row in range(3):
        alone = compare([each[row : row + 1] for each in batch])[0]
        assert all(np.array_equal(one, other) for one, other in zip(together[row], alone, strict=True))


def test_student_graph_is_one_session_for_all_products(onnx_engine: OnnxEngine) -> None:
    first, second = (onnx_engine.student(random_weights(seed)) for seed in (1, 2))
    assert first._session is second._session  # type: ignore[attr-defined]
    assert not np.array_equal(first(patches(1))[0][0], second(patches(1))[0][0])


def test_student_graph_bad_frame_leaves_the_others_alone(onnx_engine: OnnxEngine) -> None:
    scale = LevelScale(0.0, 1.0)
    model = StudentModel(random_weights(), (0, 1, 2), scale, scale, Readout("smoothed_max", 0.02, 4.0, 64))
    head = model.open(onnx_engine)
    batch = patches(3)
    whole = [judgement.score for judgement in head.judge(batch)]
    batch[0][1, 5] = np.nan
    found = [judgement.score for judgement in head.judge(batch)]
    assert not np.isfinite(found[1])
    assert [found[0], found[2]] == [whole[0], whole[2]]


@pytest.mark.parametrize("name", ["first.weight", "to_low.bias", "high.mean"])
def test_check_shapes_missing_or_misshapen_tensor_is_an_artifact_error(name: str) -> None:
    tensors = dict(random_weights().tensors)
    check_shapes(StudentWeights(tensors))
    tensors[name] = tensors[name][..., :-1]
    with pytest.raises(ArtifactError):
        check_shapes(StudentWeights(tensors))
    del tensors[name]
    with pytest.raises(ArtifactError, match=name):
        check_shapes(StudentWeights(tensors))


# Reading the maps -----------------------------------------------------------------------------------


def test_scale_of_quantiles_become_zero_and_a_tenth() -> None:
    values = np.arange(1001, dtype=np.float32)
    scale = scale_of(values, 0.5, 0.5)
    np.testing.assert_allclose(scale.levels(np.array([900.0, 995.0])), [0.0, 0.1], atol=1e-6)
    flat = scale_of(np.full(10, 3.0, np.float32), 0.5, 0.5)
    assert flat.tenth > flat.zero


def test_blend_score_is_the_maximum_of_the_smoothed_average_and_never_negative() -> None:
    readout = Readout("smoothed_max", 0.02, 4.0, 64)
    scale = LevelScale(1.0, 2.0)
    head = StudentModel(random_weights(), (0, 1, 2), scale, scale, readout).open(FakeEngine())
    low, high = np.ones((8, 8), np.float32), np.ones((4, 4), np.float32)
    assert head.blend(low, high).score == 0.0
    assert head.blend(low * 0, high * 0).score == 0.0
    np.testing.assert_allclose(head.blend(low * 3, high * 5).score, (0.2 + 0.4) / 2, rtol=1e-5)
    low[3, 3] = 40.0
    found = head.blend(low, high)
    assert found.score == found.grid_map.max()
    assert found.score < 0.5 * scale.levels(low).max()


def test_blend_top_share_reads_the_unsmoothed_decision() -> None:
    scale = LevelScale(0.0, 1.0)
    readout = Readout("top_share", 0.02, 4.0, 64)
    low, high = np.zeros((8, 8), np.float32), np.zeros((4, 4), np.float32)
    low[3, 3] = 4.0
    found = StudentModel(random_weights(), (0, 1, 2), scale, scale, readout).open(FakeEngine()).blend(low, high)
    np.testing.assert_allclose(found.score, 0.2)  # one of 64 cells, in a tenth of its value, by half
    assert found.grid_map.max() < 0.2


def test_blend_decision_and_map_may_weigh_levels_differently() -> None:
    readout = Readout("smoothed_max", 0.02, 0.0, 64)
    scales = LevelScale(0, 1, 0.0, 1.0), LevelScale(0, 1, 1.0, 0.0)
    found = (
        StudentModel(random_weights(), (0, 1, 2), *scales, readout)
        .open(FakeEngine())
        .blend(np.full((8, 8), 2.0, np.float32), np.full((4, 4), 5.0, np.float32))
    )
    np.testing.assert_allclose(found.score, 0.5)
    np.testing.assert_allclose(found.grid_map, 0.2)


# Training -------------------------------------------------------------------------------------------


def test_hard_mined_is_the_mean_above_the_quantile_blended_with_the_mean_of_all() -> None:
    term = torch.arange(1000.0).view(1, 10, 10, 10)
    torch.testing.assert_close(hard_mined(term, 1.0), torch.tensor(994.5))
    torch.testing.assert_close(hard_mined(term, 0.0), torch.tensor(499.5))
    torch.testing.assert_close(hard_mined(term, 0.5), torch.tensor(747.0))
    assert hard_mined(torch.ones(1, 1, 2, 2), 1.0) == 1.0


@pytest.mark.parametrize("is_coded", [True, False])
def test_level_loss_equal_maps_is_zero(is_coded: bool) -> None:
    features = torch.randn((2, 5, 8, 8), generator=torch.Generator().manual_seed(0))
    assert level_loss(features, features.clone(), 0.5, is_coded=is_coded) == 0.0


def test_train_learns_what_the_teacher_says_of_images_it_never_saw() -> None:
    maps = teacher_maps()
    plan = TrainingPlan(steps=150, check_every=50, learning_rate=3e-3)
    weights = StudentTrainer(maps, range(6), range(6, 9), plan).run()
    untaught = StudentTrainer(maps, range(6), range(6, 9), plan)._weights()
    unseen = [torch.from_numpy(np.stack([maps.of(name, 8)]).astype(np.float32)) for name in MAPS]
    with torch.inference_mode():
        before, after = (sum(float(m.mean()) for m in Comparison(each)(*unseen)) for each in (untaught, weights))
    assert after < 0.5 * before


def test_train_twice_gives_the_same_student_and_another_seed_another() -> None:
    assert same(trainer().run(), trainer().run())
    assert not same(trainer().run(), trainer(seed=1).run())


def test_train_leaves_the_callers_random_state_and_threads_alone() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    trainer().run()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_train_interrupted_goes_on_to_the_same_student(tmp_path: Path) -> None:
    plan = replace(SHORT, folder=tmp_path)

    def die(done: int, _total: int) -> None:
        if done == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(plan).run(die)
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]
    steps: list[int] = []
    found = trainer(plan).run(lambda done, _total: steps.append(done))
    assert steps[0] == 11  # after the last check
    assert same(found, trainer().run())
    assert not list(tmp_path.iterdir())


def test_train_damaged_or_foreign_checkpoint_starts_anew(tmp_path: Path) -> None:
    plan = replace(SHORT, folder=tmp_path)
    path = trainer(plan)._checkpoint
    assert path is not None
    assert path != trainer(plan, Variant(is_coded=False))._checkpoint
    path.write_bytes(b"\x00" * 100)
    assert same(trainer(plan).run(), trainer().run())


def test_train_without_gain_stops_early_after_the_slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_training, "SMALLEST_GAIN", 1.0)
    seen: list[tuple[int, int]] = []
    trainer(TrainingPlan(steps=400, check_every=10, patience=2)).run(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (180, 180)  # the mining ramps up for 160 steps, then 20 slow ones


@pytest.mark.parametrize(("levels", "still"), [(("low",), "third"), (("high",), "to_low")])
def test_train_one_level_leaves_the_others_layers_as_they_were(levels: tuple[str, ...], still: str) -> None:
    plan = replace(SHORT, weight_decay=0.0, steps=6)
    start = trainer(plan)._weights().tensors[f"{still}.weight"]
    found = trainer(plan, Variant(levels)).run().tensors
    assert np.array_equal(found[f"{still}.weight"], start)
    assert not np.array_equal(found["first.weight"], trainer(plan)._weights().tensors["first.weight"])


def test_trainer_without_images_to_check_on_is_refused() -> None:
    with pytest.raises(ValueError, match="checked on"):
        StudentTrainer(teacher_maps(), range(6), [], SHORT)


# The cache and the split ----------------------------------------------------------------------------


def test_look_two_thousand_images_of_the_default_backbone_stay_within_the_bound() -> None:
    per_image = 2 * (64 * 64 * 24 + 32 * 32 * 40 + 16 * 16 * 112)
    assert 2000 * per_image < student_training_bound()


def student_training_bound() -> int:
    from inspector.training.heads.teacher_maps import CACHE_BYTES

    assert CACHE_BYTES < 2 << 30
    return CACHE_BYTES


def test_look_more_than_fits_keeps_an_even_sample() -> None:
    images = [np.full((2, 2, 3), value, np.uint8) for value in range(20)]

    def embed(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        value = pixels[:, 0, 0, 0].astype(np.float32)
        return [np.broadcast_to(value[:, None, None] * 1e4, (len(pixels), 4, 8)) for _ in MAPS]

    found = look(images, range(20), embed, lambda _done, _total: None, limit_bytes=2 * 96 * 2 * 5 // 2)
    assert found.indices == (0, 5, 10, 14, 19)
    assert found.of("low", 5)[0, 0] == 50_000
    assert found.of("low", 10)[0, 0] == np.finfo(np.float16).max  # clipped, never infinite
    everything = look(images, range(20), embed, lambda _done, _total: None)
    assert everything.indices == tuple(range(20))


def test_standardisation_gives_zero_mean_and_unit_spread() -> None:
    maps = teacher_maps()
    scales = maps.standardisation(range(6))
    for name in MAPS:
        mean, scale = scales[name]
        values = np.concatenate([maps.of(name, image) for image in range(6)]).astype(np.float32)
        scaled = (values - mean) * scale
        np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-3)
        np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=1e-3)


@pytest.mark.parametrize(("count", "calibrating"), [(5, 1), (31, 10), (60, 20), (100, 20), (500, 100)])
def test_split_parts_are_disjoint_and_complete(count: int, calibrating: int) -> None:
    parts = split(count)
    assert len(parts.calibrating) == calibrating
    assert parts.training
    assert parts.checking
    assert sorted(parts.training + parts.checking + parts.calibrating) == list(range(count))


@pytest.mark.parametrize("profile", ["fast", "standard", "fine"])
def test_recipe_for_student_is_fine_whatever_is_asked_for(profile: str) -> None:
    recipe = recipe_for("student", profile)
    assert (recipe.head, recipe.profile, recipe.embeddings) == ("student", "fine", STUDENT_EMBEDDINGS)


def test_student_recipe_trains_the_levels_that_weigh_in_anything() -> None:
    assert StudentRecipe().levels == ("low", "high")
    assert StudentRecipe(low_in_decision=0.0).levels == ("low", "high")
    assert StudentRecipe(low_in_decision=0.0, low_in_map=0.0).levels == ("high",)


# In the product -------------------------------------------------------------------------------------


def test_enrol_student_is_certified_by_images_it_never_saw(taught: dict[str, Enrolment]) -> None:
    manifest, report = taught["disc"].manifest, taught["disc"].report
    assert (manifest["head"], manifest["calibration"]["kind"], manifest["calibration"]["n"]) == (
        "student",
        "certified",
        4,
    )
    assert manifest["calibration"]["provisional"]
    assert "never seen by the student" in manifest["calibration"]["held_out"]
    assert manifest["training"]["steps"] == 8
    assert "folder" not in manifest["training"]
    assert list(report.seconds) == [
        "engine",
        "read",
        "hygiene",
        "choice",
        "teacher_maps",
        "training",
        "calibration",
        "anchors_and_probes",
    ]


def test_evaluate_student_head_gives_the_figures(tmp_path: Path) -> None:
    for kind, seeds in (("train/good", range(8)), ("test/good", range(50, 52)), ("test/spot", range(90, 92))):
        (tmp_path / "disc" / kind).mkdir(parents=True)
        for seed in seeds:
            picture = draw("disc", seed, defect=kind == "test/spot")
            (tmp_path / "disc" / kind / f"{seed}.png").write_bytes(encode(picture))
    options = EvaluationOptions(head="student", mode="oracle", training=TrainingPlan(steps=4, check_every=2))
    found = evaluate(tmp_path, options, FakeEngine())
    assert (found["head"], found["heads"], found["profile"]) == ("student", {"disc": "student"}, "fine")
    assert found["products"]["disc"]["image_auroc"] == 1.0


def test_enrol_student_twice_gives_the_same_weights(taught: dict[str, Enrolment]) -> None:
    again = unpack(enrol("disc", good_images("disc", 12), OPTIONS, FakeEngine()).artifact)
    first = unpack(taught["disc"].artifact)
    assert same(again.head.weights, first.head.weights)
    assert again.calibration == first.calibration


def test_student_artifact_packed_and_unpacked_is_the_same(taught: dict[str, Enrolment]) -> None:
    artifact = unpack(taught["disc"].artifact)
    again = unpack(pack(artifact)[0])
    assert same(again.head.weights, artifact.head.weights)
    assert again.head == replace(artifact.head, weights=again.head.weights)
    assert again.manifest == artifact.manifest


def test_student_artifact_without_a_layer_is_refused(taught: dict[str, Enrolment]) -> None:
    artifact = unpack(taught["disc"].artifact)
    lame = {name: value for name, value in artifact.head.weights.tensors.items() if not name.startswith("third")}
    head = replace(artifact.head, weights=StudentWeights(lame))
    with pytest.raises(ArtifactError):
        unpack(pack(replace(artifact, head=head))[0])


def test_student_probes_reproduce_and_a_drifting_engine_is_refused(taught: dict[str, Enrolment]) -> None:
    from inspector.errors import ParityError

    artifact = unpack(taught["disc"].artifact)
    for engine, is_right in ((FakeEngine(), True), (FakeEngine(drift=0.5), False)):
        passes = engine.embedder(artifact.graph), RoutingPass.on(engine)
        if is_right:
            ProductInspector(artifact, engine).check_probes(*passes)
        else:
            with pytest.raises(ParityError):
                ProductInspector(artifact, engine).check_probes(*passes)


def test_lineup_students_and_prototypes_side_by_side_keep_order_and_fail_alone(
    taught: dict[str, Enrolment], enrolled: dict[str, Enrolment], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr("inspector.vision.serving.lineup.create_engine", lambda *_: engine)
    versions = {"disc": taught["disc"], "mesh": taught["mesh"], "plate": enrolled["plate"]}
    live = LiveSet("r1", tuple(version_of(each, name) for name, each in versions.items()))
    lineup, events = VisionLoader(EngineSection(), Path("unused")).load(
        live, {each.digest: each.artifact for each in versions.values()}.get, None
    )
    assert not events
    lineup.check_canary()
    routed = []
    for number, name in enumerate(["disc", "plate", "mesh", "disc", "mesh"]):
        found = lineup.router.route(frame_of(draw(name, 40 + number, defect=number > 2), str(number)))
        assert not isinstance(found, Failure)
        assert found.facts.product == name
        routed.append(found)
    assert routed[0].batch_key == routed[2].batch_key  # two students share a pass
    alone = [lineup.scorer.score([each])[0] for each in routed]
    together = lineup.scorer.score(routed)
    assert [each.score for each in together if isinstance(each, Scored)] == [
        each.score for each in alone if isinstance(each, Scored)
    ]
    engine.fail_on = 77
    routed[2] = replace(routed[2], prepared=np.full_like(routed[2].prepared, 77))
    mixed = lineup.scorer.score(routed)
    assert [isinstance(each, Failure) for each in mixed] == [False, False, True, False, False]
    assert [each.score for index, each in enumerate(mixed) if isinstance(each, Scored)] == [
        each.score for index, each in enumerate(alone) if index != 2 and isinstance(each, Scored)
    ]


def test_student_enrolled_on_onnxruntime_runs_there_without_torch_and_on_torch_alike(
    onnx_engine: OnnxEngine, engine_cache: Path, tmp_path: Path
) -> None:

    options = replace(OPTIONS, training=TrainingPlan(steps=4, check_every=2))
    content = enrol("disc", good_images("disc", 6), options, onnx_engine).artifact
    artifact = unpack(content)
    torch_engine = TorchEngine("torch", 1)
    ProductInspector(artifact, torch_engine).check_probes(
        torch_engine.embedder(artifact.graph), RoutingPass.on(torch_engine)
    )
    pixels = artifact.probes[0].prepared[None]
    scores = [
        ProductInspector(artifact, engine).judge(engine.embedder(artifact.graph)(pixels))[0].score
        for engine in (onnx_engine, torch_engine)
    ]
    assert abs(artifact.calibration.level(scores[0]) - artifact.calibration.level(scores[1])) < LEVEL_TOLERANCE
    (tmp_path / "artifact").write_bytes(content)
    (tmp_path / "image.png").write_bytes(encode(draw("disc", 50)))
    script = f"""
import sys
from pathlib import Path
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.evaluation.evaluate import EvaluationOptions, evaluate
from inspector.vision.serving.product_inspector import ProductInspector
import inspector.vision.serving.lineup
artifact = unpack(Path({str(tmp_path / "artifact")!r}).read_bytes())
engine = OnnxEngine(Path({str(engine_cache)!r}), 1)
ProductInspector(artifact, engine).check_probes(
    engine.embedder(artifact.graph), RoutingPass.on(engine))
assert "torch" not in sys.modules, "torch was imported"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
