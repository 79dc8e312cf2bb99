"""Which head a product gets with `auto`: what it is tried on, who leads, and what is enrolled then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspector.stream.decode import DecodeLimits, decode
from inspector.training import enrol as enrolment
from inspector.training.choice import head as head_choice
from inspector.training.choice.exposure import Choice
from inspector.training.choice.head import LEAST_LEAD, Candidate, Lot, choose_head, leading, lot_of
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.passes import passes_for
from inspector.training.heads.prototype import held_out
from inspector.training.heads.recipes import MemberRecipe, Recipe, recipe_for
from inspector.training.heads.student import split
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.artifacts.format import unpack
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.networks.backbone import Backbone
from tests.unit.drawings import FakeEngine, draw, encode, good_images

SHORT = TrainingPlan(steps=16, check_every=2)


def quiet(_phase: str, _done: int, _total: int) -> None:
    return None


def small(head: str, *, size_px: int = 64) -> Recipe:
    """The head with few prototypes on a small square."""
    recipe = recipe_for(head, "fast")
    members: list[MemberRecipe] = [replace(member, prototypes=24) for member in recipe.members]
    preparation = replace(recipe.preparation, size_px=size_px)
    return replace(recipe, members=tuple(members), preparation=preparation)


def candidate(head: str, engine: FakeEngine) -> Candidate:
    recipe = small(head)
    return Candidate(recipe, passes_for(recipe, Backbone(), engine))


@pytest.mark.parametrize(
    ("rival", "chosen"), [(0.4, "prototype"), (0.74, "prototype"), (0.7 + LEAST_LEAD, "student"), (0.9, "student")]
)
def test_leading_the_prototype_head_stays_unless_a_rival_leads_clearly(rival: float, chosen: str) -> None:
    assert leading({"prototype": 0.7, "protoad": 0.5, "student": rival}) == chosen


def test_leading_one_head_alone_is_taken() -> None:
    assert leading({"prototype": 0.1}) == "prototype"


def test_lot_of_holds_no_image_that_calibrates_whichever_head_is_taken() -> None:
    (only,) = good_images("disc", 1)
    sources = [replace(only, name=str(number)) for number in range(200)]
    lot = lot_of(sources, DecodeLimits(), None)
    assert lot is not None
    learnt, clean = ([int(each.name) for each in part] for part in (lot.learnt, lot.clean))
    assert not set(learnt) & set(clean)
    assert max(learnt) < min(clean), "the lot is the last in file order"
    apart = set(np.flatnonzero(held_out(200)).tolist()) | set(split(200).calibrating)
    assert not apart & {*learnt, *clean}
    assert lot_of(sources[:60], DecodeLimits(), None) is None


def test_prepared_gives_every_head_the_same_images_and_defects() -> None:
    images = [ImageSource(str(seed), payload=encode(draw("disc", seed, size=(96, 144)))) for seed in range(6)]
    lot = Lot(images[:4], images[4:], DecodeLimits())
    trials = [lot.prepared(Preparation(size_px=64, fit=fit)) for fit in ("letterbox", "squash")]  # type: ignore[arg-type]  # two literals
    for trial in trials:
        assert (len(trial.learnt), len(trial.clean)) == (4, 2)
        assert len(trial.planted) == len(trials[0].planted) >= 15
        assert len(trial.canvases) == trial.planted.stop
        first = trial.canvases[trial.planted.start]
        assert not any(np.array_equal(first, trial.canvases[i]) for i in trial.clean)
    again = lot.prepared(Preparation(size_px=64))
    assert all(np.array_equal(again.canvases[i], trials[0].canvases[i]) for i in again.planted)


def test_prepared_draws_within_the_region_of_interest() -> None:
    preparation = Preparation(size_px=64, roi=(0.25, 0.25, 0.5, 0.5))
    images = good_images("disc", 3)
    trial = Lot(images[:1], images[1:], DecodeLimits()).prepared(preparation)
    clean = [prepare(decode(each.read(), DecodeLimits()), preparation) for each in images[1:]]
    differs = [all((trial.canvases[i] != each).any() for each in clean) for i in trial.planted]
    assert np.mean(differs) > 0.9


def test_prepared_leaves_out_what_can_not_be_read_any_more() -> None:
    images = good_images("disc", 3)
    gone = replace(images[0], name="gone", payload=b"")
    trial = Lot([gone, images[1]], [gone, images[2]], DecodeLimits()).prepared(Preparation(size_px=64))
    assert (len(trial.learnt), len(trial.clean)) == (1, 1)


def test_choose_head_tries_each_head_and_says_what_it_found(fake_engine: FakeEngine) -> None:
    images = good_images("disc", 16)
    lot = Lot(images[:12], images[12:], DecodeLimits())
    candidates = [candidate("prototype", fake_engine), candidate("student", fake_engine)]
    choice = choose_head(candidates, lot, fake_engine, SHORT, quiet)
    assert choice.what == "head"
    assert choice.evidence.keys() == {"prototype", "student"}
    assert choice.evidence["prototype"] > 0.6
    assert choice.chosen == leading(choice.evidence)
    assert "4 good images of the last lot, heads of 12 others" in choice.reason


def chooses(monkeypatch: pytest.MonkeyPatch, head: str) -> list[str]:
    """Makes `auto` choose this head; returns where the candidates will be named."""
    seen: list[str] = []

    def choose(candidates: list[Candidate], *_: object) -> Choice:
        seen.extend(each.recipe.head for each in candidates)
        return Choice("head", head, {"prototype": 0.5, head: 0.9}, "because")

    monkeypatch.setattr(enrolment, "choose_head", choose)
    monkeypatch.setattr(head_choice, "CHOOSING_FROM", 5)
    monkeypatch.setattr(enrolment, "recipe_for", lambda name, *_: small("prototype" if name == "auto" else name))
    return seen


@pytest.mark.parametrize(("head", "fit"), [("prototype", "letterbox"), ("protoad", "squash"), ("student", "letterbox")])
def test_enrol_auto_enrols_what_was_chosen_as_if_it_had_been_asked_for(
    fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, head: str, fit: str
) -> None:
    seen = chooses(monkeypatch, head)
    images = [ImageSource(str(seed), payload=encode(draw("disc", seed, size=(96, 120)))) for seed in range(12)]
    options = EnrolmentOptions("auto", training=TrainingPlan(steps=2))
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
