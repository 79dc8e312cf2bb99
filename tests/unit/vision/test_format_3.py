"""Artifacts that were enrolled by the first release of the format load and give the scores they gave then.

The fixtures were made of drawings (`tests.unit.drawings`, product `disc`, 8 images) on ONNX Runtime.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from inspector.errors import ArtifactError
from inspector.stream.decode import DecodeLimits, decode
from inspector.vision.artifacts.format import FORMAT, pack, read_manifest, unpack
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


@pytest.mark.parametrize("head", ["prototype", "protoad", "student"])
def test_artifact_of_format_3_keeps_every_tensor_and_is_written_as_format_4(head: str) -> None:
    content = gzip.decompress((FIXTURES / f"{head}.safetensors.gz").read_bytes())
    artifact = unpack(content)
    stored = {name.removeprefix("student."): array for name, array in load(content).items()}
    kept = artifact.head.tensors()
    assert kept.keys() == {
        name for name in stored if not name.startswith(("anchors", "descriptors", "probe", "routing"))
    }
    for name, array in kept.items():
        np.testing.assert_array_equal(array, stored[name])
        assert array.dtype == stored[name].dtype

    again, manifest = pack(artifact)

    assert manifest == dict(artifact.manifest)
    assert read_manifest(content) == {**manifest, "format_version": 3}, "people see the format of the bytes"
    assert artifact.health is None, "frames were not checked then"
    assert (manifest["format_version"], manifest["model"]["kind"]) == (
        4,
        "student" if head == "student" else "prototype",
    )
    assert not {"members", "student", "readout"} & manifest.keys()
    read = unpack(again)
    assert read.head.to_manifest() == artifact.head.to_manifest()
    for name, array in read.head.tensors().items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize("version", [2, 5, "4", None])
def test_artifact_of_another_format_is_refused(version: object) -> None:
    content = gzip.decompress((FIXTURES / "prototype.safetensors.gz").read_bytes())
    length = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + length])
    manifest = {**json.loads(table["__metadata__"][FORMAT]), "format_version": version}
    header = json.dumps({**table, "__metadata__": {FORMAT: json.dumps(manifest)}}).encode()
    with pytest.raises(ArtifactError, match="this software reads 3 and 4"):
        unpack(len(header).to_bytes(8, "little") + header + content[8 + length :])
