"""Drawn products and an engine without a network: what most tests of this room need, in milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain import Admitted, Delivery, Frame, FrameKey, PlainImage, Position, ProductVersion, TimeSource
from inspector.errors import EngineError
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import Enrolment
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.pooling import pooled
from inspector.vision.engines.protocols import (
    FLOAT32,
    Bank,
    Compare,
    Embedder,
    JointSearch,
    OneByOne,
    Patches,
    Precision,
    Search,
    ensure_float32,
    unit_length,
)
from inspector.vision.networks.graphs import Graph
from inspector.vision.networks.student_graph import StudentWeights

CHANNELS = {4: 24, 8: 40, 16: 112}
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class FakeEngine:
    """Patches are a fixed random projection of colour and contrast: enough to tell drawings apart.

    `fail_on` makes a pass fail whenever a batch holds a square of that constant value.
    """

    def __init__(self, drift: float = 0.0, *, is_batched: bool = False) -> None:
        self.drift = drift
        self._is_batched = is_batched
        self.fail_on: int | None = None
        self.batches: list[int] = []

    @property
    def name(self) -> str:
        return "fake"

    @property
    def is_batched(self) -> bool:
        return self._is_batched

    @property
    def needs_graphs(self) -> bool:
        return True

    def versions(self) -> dict[str, str]:
        return {"fake": "1"}

    @property
    def precision(self) -> Precision:
        return FLOAT32

    def ensure_graphs(self, graphs: Sequence[tuple[Graph, Path | None]]) -> None:
        """Nothing to do: there are no graphs."""

    def embedder(
        self,
        graph: Graph,
        weights_file: Path | None = None,
        *,
        small: bool = False,
        precision: Precision | None = None,
    ) -> Embedder:
        ensure_float32(self.name, precision)
        return lambda pixels: self._embed(graph, pixels)

    def _embed(self, graph: Graph, pixels: NDArray[np.uint8]) -> list[Patches]:
        self.batches.append(len(pixels))
        if self.fail_on is not None and any((frame == self.fail_on).all() for frame in pixels):
            raise EngineError("the pass failed")
        found = []
        for number, item in enumerate(graph.embeddings):
            side, channels = graph.grid(number), sum(CHANNELS[stride] for stride in item.strides)
            mix = np.random.default_rng(channels).standard_normal((6, channels)).astype(np.float32)
            rows = []
            for frame in pixels.astype(np.float32) / 128 - 1:
                mean = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
                square = cv2.resize(frame * frame, (side, side), interpolation=cv2.INTER_AREA)
                both = np.concatenate([mean, np.sqrt(np.maximum(square - mean * mean, 0))], axis=2)
                rows.append((both.reshape(side * side, 6) @ mix) * 3 + self.drift)
            every = np.arange(side * side)
            kept = (every // side + every % side) % 2 == 0 if item.join == "checkered" else every >= 0
            found.append(np.stack(rows).astype(np.float32)[:, kept])
        return found

    def student(self, weights: StudentWeights) -> Compare:
        return OnnxEngine(Path("unused"), 1).student(weights)

    def search(self, bank: Bank) -> Search:
        return FakeSearch(bank)

    def joint_search(self, banks: Sequence[Bank]) -> JointSearch:
        return OneByOne([self.search(bank) for bank in banks])


class FakeSearch:
    """The distances written out in NumPy."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def distances(self, patches: Patches) -> NDArray[np.float32]:
        if self._bank.scales is not None:
            compared = np.stack([self._compared(frame) for frame in patches]) * self._bank.scales
            return np.linalg.norm(compared - self._bank.prototypes, axis=2)[:, None]
        covers = self._bank.covers
        least = [squares.reshape(len(squares), covers, -1).min(2).T for squares in map(self._squares, patches)]
        return np.sqrt(np.maximum(np.stack(least), 0))

    def indices(self, patches: Patches) -> NDArray[np.int64]:
        if self._bank.scales is not None:
            return np.stack([np.arange(len(frame)) for frame in patches])
        return np.stack([self._squares(frame).argmin(1) for frame in patches])

    def _squares(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        y, bank = self._compared(frame), self._bank
        # As columns in one piece, as the engines take them: the last digits of a product depend on how a matrix lies.
        columns = np.ascontiguousarray(bank.prototypes.T)
        return (y**2).sum(1)[:, None] + (columns**2).sum(0) - 2 * y @ columns

    def _compared(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        bank = self._bank
        y = (pooled(frame[None])[0] if bank.is_pooled else frame) - bank.mean
        if bank.projection is not None:
            y = y @ bank.projection
        if bank.unit_length:
            y = unit_length(y)
        return y


def draw(product: str, seed: int, *, defect: bool = False, size: tuple[int, int] = (96, 96)) -> NDArray[np.uint8]:
    """A good or defective part of one of three made-up products, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = np.full((height, width, 3), 40, np.uint8)
    centre = (width // 2 + int(rng.integers(-2, 3)), height // 2 + int(rng.integers(-2, 3)))
    if product == "disc":
        cv2.circle(image, centre, min(size) // 3, (200, 60, 60), -1)
    elif product == "plate":
        image[:] = (60, 160, 90)
        cv2.rectangle(image, (8, 8), (width - 9, height - 9), (90, 220, 120), 4)
    elif product == "mesh":
        image[:, ::6] = (220, 220, 240)
        image[::6] = (220, 220, 240)
    if defect:
        at = (int(rng.integers(width // 3, 2 * width // 3)), int(rng.integers(height // 3, 2 * height // 3)))
        cv2.circle(image, at, 9, (255, 255, 0), -1)
    noise = rng.integers(-6, 7, image.shape)
    return np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def scene(seed: int, side: int = 96) -> NDArray[np.uint8]:
    """A view that every health check can be made of: one fixed pattern of patches, with the noise of a sensor."""
    pattern = np.random.default_rng(0).integers(60, 200, (12, 12), np.uint8)
    rng = np.random.default_rng(seed)
    levels = cv2.resize(pattern, (side, side), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    levels = levels * rng.uniform(0.97, 1.03) + rng.normal(0, 3, (side, side))
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", pixels[..., ::-1])[1])


def good_images(product: str, count: int) -> list[ImageSource]:
    return [ImageSource(f"{product}-{seed}.png", payload=encode(draw(product, seed))) for seed in range(count)]


def version_of(enrolment: Enrolment, product: str, *, number: int = 1, live: bool = True) -> ProductVersion:
    manifest = enrolment.manifest
    return ProductVersion(
        product=product,
        version=number,
        head=manifest["head"],
        profile=manifest["profile"],
        digest=enrolment.digest,
        size_bytes=len(enrolment.artifact),
        created_at=NOW,
        created_by="test",
        manifest=manifest,
        threshold=manifest["threshold"],
        is_live=live,
        is_shadow=not live,
    )


def frame_of(pixels: NDArray[np.uint8], name: str = "1") -> Frame:
    payload = pixels.tobytes()
    key = FrameKey("cam1", "", 1, name, None, None, hashlib.sha256(payload).hexdigest())
    delivery = Delivery(Position("cam1", 1, 1), "cam1", b"", {}, NOW, 0)
    return Frame(Admitted(delivery, key, NOW, TimeSource.RECEIVED), PlainImage(pixels))
