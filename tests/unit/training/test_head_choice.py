"""What `--head auto` takes, and the trials by which heads are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.head_choice import LEAST_LEAD, Found, best_margin, leading
from inspector.stream.decode import DecodeLimits
from inspector.training.choice import trial as trial_module
from inspector.training.choice.trial import TrialImages, frame_trial, trial_images, usable_images
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.grounds import Grounds
from inspector.training.dataset.splitting import held_out
from inspector.training.defects.planting import drawn_side_px
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.base import FittingInputs, HeadRecipe
from inspector.training.heads.factory import heads, recipe_for
from inspector.training.heads.passes import passes_for
from inspector.training.heads.prototype import PrototypeRecipe
from inspector.training.heads.student import split
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.artifacts.format import unpack
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.images.resizing import Pyramid
from inspector.vision.networks.backbone import Backbone
from tests.unit.drawings import FakeEngine, draw, good_images

SHORT = TrainingPlan(steps=16, check_every=2)


def quiet(_phase: str, _done: int, _total: int) -> None:
    return None


def small(head: str, *, size_px: int = 64) -> HeadRecipe:
    """The head with few prototypes on a small square."""
    recipe = recipe_for(head, "fast")
    if isinstance(recipe, PrototypeRecipe):
        recipe = replace(recipe, members=tuple(replace(member, prototypes=24) for member in recipe.members))
    return recipe.with_preparation(replace(recipe.preparation, size_px=size_px))


@pytest.mark.parametrize(
    ("rival", "chosen"), [(0.4, "prototype"), (0.74, "prototype"), (0.7 + LEAST_LEAD, "student"), (0.9, "student")]
)
def test_leading_the_prototype_head_stays_unless_a_rival_leads_clearly(rival: float, chosen: str) -> None:
    assert leading({"prototype": 0.7, "protoad": 0.5, "student": rival}) == chosen


def test_leading_one_head_alone_is_taken() -> None:
    assert leading({"prototype": 0.1}) == "prototype"


def test_trial_images_hold_no_image_that_calibrates_whichever_head_is_taken() -> None:
    calibrating = [image for head in heads() for image in recipe_for(head, "fast").calibrating(200)]
    images = trial_images(usable_images(200, calibrating))
    assert images is not None
    assert not set(images.learnt) & set(images.clean)
    assert max(images.learnt) < min(images.clean), "the clean images are the last in file order"
    held = set(np.flatnonzero(held_out(200)).tolist()) | set(split(200).calibrating)
    assert not held & {*images.learnt, *images.clean}
    assert trial_images(usable_images(60, calibrating)) is None


def grounds_of(pictures: list[NDArray[np.uint8]], *preparations: Preparation) -> Grounds:
    grounds = Grounds([drawn_side_px(each) for each in preparations], DecodeLimits())
    for number, pixels in enumerate(pictures):
        grounds.append(ImageSource(str(number), payload=b"not read again"), Pyramid(pixels))
    return grounds


def test_frame_trial_gives_every_head_the_same_images_and_defects() -> None:
    preparations = [Preparation(size_px=64, fit=fit) for fit in ("letterbox", "squash")]  # type: ignore[arg-type]  # two literals
    grounds = grounds_of([draw("disc", seed, size=(96, 144)) for seed in range(6)], *preparations)
    images = TrialImages([0, 1, 2, 3], [4, 5])
    trials = [frame_trial(images, grounds, preparation) for preparation in preparations]
    for trial in trials:
        parts = trial.parts
        assert (len(parts.learnt), len(parts.clean)) == (4, 2)
        assert len(parts.planted) == len(trials[0].parts.planted) >= 15
        assert len(trial.canvases) == parts.planted.stop
        first = trial.canvases[parts.planted.start]
        assert not any(np.array_equal(first, trial.canvases[i]) for i in parts.clean)
    again = frame_trial(images, grounds, preparations[0])
    assert all(np.array_equal(again.canvases[i], trials[0].canvases[i]) for i in again.parts.planted)


def test_frame_trial_draws_within_the_region_of_interest() -> None:
    preparation = Preparation(size_px=64, roi=(0.25, 0.25, 0.5, 0.5))
    pictures = [draw("disc", seed) for seed in range(3)]
    trial = frame_trial(TrialImages([0], [1, 2]), grounds_of(pictures, preparation), preparation)
    clean = [prepare(each, preparation) for each in pictures[1:]]
    differs = [all((trial.canvases[i] != each).any() for each in clean) for i in trial.parts.planted]
    assert np.mean(differs) > 0.9


def test_frame_trial_of_large_canvases_keeps_to_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    preparation = Preparation(size_px=64)
    grounds = grounds_of([draw("disc", seed) for seed in range(6)], preparation)
    monkeypatch.setattr(trial_module, "PLANTED_BYTES", 12 * 3 * 64 * 64)
    trial = frame_trial(TrialImages([0, 1], [2, 3, 4, 5]), grounds, preparation)
    assert 8 <= len(trial.parts.planted) <= 12


@pytest.mark.parametrize(("head", "least"), [("prototype", 0.6), ("student", 0.0)])  # few steps teach a student nothing
def test_judge_trial_scores_clean_images_and_drawn_defects(fake_engine: FakeEngine, head: str, least: float) -> None:
    recipe = small(head)
    grounds = grounds_of([draw("disc", seed) for seed in range(16)], recipe.preparation)
    trial = frame_trial(TrialImages(list(range(12)), list(range(12, 16))), grounds, recipe.preparation)
    passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), fake_engine)
    scores = recipe.judge_trial(FittingInputs(trial.canvases, passes, fake_engine, SHORT, quiet), trial.parts)
    assert len(scores.decision) == len(trial.parts.clean) + len(trial.parts.planted)
    assert np.isfinite(scores.decision).all()
    assert scores.auroc > least


def found(drawn: float, test: float) -> Found:
    """A product where the student has these figures, beside a prototype head of 0.7 and 0.9."""
    return Found({"prototype": 0.7, "student": drawn}, {"prototype": 0.9, "student": test})


def test_best_margin_takes_no_rival_that_is_worse_on_test_images() -> None:
    assert best_margin([found(0.9, 0.5), found(0.75, 0.9)]) == 1.0


def test_best_margin_takes_the_rival_that_is_better_and_not_the_one_that_is_worse() -> None:
    margin = best_margin([found(0.9, 0.99), found(0.8, 0.5)])
    assert found(0.9, 0.99).taken(margin) == "student"
    assert found(0.8, 0.5).taken(margin) == "prototype"


def test_enrol_auto_is_the_default_head_and_says_why(fake_engine: FakeEngine) -> None:
    options = EnrolmentOptions("auto", "fast", exposure="as_is")
    auto = enrol("disc", good_images("disc", 6), options, fake_engine)
    (choice,) = auto.manifest["evidence"]["choices"]
    assert (choice["what"], choice["chosen"], choice["evidence"]) == ("head", "prototype", {})
    assert "drawn defects do not tell which head finds real ones" in choice["reason"]
    named = enrol("disc", good_images("disc", 6), replace(options, head="prototype"), fake_engine)
    assert unpack(auto.artifact).calibration == unpack(named.artifact).calibration


def test_enrol_by_default_is_the_prototype_head(fake_engine: FakeEngine) -> None:
    found = enrol("disc", good_images("disc", 6), EnrolmentOptions(), fake_engine)
    assert (found.manifest["head"], found.manifest["profile"]) == ("prototype", "standard")
    assert "head" not in [each["what"] for each in found.manifest["evidence"]["choices"]]
