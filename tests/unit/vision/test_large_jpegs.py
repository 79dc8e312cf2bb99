"""Large JPEGs, which their decoder halves, and versions from before it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import Admitted, Frame, LiveSet, ProductVersion, Routed
from inspector.stream.decode import DecodeLimits, EncodedImage, decode
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.gathering import Gatherer
from inspector.training.enrol import Enrolment
from inspector.vision.artifacts.format import digest_of, pack, unpack
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.images.resizing import Halving
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.profile import routing_copy, routing_profile
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLineup, VisionLoader
from tests.unit.drawings import FakeEngine, draw, frame_of, version_of

SIZE = (1100, 1300)


def jpeg_of(product: str, seed: int, size: tuple[int, int] = SIZE) -> bytes:
    """A part as a camera of this resolution sends it, with the noise of its sensor."""
    small = draw(product, seed)
    pixels = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)
    noisy = pixels + np.random.default_rng(seed).normal(0, 12, pixels.shape)
    return bytes(cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8)[..., ::-1])[1])


def frame_from(payload: bytes) -> Frame:
    admitted: Admitted = frame_of(np.zeros((1, 1, 3), np.uint8)).admitted
    return Frame(admitted, EncodedImage(payload, DecodeLimits()))


class Lineups:
    """Makes lineups of one product each way, on a fake engine that counts routing passes."""

    def __init__(self, enrolled: dict[str, Enrolment], engine: FakeEngine, cache: Path) -> None:
        self._enrolled, self._engine, self._cache = enrolled, engine, cache
        self.embedded: list[Graph] = []
        embed = engine._embed

        def counted(graph: Graph, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            self.embedded.append(graph)
            return embed(graph, pixels)

        engine._embed = counted  # type: ignore[method-assign]  # a spy

    def of(self, **halvings: Halving) -> VisionLineup:
        versions: list[ProductVersion] = []
        artifacts: dict[str, bytes] = {}
        for product, halving in halvings.items():
            artifact = unpack(self._enrolled[product].artifact)
            content, _ = pack(replace(artifact, preparation=replace(artifact.preparation, halving=halving)))
            artifacts[digest_of(content)] = content
            versions.append(replace(version_of(self._enrolled[product], product), digest=digest_of(content)))
        found, events = VisionLoader(EngineSection(), self._cache).load(
            LiveSet("r", tuple(versions)), artifacts.get, None
        )
        assert events == []
        assert isinstance(found, VisionLineup)
        self.embedded.clear()
        return found

    @property
    def routing_passes(self) -> int:
        count = sum(graph == routing_profile().graph for graph in self.embedded)
        self.embedded.clear()
        return count


@pytest.fixture
def lineups(
    enrolled: dict[str, Enrolment], fake_engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Lineups:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: fake_engine)
    return Lineups(enrolled, fake_engine, tmp_path)


def routed(lineup: VisionLineup, payload: bytes) -> Routed:
    found = lineup.router.route(frame_from(payload))
    assert isinstance(found, Routed), found
    return found


def test_large_jpeg_is_prepared_alike_at_enrolment_and_on_the_road(lineups: Lineups, fake_engine: FakeEngine) -> None:
    payload = jpeg_of("disc", 50)
    lineup = lineups.of(disc="decoder")
    found = routed(lineup, payload)
    (item,) = lineup.loaded.values()
    preparation = item.inspector.artifact.preparation
    gatherer = Gatherer([preparation], DecodeLimits(), RoutingPass.on(fake_engine))
    gatherer.add(ImageSource("a.jpg", payload=payload))
    assert gatherer.gathered.sizes == [SIZE]
    np.testing.assert_array_equal(gatherer.gathered.inputs[0], found.prepared)
    image = EncodedImage(payload, DecodeLimits())
    np.testing.assert_array_equal(gatherer.gathered.routing[0], routing_copy(image.halved(1)))
    assert found.size_px == SIZE[::-1]
    of_all_pixels = prepare(decode(payload, DecodeLimits()), preparation)
    apart = np.abs(of_all_pixels.astype(int) - found.prepared)
    assert 0 < apart.mean() < 1.0


def test_version_from_before_gets_means_of_all_pixels_alone_and_beside_a_new_one(lineups: Lineups) -> None:
    payloads = {name: jpeg_of(name, 60) for name in ("disc", "plate")}
    alone = {name: routed(lineups.of(**{name: halving}), payloads[name]) for name, halving in KINDS.items()}
    mixed = lineups.of(**KINDS)
    assert not mixed.decodes_halves
    for name, payload in payloads.items():
        found = routed(mixed, payload)
        assert found.facts.product == name
        np.testing.assert_array_equal(found.prepared, alone[name].prepared)
    of_all_pixels = prepare(decode(payloads["disc"], DecodeLimits()), Preparation(halving="mean"))
    np.testing.assert_array_equal(alone["disc"].prepared, of_all_pixels)


KINDS: dict[str, Halving] = {"disc": "mean", "plate": "decoder"}


def test_second_routing_pass_is_made_only_for_a_large_jpeg_beside_versions_of_both_kinds(lineups: Lineups) -> None:
    both, new, old = lineups.of(**KINDS), lineups.of(disc="decoder"), lineups.of(disc="mean")
    assert [lineup.decodes_halves for lineup in (both, new, old)] == [False, True, False]
    small = jpeg_of("disc", 61, (700, 700))
    passes = {}
    for name, lineup in {"both": both, "new": new, "old": old}.items():
        for size, payload in {"large": jpeg_of("disc", 62), "small": small}.items():
            routed(lineup, payload)
            passes[name, size] = lineups.routing_passes
    assert passes.pop(("both", "large")) == 2
    assert set(passes.values()) == {1}
