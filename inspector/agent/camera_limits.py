"""Limits of a camera's frames, from its configuration, and the decoder within these limits."""

from __future__ import annotations

import functools

from inspector.config.line_sections import CameraSection
from inspector.domain import Image
from inspector.stream.decode import DecodeLimits, EncodedImage

MIB = 1024 * 1024


def decode_for(payload: bytes, camera: CameraSection) -> Image:
    """Open a frame within its camera's limits. Raises UndecodableFrame, here or when its pixels are decoded."""
    return EncodedImage(payload, limits_of(camera))


@functools.lru_cache(maxsize=1024)
def limits_of(camera: CameraSection) -> DecodeLimits:
    """The limits that this camera's section sets."""
    return DecodeLimits(
        max_bytes=int(camera.max_mib * MIB),
        max_pixels=int(camera.max_mpx * 1e6),
        bit_depth=camera.bit_depth,
        black_level=camera.black_level,
    )
