"""An enrolment decodes each image once, whatever it chooses and measures."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inspector.errors import EnrolmentError
from inspector.stream import decode as decoding
from inspector.stream.decode import DecodeLimits
from inspector.training import enrol as enrolment
from inspector.training.dataset import grounds as grounds_module
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.grounds import Grounds
from inspector.training.defects.planting import Ground, drawn_side_px
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.evidence import detectability
from inspector.training.heads.base import HeadRecipe
from inspector.training.heads.factory import AUTO, DEFAULT, recipe_for
from inspector.training.heads.prototype import PrototypeRecipe
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.images.preparation import Preparation
from inspector.vision.images.resizing import Pyramid
from tests.unit.drawings import FakeEngine, draw, encode, good_images

FULL = EnrolmentOptions(AUTO, measures_detectability=True, training=TrainingPlan(steps=8, check_every=4))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each payload was decoded, by any module."""
    counts: Counter[bytes] = Counter()
    decode_png = decoding._decode_png

    def counted(survey: Any, limits: DecodeLimits) -> Any:
        counts[survey.payload] += 1
        return decode_png(survey, limits)

    monkeypatch.setattr(decoding, "_decode_png", counted)
    return counts


@pytest.fixture
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few prototypes on a small square, few drawn defects."""

    def small(head: str, profile: str, _clustering: str | None = None) -> HeadRecipe:
        recipe = recipe_for(DEFAULT if head == AUTO else head, profile)
        if isinstance(recipe, PrototypeRecipe):
            recipe = replace(recipe, members=tuple(replace(member, prototypes=24) for member in recipe.members))
        return recipe.with_preparation(replace(recipe.preparation, size_px=64))

    monkeypatch.setattr(enrolment, "recipe_for", small)
    monkeypatch.setattr(detectability, "PER_CELL", 2)


@pytest.mark.parametrize("head", ["prototype", "protoad", "student"])
def test_enrol_with_every_choice_and_detectability_decodes_each_image_once(
    head: str,
    decoded: Counter[bytes],
    small_heads: None,
    fake_engine: FakeEngine,
) -> None:
    images = [ImageSource(str(seed), payload=encode(draw("disc", seed, size=(96, 160)))) for seed in range(90)]
    done = enrol("disc", images, replace(FULL, head=head), fake_engine)
    assert done.manifest["head"] == head
    choices = [each["what"] for each in done.manifest["evidence"]["choices"]]
    assert choices == ([] if head == "protoad" else ["exposure"])
    assert done.manifest["evidence"]["detectability"] is not None
    assert decoded == Counter({image.read(): 1 for image in images})


def test_enrol_beyond_the_room_on_disk_decodes_again_and_finds_the_same(
    decoded: Counter[bytes], small_heads: None, fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = good_images("disc", 60)
    options = replace(FULL, head="prototype")
    roomy = enrol("disc", images, options, fake_engine)
    assert set(decoded.values()) == {1}
    decoded.clear()
    monkeypatch.setattr(grounds_module, "GROUND_BYTES", 10 * 96 * 96 * 3)
    scarce = enrol("disc", images, options, fake_engine)
    assert [decoded[image.read()] for image in images[:10]] == [1] * 10
    assert max(decoded[image.read()] for image in images[10:]) > 1
    for part in ("choices", "detectability"):
        assert scarce.manifest["evidence"][part] == roomy.manifest["evidence"][part]


def test_grounds_are_what_would_be_made_of_the_image_itself() -> None:
    preparations = [Preparation(size_px=64), Preparation(size_px=32, tiles=(1, 3))]
    pictures = [draw("disc", seed, size=(150 + seed, 200)) for seed in range(4)]
    grounds = Grounds([drawn_side_px(each) for each in preparations], DecodeLimits())
    for number, pixels in enumerate(pictures):
        grounds.append(ImageSource(str(number), payload=b"not read again"), Pyramid(pixels))
    for preparation in preparations:
        for image, kept in enumerate(grounds.of(range(4), preparation)):
            made = Ground.within(pictures[image], drawn_side_px(preparation))
            np.testing.assert_array_equal(kept.pixels, made.pixels)
            assert kept.scale == made.scale
    left = grounds.without(frozenset({0, 2}))
    assert len(left) == 2
    (last,) = left.of([1], preparations[0])
    assert last.pixels.shape == Ground.within(pictures[3], 128).pixels.shape


def test_grounds_that_were_not_kept_and_are_gone_are_named() -> None:
    grounds = Grounds([128], DecodeLimits(), limit_bytes=0)
    grounds.append(ImageSource("gone.png", payload=b"gone"), Pyramid(draw("disc", 1)))
    with pytest.raises(EnrolmentError, match=r"gone\.png can't be read any more"):
        grounds.at(0, 128)
