"""Figures that were computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.evaluation.metrics import average_precision, best_f1, pixel_figures
from inspector.training.statistics.ranking import image_auroc


def test_image_auroc_counts_ties_half() -> None:
    assert image_auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(3.5 / 4)
    assert image_auroc(np.array([1.0]), np.array([1.0])) == 0.5


def test_image_figures_of_one_class_are_none() -> None:
    empty, some = np.array([]), np.array([1.0])
    for figure in (image_auroc, average_precision, best_f1):
        assert figure(empty, some) is None
        assert figure(some, empty) is None


def test_average_precision_by_hand() -> None:
    # From the top: defect (precision 1, recall 1/2), good, defect (precision 2/3, recall 1).
    assert average_precision(np.array([0.5]), np.array([0.9, 0.1])) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_best_f1_by_hand() -> None:
    assert best_f1(np.array([0.5]), np.array([0.9, 0.1])) == pytest.approx(2 * 2 / (3 + 2))


def test_pixel_figures_perfect_map_is_one() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:4] = True
    assert pixel_figures([(mask.astype(np.float32), mask)]) == (pytest.approx(1.0), pytest.approx(1.0))


def test_pixel_figures_constant_map_is_chance() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:4] = True
    auroc, aupro = pixel_figures([(np.zeros((10, 10), np.float32), mask)])
    assert auroc == pytest.approx(0.5)
    assert aupro == pytest.approx(0.15)  # the diagonal up to 0.3, divided by 0.3


def test_pixel_figures_aupro_weighs_regions_not_pixels() -> None:
    """Ten normal pixels; a region of one pixel found at once, one of four never before all normal pixels are."""
    scores = np.array([[9, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 0, 0]], np.float32)
    mask = np.zeros((1, 16), bool)
    mask[0, 0] = True
    mask[0, 12:] = True
    # Overlap is 1/2 over the whole range of 0 to 0.3.
    _, aupro = pixel_figures([(scores, mask)])
    assert aupro == pytest.approx(0.5)


def test_pixel_figures_aupro_is_interpolated_at_the_limit() -> None:
    """Half of two normal pixels and the region share one score: a straight line through 0.3."""
    scores = np.array([[1, 1, 0]], np.float32)
    mask = np.array([[True, False, False]])
    # Points (0, 0) and (0.5, 1): at 0.3 the overlap is 0.6, the area 0.09, divided by 0.3.
    _, aupro = pixel_figures([(scores, mask)])
    assert aupro == pytest.approx(0.3)


def test_pixel_figures_diagonal_neighbours_are_one_region() -> None:
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[1, 1] = True
    scores = np.zeros((4, 4), np.float32)
    scores[0, 0] = 1.0
    _, aupro = pixel_figures([(scores, mask)])
    # One region, half found at rate 0, the rest tied with all 14 normal pixels: a line from 0.5 to 1.
    assert aupro == pytest.approx((0.5 + 0.65) / 2)


def test_pixel_figures_false_positives_are_over_all_images() -> None:
    good = (np.full((1, 8), 2.0, np.float32), np.zeros((1, 8), bool))
    bad = (np.array([[1.0, 0.0]], np.float32), np.array([[True, False]]))
    _, aupro = pixel_figures([good, bad])
    assert aupro == pytest.approx(0.0)


def test_pixel_figures_without_regions_are_none() -> None:
    assert pixel_figures([(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))]) == (None, None)
    assert pixel_figures([]) == (None, None)


def test_pixel_figures_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be judged"):
        pixel_figures([(np.zeros((4, 4), np.float32), np.zeros((4, 5), bool))])


def slow_pro(scores: np.ndarray, labels: np.ndarray) -> float:
    """The definition, threshold by threshold. `labels`: region numbers, 0 = normal."""
    normal = scores[labels == 0]
    x, y = [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        x.append(float((normal >= threshold).mean()))
        y.append(float(np.mean([(scores[labels == r] >= threshold).mean() for r in range(1, labels.max() + 1)])))
    at_limit = float(np.interp(0.3, x, y))
    kept = [(a, b) for a, b in zip(x, y, strict=True) if a < 0.3] + [(0.3, at_limit)]
    if any(a == 0.3 for a in x):
        kept = [(a, b) for a, b in zip(x, y, strict=True) if a <= 0.3]
    return float(np.trapezoid([b for _, b in kept], [a for a, _ in kept])) / 0.3


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_pixel_figures_any_map_agrees_with_the_definition(seed: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, values, (6, 12)).astype(np.float32)
    labels = np.zeros((6, 12), int)
    labels[0:2, 0:3], labels[4, 6:9] = 1, 2
    auroc, aupro = pixel_figures([(scores, labels > 0)])
    assert aupro == pytest.approx(slow_pro(scores, labels), abs=1e-6)
    assert auroc == pytest.approx(image_auroc(scores[labels == 0], scores[labels > 0]))
