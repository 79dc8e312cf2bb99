"""Long frames and 16-bit frames, from what a camera sends to score and region."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.stream.decode import DecodeLimits, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.vision.artifacts.format import MapScale, unpack
from inspector.vision.heads.base import Judgement
from inspector.vision.images.preparation import Fit, Preparation, prepare
from inspector.vision.serving.product_inspector import ProductInspector
from tests.unit.drawings import FakeEngine, draw, encode

BLACK, BITS = 64, 12


@pytest.mark.parametrize("fit", ["letterbox", "squash"])
@pytest.mark.parametrize("size", [(120, 900), (900, 120), (300, 300), (40, 64)])
@pytest.mark.parametrize("tiles", [(1, 1), (1, 3), (3, 2)])
def test_region_of_a_frame_of_any_shape_lies_on_what_caused_it(
    enrolled: dict[str, Enrolment], fit: Fit, size: tuple[int, int], tiles: tuple[int, int]
) -> None:
    height, width = size
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left, side = height // 5, width * 3 // 5, min(size) // 4
    pixels[top : top + side, left : left + side] = 255
    preparation = Preparation(256, fit, tiles=tiles, overlap_px=32 if tiles != (1, 1) else 0)
    artifact = replace(unpack(enrolled["disc"].artifact), preparation=preparation, map_scale=MapScale(0.0, 128.0))
    canvas = prepare(pixels, preparation)[:, :, 0].astype(np.float32)
    cells = cv2.resize(canvas, (canvas.shape[1] // 8, canvas.shape[0] // 8), interpolation=cv2.INTER_AREA)
    found = ProductInspector(artifact, FakeEngine()).scored(Judgement(1e6, cells), size)
    (region,) = found.regions
    # To within a cell of the canvas, a pixel of the map that is shown, and rounding to the frame's.
    scales = (width / canvas.shape[1], height / canvas.shape[0])
    across, down = (8 * scale + max(size) / 256 + 1 for scale in (scales if fit == "squash" else [max(scales)] * 2))
    assert abs(region.x - left) <= across
    assert abs(region.y - top) <= down
    assert abs(region.x + region.width - left - side) <= across
    assert abs(region.y + region.height - top - side) <= down


def as_sixteen_bit(pixels: NDArray[np.uint8]) -> bytes:
    """The same picture as a 12-bit camera with a black level sends it."""
    samples = BLACK + np.rint(pixels.astype(np.float64) / 255 * (2**BITS - 1 - BLACK))
    return bytes(cv2.imencode(".png", samples.astype(np.uint16)[..., ::-1])[1])


def test_sixteen_bit_frames_score_what_their_eight_bit_twins_score(fake_engine: FakeEngine) -> None:
    limits = DecodeLimits(bit_depth=BITS, black_level=BLACK)
    pictures = [draw("disc", seed) for seed in range(6)]
    deep = [ImageSource(f"{n}.png", payload=as_sixteen_bit(each)) for n, each in enumerate(pictures)]
    plain = [ImageSource(f"{n}.png", payload=encode(each)) for n, each in enumerate(pictures)]
    options = EnrolmentOptions(profile="fast", limits=limits)
    one, other = (unpack(enrol("disc", images, options, fake_engine).artifact) for images in (deep, plain))
    assert one.calibration == other.calibration
    bad = draw("disc", 301, defect=True)
    scores = []
    for payload, read_with in ((as_sixteen_bit(bad), limits), (encode(bad), limits), (as_sixteen_bit(bad), None)):
        prepared = prepare(decode(payload, read_with or DecodeLimits()), one.preparation)
        (judged,) = ProductInspector(one, fake_engine).judge(fake_engine.embedder(one.graph)(prepared[None]))
        scores.append(judged.score)
    assert scores[0] == scores[1] > one.calibration.threshold
    assert scores[2] != scores[0]  # twelve bits taken for sixteen: nearly black
