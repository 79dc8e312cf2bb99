"""Which head a product gets with `auto`: what it is tried on, who leads, and what is enrolled then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.stream.decode import DecodeLimits
from inspector.training import enrol as enrolment
from inspector.training.choice import trial as trial_module
from inspector.training.choice.head import LEAST_LEAD, Candidate, choose_head, leading
from inspector.training.choice.trial import Choice, TrialImages, frame_trial, trial_images, usable_images
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
from tests.unit.drawings import FakeEngine, draw, encode, good_images

SHORT = TrainingPlan(steps=16, check_every=2)


def quiet(_phase: str, _done: int, _total: int) -> None:
    return None


def small(head: str, *, size_px: int = 64) -> HeadRecipe:
    """The head with few prototypes on a small square."""
    recipe = recipe_for(head, "fast")
    if isinstance(recipe, PrototypeRecipe):
        recipe = replace(recipe, members=tuple(replace(member, prototypes=24) for member in recipe.members))
    return recipe.with_preparation(replace(recipe.preparation, size_px=size_px))


def candidate(head: str, engine: FakeEngine) -> Candidate:
    recipe = small(head)
    passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), engine)
    return Candidate(recipe, FittingInputs([], passes, engine, SHORT, quiet))


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


def test_choose_head_tries_each_head_and_says_what_it_found(fake_engine: FakeEngine) -> None:
    candidates = [candidate("prototype", fake_engine), candidate("student", fake_engine)]
    preparation = candidates[0].recipe.preparation
    grounds = grounds_of([draw("disc", seed) for seed in range(16)], preparation)
    images = TrialImages(list(range(12)), list(range(12, 16)))
    choice = choose_head(candidates, lambda wanted: frame_trial(images, grounds, wanted))
    assert choice.what == "head"
    assert choice.evidence.keys() == {"prototype", "student"}
    assert choice.evidence["prototype"] > 0.6
    assert choice.chosen == leading(choice.evidence)
    assert "4 good images from the end of the set, heads of 12 others" in choice.reason


def chooses(monkeypatch: pytest.MonkeyPatch, head: str) -> list[str]:
    """Makes `auto` choose this head; returns where the candidates will be named."""
    seen: list[str] = []

    def choose(candidates: list[Candidate], *_: object) -> Choice:
        seen.extend(each.recipe.head for each in candidates)
        return Choice("head", head, {"prototype": 0.5, head: 0.9}, "because")

    monkeypatch.setattr(enrolment, "choose_head", choose)
    monkeypatch.setattr(trial_module, "CHOOSING_FROM", 5)
    monkeypatch.setattr(enrolment, "recipe_for", lambda name, *_: small("prototype" if name == "auto" else name))
    return seen


@pytest.mark.parametrize(("head", "fit"), [("prototype", "letterbox"), ("protoad", "squash"), ("student", "letterbox")])
def test_enrol_auto_enrols_what_was_chosen_as_if_it_had_been_asked_for(
    fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, head: str, fit: str
) -> None:
    seen = chooses(monkeypatch, head)
    images = [ImageSource(str(seed), payload=encode(draw("disc", seed, size=(96, 120)))) for seed in range(12)]
    options = EnrolmentOptions("auto", training=TrainingPlan(steps=2), exposure="as_is")
    found = enrol("disc", images, options, fake_engine)
    assert seen == ["prototype", "protoad", "student"]
    assert (found.manifest["head"], found.manifest["preparation"]["fit"]) == (head, fit)
    (choice,) = [each for each in found.manifest["evidence"]["choices"] if each["what"] == "head"]
    assert choice["chosen"] == head
    asked = enrol("disc", images, replace(options, head=head), fake_engine)
    assert unpack(asked.artifact).calibration == unpack(found.artifact).calibration
    assert "choice_of_head" in found.report.seconds
    assert "choice_of_head" not in asked.report.seconds


def test_enrol_auto_of_few_images_is_the_prototype_head_and_says_so(fake_engine: FakeEngine) -> None:
    found = enrol("disc", good_images("disc", 6), EnrolmentOptions("auto", "fast"), fake_engine)
    assert found.manifest["head"] == "prototype"
    choice = found.manifest["evidence"]["choices"][-1]
    assert (choice["what"], choice["chosen"], choice["evidence"]) == ("head", "prototype", {})
    assert "too few" in choice["reason"]


def test_enrol_by_default_is_the_prototype_head(fake_engine: FakeEngine) -> None:
    found = enrol("disc", good_images("disc", 6), EnrolmentOptions(), fake_engine)
    assert (found.manifest["head"], found.manifest["profile"]) == ("prototype", "standard")
    assert "head" not in [each["what"] for each in found.manifest["evidence"]["choices"]]
