"""Artifacts that were enrolled by the first release of the format load and give the scores they gave then.

The fixtures were made of drawings (`tests.unit.drawings`, product `disc`, 8 images) on ONNX Runtime.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.stream.decode import DecodeLimits, decode
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.images.preparation import prepare
from inspector.vision.images.resizing import Pyramid
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import ProductInspector
from tests.unit.drawings import good_images

FIXTURES = Path(__file__).parents[2] / "fixtures" / "format3"


@pytest.mark.parametrize("head", ["prototype", "protoad", "student"])
def test_artifact_of_format_3_gives_the_scores_it_gave(head: str, engine_cache: Path) -> None:
    engine = OnnxEngine(engine_cache, 1)
    artifact = unpack(gzip.decompress((FIXTURES / f"{head}.safetensors.gz").read_bytes()))
    inspector = ProductInspector(artifact, engine)
    embedder = engine.embedder(artifact.graph)
    expected = json.loads((FIXTURES / "scores.json").read_text())[head]
    images = [image for name in ("disc", "plate", "mesh") for image in good_images(name, 3)]

    inspector.check_probes(embedder, RoutingPass.on(engine))

    for image, (_, score, peak, level) in zip(images, expected, strict=True):
        canvas = prepare(Pyramid(decode(image.read(), DecodeLimits())), artifact.preparation)
        (judgement,) = inspector.judge(embedder(canvas[None]))
        assert judgement.score == pytest.approx(score, rel=1e-3)
        assert judgement.grid_map.max() == pytest.approx(peak, rel=1e-3)
        assert artifact.calibration.level(judgement.score) == pytest.approx(level, abs=2e-3 * max(1, abs(level)))
