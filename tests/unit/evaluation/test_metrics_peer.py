"""Our AUPRO beside anomalib's, where anomalib is installed (extra `[peer]`); not collected elsewhere."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from inspector.evaluation import metrics


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_aupro_equals_anomalibs(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from anomalib.metrics.aupro import _AUPRO
    rng = np.random.default_rng(seed)
    masks = np.zeros((3, 64, 80), np.uint8)
    for mask in masks[:2]:
        for _ in range(3):
            cv2.circle(mask, (int(rng.integers(8, 72)), int(rng.integers(8, 56))), int(rng.integers(2, 7)), 1, -1)
    maps = np.stack([cv2.GaussianBlur(each, (0, 0), 3) for each in rng.random(masks.shape, dtype=np.float32)])
    maps += 0.05 * cv2.GaussianBlur(masks.transpose(1, 2, 0).astype(np.float32), (0, 0), 4).transpose(2, 0, 1)
    metric = _AUPRO(fpr_limit=metrics.FALSE_POSITIVE_LIMIT)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.int64)))
    _, ours = metrics.pixel_figures(zip(maps, masks.astype(bool), strict=True))
    assert ours == pytest.approx(float(metric.compute()), abs=2e-3)
