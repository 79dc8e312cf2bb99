"""Advice to a head that finds few drawn defects says nothing that its own figures refute."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.training.evidence.eyesight_advice import advice_on
from inspector.training.statistics.calibrating import calibrate

COUNTS = {0.001: 10, 0.01: 20, 0.05: 25}


def evidence(alpha: float, n: int, needed: int | None = None) -> Any:
    """What advice is made of: the trade by `COUNTS`, and a calibration of n scores for this share."""
    points = [
        SimpleNamespace(overkill=share, large=SimpleNamespace(found=found, n=120, share=found / 120))
        for share, found in COUNTS.items()
    ]
    in_use = SimpleNamespace(found=COUNTS.get(alpha, 25), n=120)
    scores = np.linspace(1.0, 2.0, n)
    return SimpleNamespace(
        detectability=SimpleNamespace(trade=points, large=in_use),
        calibration=calibrate(scores, held_out="", is_cross_fit=True, alpha=alpha),
        keystone=None,
        images_needed=needed,
        images_at_most=None,
    )


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        (0.01, "--overkill 5% would find 25 of 120"),
        (0.001, "--overkill 5% would find 25 of 120"),
        (0.05, None),
        (0.2, None),
    ],
)
def test_advice_compares_with_larger_shares_than_the_one_in_use(alpha: float, said: str | None) -> None:
    advice = advice_on(evidence(alpha, 12), frame_px=256, seen_px=256)
    assert (said in advice) if said else ("--overkill" not in advice)


def test_advice_names_the_rule_that_set_the_threshold() -> None:
    largest = advice_on(evidence(0.01, 12, needed=495), frame_px=256, seen_px=256)
    assert "now the largest score times 1.05 sets the threshold (12 scores), and from 495 good images on" in largest
    ranked = advice_on(evidence(0.2, 12, needed=80), frame_px=256, seen_px=256)
    assert "now order statistic 11 of 12 times 1.05 sets the threshold (12 scores)" in ranked
