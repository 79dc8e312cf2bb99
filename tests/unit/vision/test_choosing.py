"""What a product chooses for itself from its good images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.errors import UsageError
from inspector.vision.choosing import CHOOSING_FROM, Exposed, choose, parse_exposure
from inspector.vision.fitting import RawMaps
from inspector.vision.preprocessing import Preparation, prepare
from inspector.vision.recipes import recipe_for

RECIPE = recipe_for("prototype", "standard")


def canvases(count: int, *, flicker: float) -> list[NDArray[np.uint8]]:
    """Gray ramps with a grain; `flicker`: spread of their brightness from frame to frame, in levels."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(45, 215, 64)[None, :, None]
    return [
        np.clip(ramp + rng.normal(0, flicker) + rng.normal(0, 3, (64, 64, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
        for _ in range(count)
    ]


class BrightnessFitter:
    """Fits nothing but the mean picture: a head that brightness misleads. `second`: what its optional bank tells."""

    def __init__(self, inputs: list[NDArray[np.uint8]], second: float) -> None:
        self.inputs, self.second = inputs, second

    def sample(self, indices: range, _progress: object) -> None:
        self.usual = np.mean([np.asarray(self.inputs[i], np.float32) for i in indices], axis=0)

    def fit(self, _indices: range) -> list[None]:
        return [None] * len(RECIPE.deciding.members)

    def measure(self, _members: list[None], indices: range, _progress: object) -> list[RawMaps]:
        found = []
        for i in indices:
            far = np.abs(np.asarray(self.inputs[i], np.float32) - self.usual).mean(axis=2)[None]
            noise = np.random.default_rng(i).normal(0, 1, far.shape)
            found.append(RawMaps(i, [far, far, self.second * far + (1 - self.second) * noise]))
        return found

    def scores(self, measured: list[RawMaps]) -> NDArray[np.float64]:
        return np.array([[float(np.sort(maps.ravel())[-40:].mean()) for maps in raw.maps] for raw in measured]).T


def chosen(flicker: float, *, count: int = 80, second: float = 1.0, exposure: str | None = None):
    images = canvases(count, flicker=flicker)
    usable = list(range(count))
    return choose(
        RECIPE,
        images,
        usable,
        lambda inputs: BrightnessFitter(inputs, second),  # type: ignore[arg-type, return-value]
        lambda *_: None,
        exposure=exposure,  # type: ignore[arg-type]
    )


def test_choose_frames_that_flicker_are_normalised_and_the_evidence_says_why() -> None:
    found = chosen(12.0)
    assert found.recipe.preparation.exposure == "normalised"
    choice = found.choices[0]
    assert (choice.what, choice.chosen) == ("exposure", "normalised")
    assert choice.evidence["normalised"] >= choice.evidence["as_is"] + 0.01


def test_choose_frames_that_do_not_flicker_stay_as_they_are() -> None:
    assert chosen(0.0).recipe.preparation.exposure == "as_is"


def test_choose_an_optional_bank_that_tells_nothing_stays_out() -> None:
    assert len(chosen(0.0, second=1.0).recipe.members) == len(RECIPE.members)
    found = chosen(0.0, second=0.0)
    assert [member for member in RECIPE.members if member not in found.recipe.members] == [
        member for member in RECIPE.members if member.is_optional
    ]
    assert found.choices[-1].chosen == "no"
    assert found.choices[-1].evidence["alone"] < found.choices[-1].evidence["others"]


def test_choose_a_given_exposure_is_kept() -> None:
    found = chosen(12.0, exposure="as_is")
    assert found.recipe.preparation.exposure == "as_is"
    assert [choice.what for choice in found.choices] == ["strides 4+8 in the decision"]


def test_choose_too_few_images_choose_nothing_and_say_so() -> None:
    found = chosen(12.0, count=CHOOSING_FROM - 1)
    assert found.recipe.preparation.exposure == "as_is"
    assert not [member for member in found.recipe.members if member.is_optional]
    assert "too few" in found.choices[0].reason


def test_exposed_equals_what_the_stream_prepares() -> None:
    frame = canvases(1, flicker=20.0)[0]
    prepared = prepare(frame, Preparation(size_px=64))
    assert np.array_equal(
        Exposed([prepared], Preparation(size_px=64))[0], prepare(frame, Preparation(size_px=64, exposure="normalised"))
    )


def test_parse_exposure() -> None:
    assert parse_exposure("auto") is None
    assert parse_exposure("normalised") == "normalised"
    with pytest.raises(UsageError, match="choose one of auto, as_is, normalised"):
        parse_exposure("bright")
