"""What a product chooses for itself from its good images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.choice.exposure import choose_exposure, parse_exposure
from inspector.training.choice.trial import CHOOSING_FROM, Choice, Trial, canvas_trial, trial_images
from inspector.training.dataset.exposed import Exposed
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.base import FittingInputs, TrialParts, TrialScores
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.images.exposure import Exposure
from inspector.vision.images.preparation import Preparation, prepare
from tests.unit.drawings import FakeEngine, good_images


def canvases(count: int, *, flicker: float) -> list[NDArray[np.uint8]]:
    """Gray stripes with a grain; `flicker`: spread of their brightness from frame to frame, in levels."""
    rng = np.random.default_rng(0)
    stripes = 130 + 60 * np.sin(np.arange(64) * (2 * np.pi / 16))[None, :, None]
    return [
        np.clip(stripes + rng.normal(0, flicker) + rng.normal(0, 3, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
        for _ in range(count)
    ]


class BrightnessRecipe:
    """Its trial head learns nothing but the mean picture: brightness misleads it."""

    preparation = Preparation(size_px=64)

    def judge_trial(self, inputs: FittingInputs, parts: TrialParts) -> TrialScores:
        usual = np.mean([np.asarray(inputs.canvases[i], np.float32) for i in parts.learnt], axis=0)
        scores = []
        for i in [*parts.clean, *parts.planted]:
            far = np.abs(np.asarray(inputs.canvases[i], np.float32) - usual).mean(axis=2)
            scores.append(float(np.sort(far.ravel())[-40:].mean()))
        return TrialScores(np.array(scores), np.array([scores]), len(parts.clean))


def chosen(flicker: float) -> tuple[Exposure, Choice]:
    recipe = BrightnessRecipe()
    images = trial_images(range(80))
    assert images is not None
    trial = canvas_trial(images, canvases(80, flicker=flicker), recipe.preparation.size_px)
    assert len(trial.parts.planted) > 100
    inputs = FittingInputs(trial.canvases, None, FakeEngine(), TrainingPlan(), lambda *_: None)  # type: ignore[arg-type]  # no passes
    return choose_exposure(recipe, trial, inputs)  # type: ignore[arg-type]  # it has what is called, and no more


def test_choose_exposure_frames_that_flicker_are_changed_and_the_evidence_says_why() -> None:
    exposure, choice = chosen(12.0)
    assert choice.chosen == exposure == max(choice.evidence, key=choice.evidence.__getitem__)
    assert choice.evidence["levelled"] >= choice.evidence["as_is"] + 0.01
    assert list(choice.evidence) == ["as_is", "levelled"]


def test_choose_exposure_frames_that_do_not_flicker_stay_as_they_are() -> None:
    assert chosen(0.0)[0] == "as_is"


def test_choose_exposure_without_a_drawn_defect_chooses_nothing_and_says_so() -> None:
    trial = Trial([], TrialParts(range(40), range(40, 50), range(50, 50)))
    inputs = FittingInputs([], None, FakeEngine(), TrainingPlan(), lambda *_: None)  # type: ignore[arg-type]  # no passes
    exposure, choice = choose_exposure(BrightnessRecipe(), trial, inputs)  # type: ignore[arg-type]  # as above
    assert (exposure, choice.evidence) == ("as_is", {})
    assert "no defect" in choice.reason


def test_enrol_a_given_exposure_is_kept(fake_engine: FakeEngine) -> None:
    options = EnrolmentOptions(profile="fast", exposure="levelled")
    manifest = enrol("disc", good_images("disc", 6), options, fake_engine).manifest
    assert manifest["preparation"]["exposure"] == "levelled"
    assert manifest["evidence"]["choices"] == []


def test_enrol_too_few_images_choose_no_exposure_and_say_so(fake_engine: FakeEngine) -> None:
    manifest = enrol(
        "disc", good_images("disc", CHOOSING_FROM - 1), EnrolmentOptions(profile="fast"), fake_engine
    ).manifest
    (choice,) = manifest["evidence"]["choices"]
    assert manifest["preparation"]["exposure"] == choice["chosen"] == "as_is"
    assert "too few" in choice["reason"]


@pytest.mark.parametrize("exposure", ["as_is", "normalised", "levelled"])
def test_exposed_equals_what_the_stream_prepares(exposure: Exposure) -> None:
    frame = canvases(1, flicker=20.0)[0]
    plain = Preparation(size_px=64)
    exposed = Exposed([prepare(frame, plain)], plain, exposure)[0]
    assert np.array_equal(exposed, prepare(frame, replace(plain, exposure=exposure)))


def test_parse_exposure() -> None:
    assert parse_exposure("auto") is None
    assert parse_exposure("normalised") == "normalised"
    with pytest.raises(UsageError, match="choose one of auto, as_is, normalised, levelled"):
        parse_exposure("bright")
