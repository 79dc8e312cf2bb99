"""24 megapixels through the real backbone: a defect of 20 pixels is found in tiles, good parts pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.agent.camera_limits import limits_of
from inspector.config.line_sections import CameraSection
from inspector.config.sections import EngineSection
from inspector.domain import LiveSet, Routed, Scored
from inspector.stream.decode import decode
from inspector.training import enrol as enrolment
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.factory import recipe_for
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.serving.lineup import VisionLoader
from tests.unit.drawings import frame_of, version_of

HEIGHT, WIDTH = 4000, 6000
DEFECT_PX = 20
CAMERA = CameraSection(name="cam1", on_unjudged="quarantine")


def plate(seed: int, *, defect: tuple[int, int] | None = None) -> bytes:
    """A drilled, brushed plate as JPEG, never twice in the same place or light. `defect`: x, y of a dark spot."""
    rng = np.random.default_rng(seed)
    grain = cv2.resize(rng.normal(0, 4, (500, 100)).astype(np.float32), (1500, 500))  # brushed along the rows
    image = np.tile(np.clip(150 + rng.uniform(-4, 4) + grain, 0, 255).astype(np.uint8), (8, 4))
    dx, dy = (int(value) for value in rng.integers(-25, 26, 2))
    for x in range(500, WIDTH, 1000):
        for y in range(500, HEIGHT, 1000):
            cv2.circle(image, (x + dx, y + dy), 180, 60, -1)
            cv2.circle(image, (x + dx, y + dy), 190, 200, 12)
    cv2.rectangle(image, (120 + dx, 120 + dy), (WIDTH - 120 + dx, HEIGHT - 120 + dy), 90, 24)
    if defect is not None:
        cv2.circle(image, defect, DEFECT_PX // 2, 70, -1)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def look_at(payload: bytes) -> NDArray[np.uint8]:
    return decode(payload, limits_of(CAMERA))


@pytest.mark.timeout(500)  # one export
def test_defect_of_20_pixels_in_24_megapixels_is_found_in_tiles(
    engine_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for("prototype", "fast")
    few = replace(recipe, members=tuple(replace(member, prototypes=128) for member in recipe.members))
    monkeypatch.setattr(enrolment, "recipe_for", lambda *_: few)
    options = EnrolmentOptions(profile="fast", limits=limits_of(CAMERA), framing=Framing(tiles=(4, 6), size_px=256))
    images = [ImageSource(f"{seed}.jpg", payload=plate(seed)) for seed in range(5)]
    done = enrol("plate", images, options, OnnxEngine(engine_cache, 2))
    assert done.report.backbone_passes == 24
    version = version_of(done, "plate")
    loader = VisionLoader(EngineSection(name="onnxruntime", threads=2), engine_cache)
    lineup, events = loader.load(LiveSet("r1", (version,)), {version.digest: done.artifact}.get, None)
    assert events == []

    def judged(payload: bytes, name: str) -> Scored:
        pixels = look_at(payload)
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        frame = lineup.router.route(frame_of(pixels, name))
        assert isinstance(frame, Routed)
        (scored,) = lineup.scorer.score([frame])
        assert isinstance(scored, Scored)
        return scored

    for seed in (100, 101):
        assert judged(plate(seed), f"good-{seed}").level <= 1.0
    at = (2990, 1120)  # on a seam
    scored = judged(plate(102, defect=at), "bad")
    assert scored.level > 1.0
    region = scored.regions[0]
    assert region.x - DEFECT_PX <= at[0] <= region.x + region.width + DEFECT_PX
    assert region.y - DEFECT_PX <= at[1] <= region.y + region.height + DEFECT_PX
    assert region.width * region.height < 0.01 * WIDTH * HEIGHT
