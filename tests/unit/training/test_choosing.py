"""What a product chooses for itself from its good images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.training.choice.exposure import CHOOSING_FROM, Exposed, choose, parse_exposure
from inspector.training.heads.prototype import RawMaps
from inspector.training.heads.recipes import recipe_for
from inspector.vision.images.exposure import Exposure
from inspector.vision.images.preparation import Preparation, prepare

RECIPE = recipe_for("prototype", "standard")


def canvases(count: int, *, flicker: float) -> list[NDArray[np.uint8]]:
    """Gray stripes with a grain; `flicker`: spread of their brightness from frame to frame, in levels."""
    rng = np.random.default_rng(0)
    stripes = 130 + 60 * np.sin(np.arange(64) * (2 * np.pi / 16))[None, :, None]
    return [
        np.clip(stripes + rng.normal(0, flicker) + rng.normal(0, 3, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
        for _ in range(count)
    ]


class BrightnessFitter:
    """Fits nothing but the mean picture: a head that brightness misleads."""

    def __init__(self, inputs: list[NDArray[np.uint8]]) -> None:
        self.inputs = inputs

    def sample(self, indices: range, _progress: object) -> None:
        self.usual = np.mean([np.asarray(self.inputs[i], np.float32) for i in indices], axis=0)

    def fit(self, _indices: range) -> list[None]:
        return [None] * len(RECIPE.deciding.members)

    def measure(self, _members: list[None], indices: range, _progress: object) -> list[RawMaps]:
        found = []
        for i in indices:
            far = np.abs(np.asarray(self.inputs[i], np.float32) - self.usual).mean(axis=2)[None]
            found.append(RawMaps(i, [far, far, far]))
        return found

    def scores(self, measured: list[RawMaps]) -> NDArray[np.float64]:
        return np.array([[float(np.sort(maps.ravel())[-40:].mean()) for maps in raw.maps] for raw in measured]).T


def chosen(flicker: float, *, count: int = 80, exposure: str | None = None):
    images = canvases(count, flicker=flicker)
    usable = list(range(count))
    return choose(
        RECIPE,
        images,
        usable,
        BrightnessFitter,  # type: ignore[arg-type]  # it has what `choose` calls, and no more
        lambda *_: None,
        exposure=exposure,  # type: ignore[arg-type]
    )


def test_choose_frames_that_flicker_are_not_left_as_they_are_and_the_evidence_says_why() -> None:
    found = chosen(12.0)
    (choice,) = found.choices
    assert choice.chosen == found.recipe.preparation.exposure == max(choice.evidence, key=choice.evidence.__getitem__)
    assert choice.evidence["normalised"] >= choice.evidence["as_is"] + 0.01
    assert list(choice.evidence) == ["as_is", "normalised", "levelled"]


def test_choose_frames_that_do_not_flicker_stay_as_they_are() -> None:
    assert chosen(0.0).recipe.preparation.exposure == "as_is"


def test_choose_a_given_exposure_is_kept() -> None:
    found = chosen(12.0, exposure="as_is")
    assert found.recipe.preparation.exposure == "as_is"
    assert found.choices == ()


def test_choose_too_few_images_choose_nothing_and_say_so() -> None:
    found = chosen(12.0, count=CHOOSING_FROM - 1)
    assert found.recipe.preparation.exposure == "as_is"
    assert found.recipe.members == RECIPE.members
    assert "too few" in found.choices[0].reason


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
