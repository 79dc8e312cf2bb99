"""The choice of numbers by the other products, and the figures that it leaves."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.generalisation import CANDIDATES, Candidate, auroc, leave_one_out, table, with_all_members

ONE, OTHER = Candidate(256, 0.01, 0.5, "median deviation", 0.5), Candidate(512, 0.01, 0.5, "median deviation", 0.5)


def test_leave_one_out_chooses_each_product_by_the_others_alone() -> None:
    figures = {ONE: {"a": 1.0, "b": 0.5, "c": 0.6}, OTHER: {"a": 0.2, "b": 0.7, "c": 0.9}}
    found = leave_one_out(figures)
    assert found.chosen == {"a": OTHER, "b": ONE, "c": ONE}  # without itself, each product has another best one
    assert found.left_out == {"a": 0.2, "b": 0.5, "c": 0.6}
    assert found.best == ONE
    assert found.in_sample == figures[ONE]
    assert found.gap == pytest.approx((1.0 + 0.5 + 0.6 - 0.2 - 0.5 - 0.6) / 3)


def test_table_names_the_gap_and_the_worst_product() -> None:
    figures = {ONE: {"a": 0.9, "b": 0.8}, OTHER: {"a": 0.7, "b": 0.6}}
    document = leave_one_out(figures).to_document({"a": 0.9, "b": 0.8})
    document["with_all_members"] = with_all_members(figures)
    assert document["worst"] == {"product": "b", "left_out": 0.8}
    assert document["gap"] == 0.0
    assert "Gap 0.000; worst left out b 0.800" in table(document)
    assert "Where no choice may drop a member: left out 0.850, in-sample 0.850, gap 0.000." in table(document)


def test_with_all_members_leaves_out_the_candidates_that_drop_one() -> None:
    figures = {ONE: {"a": 0.9, "b": 0.8}, OTHER: {"a": 0.7, "b": 0.6}}
    for whole, places in ((0.0, 0.5), (0.5, 0.0)):
        figures[Candidate(256, 0.01, whole, "median deviation", places)] = {"a": 1.0, "b": 0.1}
    assert with_all_members(figures) == {"mean_left_out": 0.85, "mean_in_sample": 0.85, "gap": 0.0}


def test_auroc_member_of_no_weight_does_not_decide() -> None:
    good = np.array([1.0, 2.0, 3.0])
    names = ("covers 1", "fine 256 0.01", "whole", "places")
    scores = {f"{part} {name}": good for part in ("good", "test") for name in names}
    scores |= {"defective": np.array([0.0, 0.0, 1.0])}
    for name, (whole, places) in {"whole": (1.0, 0.0), "places": (0.0, 1.0)}.items():
        misled = scores | {f"test {name}": np.array([90.0, 80.0, 2.0])}
        assert auroc(Candidate(256, 0.01, 0.0, "standard deviation", 0.0), misled) == 1.0
        assert auroc(Candidate(256, 0.01, whole, "standard deviation", places), misled) == 0.0


def test_candidates_hold_the_numbers_of_the_default_head() -> None:
    from benchmarks.generalisation import _deployed

    assert _deployed() in CANDIDATES
