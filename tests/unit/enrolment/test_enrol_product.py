"""What crosses over to the low-priority process of an enrolment."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from inspector.config.loading import parse
from inspector.enrolment import enrol_product as enrolling
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.enrol import EnrolmentOptions, neighbour_of
from inspector.training.evidence.known_bad import Brakes, ConfirmedPart
from tests.unit.drawings import FakeEngine, draw, encode, good_images


def test_enrolment_goes_to_another_process_and_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(enrolling, "create_engine", lambda *_: FakeEngine())
    config = parse({"agent": {"name": "a", "prefix": "p", "state_dir": str(tmp_path)}}, None)
    options = EnrolmentOptions(profile="fast", framing=Framing(tiles=(1, 2), size_px=64))
    bad = ConfirmedPart(ImageSource("bad.png", payload=encode(draw("disc", 30, defect=True))), "part P30")
    plan = enrolling._Plan(good_images("disc", 6), options, [], [], Brakes((bad,)))
    work = partial(enrolling._enrol, config, "disc", plan)
    there = pickle.loads(pickle.dumps(work))
    done = there(lambda *_: None)
    back = pickle.loads(pickle.dumps(done))
    assert back.artifact == done.artifact
    assert (back.report, back.manifest) == (done.report, done.manifest)
    assert [each.part.said for each in back.evidence.known_bad.judged] == ["part P30"]
    beside = partial(work.func, *work.args[:2], replace(plan, live=[neighbour_of(back.artifact)]))
    assert pickle.loads(pickle.dumps(beside)).args[2].live[0].product == "disc"
