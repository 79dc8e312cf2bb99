"""Heads from prepared images: banks that are deployed, and banks that only measure spreads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspector.training.heads import prototype
from inspector.training.heads.factory import recipe_for
from inspector.training.heads.passes import passes_for
from inspector.training.heads.prototype import PrototypeFitter
from inspector.vision.networks.backbone import Backbone
from tests.unit.drawings import FakeEngine, draw


def test_fit_trial_banks_that_decide_are_those_that_would_be_deployed(fake_engine: FakeEngine) -> None:
    recipe = recipe_for("prototype", "fast")
    members = tuple(replace(each, prototypes=16) for each in recipe.members)
    recipe = replace(recipe, members=members, preparation=replace(recipe.preparation, size_px=64))
    passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), fake_engine)
    inputs = [draw("disc", seed, size=(64, 64)) for seed in range(6)]
    fitter = PrototypeFitter(recipe, passes.graph, fake_engine, inputs, passes.embedder)
    fitter.sample(range(6), lambda *_: None)
    deployed, trial = fitter.fit(range(6)), fitter.fit(range(6), is_trial=True)
    for one, other in zip(deployed, trial, strict=True):
        if one.in_decision:
            np.testing.assert_array_equal(one.bank.prototypes, other.bank.prototypes)
        else:
            assert one.bank.prototypes.shape == other.bank.prototypes.shape
            assert (one.sources[:, 0] >= 0).all()  # of checkered patches only the image is kept
            assert (other.sources == -1).all()


@pytest.mark.parametrize("kind", ["is_pooled", "is_placed"])
def test_crossed_units_are_those_of_a_head_of_nearly_all_images(fake_engine: FakeEngine, kind: str) -> None:
    recipe = recipe_for("prototype", "fast")
    recipe = replace(recipe, members=tuple(each for each in recipe.members if getattr(each, kind)))
    recipe = replace(recipe, preparation=replace(recipe.preparation, size_px=64))
    passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), fake_engine)
    inputs = [draw("disc", seed, size=(64, 64)) for seed in range(40)]
    fitter = PrototypeFitter(recipe, passes.graph, fake_engine, inputs, passes.embedder)
    fitter.sample(range(30), lambda *_: None)
    few, most = fitter.fit(range(8)), fitter.fit(range(30))
    of_few = fitter.units(few, fitter.measure(few, range(8, 30), lambda *_: None))[0].score_usual
    of_most = fitter.units(most, fitter.measure(most, range(30, 40), lambda *_: None))[0].score_usual
    (crossed,) = fitter.crossed_units(few, range(30))
    assert abs(crossed.score_usual - of_most) < abs(of_few - of_most)


def test_fit_bank_of_places_learns_from_a_bounded_number_of_frames(
    fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prototype, "PLACED_FRAMES", 4)
    recipe = recipe_for("prototype", "fast")
    recipe = replace(recipe, members=tuple(each for each in recipe.members if each.is_placed))
    recipe = replace(recipe, preparation=replace(recipe.preparation, size_px=64))
    passes = passes_for(recipe.preparation, recipe.embeddings, Backbone(), fake_engine)
    inputs = [draw("disc", seed, size=(64, 64)) for seed in range(10)]
    fitter = PrototypeFitter(recipe, passes.graph, fake_engine, inputs, passes.embedder)
    fitter.sample(range(10), lambda *_: None)
    (of_all,), (of_four,) = fitter.fit(range(10)), fitter.fit([0, 3, 6, 9])  # every third: at most four
    np.testing.assert_array_equal(of_all.bank.prototypes, of_four.bank.prototypes)
    assert (of_all.sources == -1).all()


def test_recipe_of_tiles_has_no_bank_of_places() -> None:
    recipe = recipe_for("prototype", "standard")
    assert any(each.is_placed for each in recipe.members)
    tiled = recipe.with_preparation(replace(recipe.preparation, tiles=(2, 2)))
    assert not any(each.is_placed for each in tiled.members)
