"""Makes the channel statistics of the routing profile from procedural textures.

Run once: `python benchmarks/routing_profile.py`. The result is committed as
`inspector/vision/routing/routing_profile.json`. No photograph is used, so that no product can lean on the
constants that tell it apart; a fixed seed makes the same file again on any machine with the same weights.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines.factory import create_engine
from inspector.vision.networks.graphs import BackboneFile, Graph
from inspector.vision.routing.profile import PROFILE_FILE, ROUTING_EMBEDDING, ROUTING_SIZE_PX

SEED = 20250101
PER_KIND = 40
SIDE = ROUTING_SIZE_PX


def noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise whose power falls with frequency: cloth, castings, grain."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    fall = 1.0 / np.maximum(frequency, 1 / SIDE) ** rng.uniform(0.3, 2.0)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * fall).real
    return stretch(field)


def stripes(rng: np.random.Generator) -> NDArray[np.float32]:
    """Waves in one or two directions: weave, brushed metal, ribs."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    field = np.zeros((SIDE, SIDE))
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 40)
        field += np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period)
    return stretch(field if rng.random() < 0.5 else np.sign(field))


def blobs(rng: np.random.Generator) -> NDArray[np.float32]:
    """Discs on a plain ground: grains, holes, pellets."""
    field = np.full((SIDE, SIDE), rng.uniform(0, 1), np.float32)
    for _ in range(int(rng.integers(3, 60))):
        centre = (int(rng.integers(SIDE)), int(rng.integers(SIDE)))
        cv2.circle(field, centre, int(rng.integers(2, 16)), float(rng.uniform(0, 1)), -1, cv2.LINE_AA)
    return field


def grid(rng: np.random.Generator) -> NDArray[np.float32]:
    """Lines on a ground: cells, boards, seams."""
    field = np.full((SIDE, SIDE), rng.uniform(0, 1), np.float32)
    shade, pitch, width = float(rng.uniform(0, 1)), int(rng.integers(8, 48)), int(rng.integers(1, 4))
    for at in range(int(rng.integers(pitch)), SIDE, pitch):
        cv2.line(field, (at, 0), (at, SIDE), shade, width)
        cv2.line(field, (0, at), (SIDE, at), shade, width)
    return field


def part(rng: np.random.Generator) -> NDArray[np.float32]:
    """One shape on a plain ground with a soft light: an object in its fixture."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    field = (rng.uniform(0.1, 0.9) + rng.uniform(-0.3, 0.3) * x + rng.uniform(-0.3, 0.3) * y).astype(np.float32)
    axes = (int(rng.integers(20, 60)), int(rng.integers(20, 60)))
    for shrink in (1.0, 0.7, 0.4):
        scaled = (int(axes[0] * shrink), int(axes[1] * shrink))
        cv2.ellipse(field, (SIDE // 2, SIDE // 2), scaled, 0, 0, 360, float(rng.uniform(0, 1)), -1, cv2.LINE_AA)
    return np.asarray(np.clip(field, 0, 1), np.float32)


def stretch(field: NDArray[np.floating]) -> NDArray[np.float32]:
    """The field brought to [0, 1]."""
    low, high = float(field.min()), float(field.max())
    return ((field - low) / max(high - low, 1e-9)).astype(np.float32)


def colour(field: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Half stay gray; the others run between two colours. A little sensor noise on all."""
    low, high = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
    if rng.random() < 0.5:
        low, high = np.full(3, low[0]), np.full(3, high[0])
    mixed = low + (high - low) * field[..., None] + rng.normal(0, rng.uniform(0, 0.02), (SIDE, SIDE, 3))
    return np.clip(mixed * 255, 0, 255).astype(np.uint8)


def main() -> None:
    """Writes the profile beside the module that reads it."""
    rng = np.random.default_rng(SEED)
    textures = np.stack(
        [colour(kind(rng), rng) for kind in (noise, stripes, blobs, grid, part) for _ in range(PER_KIND)]
    )
    backbone = BackboneFile.installed()
    graph = Graph(backbone.backbone.name, backbone.sha256, ROUTING_SIZE_PX, (ROUTING_EMBEDDING,))
    with tempfile.TemporaryDirectory() as cache:
        embed = create_engine("onnxruntime", Path(cache), 1).embedder(graph)
        patches = np.concatenate([embed(image[None])[0][0] for image in textures])  # [N, C]
    profile = {
        "made_by": "benchmarks/routing_profile.py",
        "seed": SEED,
        "backbone": backbone.backbone.name,
        "weights_sha256": backbone.sha256,
        "size_px": ROUTING_SIZE_PX,
        # Four digits: far above the noise between machines, so that the file comes out the same.
        "mean": [round(float(value), 4) for value in patches.mean(axis=0)],
        "spread": [round(float(value), 4) for value in patches.std(axis=0)],
    }
    PROFILE_FILE.write_text(json.dumps(profile, indent=1) + "\n", encoding="utf-8")
    print(f"{PROFILE_FILE}: {patches.shape[1]} channels from {len(textures)} textures")


if __name__ == "__main__":
    main()
