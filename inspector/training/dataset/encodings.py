"""Reads what a file says of its image besides the pixels: rotation, bit depth, whether it is animated.

None of this changes a pixel: the agents ignore it, and so does an enrolment. The person who enrols is told where the
files of a set differ in it. The bytes were decoded before; a nonsensical entry counts as missing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

UPRIGHT = 1
CMYK_CHANNELS = 4
_ORIENTATIONS = range(1, 9)
_ORIENTATION_TAG = 0x0112
_MOST_TAGS = 1000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GRAY = (0, 4)
_EXIF = b"Exif\x00\x00"
_FRAME_HEADERS = (0xC0, 0xC1, 0xC2)
_START_OF_SCAN = 0xDA


@dataclass(frozen=True, slots=True)
class Encoding:
    """`orientation`: EXIF's 1 to 8, 1 is upright. `bits` per sample.

    `channels` as stored, alpha not counted; a palette is 3.
    """

    orientation: int = UPRIGHT
    bits: int = 8
    channels: int = 3
    is_animated: bool = False

    @property
    def is_gray(self) -> bool:
        return self.channels == 1


def encoding_of(payload: bytes) -> Encoding:
    """The encoding of a whole JPEG or PNG, with defaults for missing entries."""
    if payload.startswith(_PNG_SIGNATURE):
        return _of_png(payload)
    return _of_jpeg(payload)


def _of_png(payload: bytes) -> Encoding:
    orientation, is_animated = UPRIGHT, False
    bits, colour = payload[24], payload[25]
    for name, body in _png_chunks(payload):
        if name == b"eXIf":
            orientation = _orientation(body)
        is_animated = is_animated or name == b"acTL"
    return Encoding(orientation, 16 if bits == 16 else 8, 1 if colour in _PNG_GRAY else 3, is_animated)


def _png_chunks(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG_SIGNATURE)
    while at + 8 <= len(payload):
        length = int.from_bytes(payload[at : at + 4], "big")
        name = payload[at + 4 : at + 8]
        yield name, payload[at + 8 : at + 8 + length] if name == b"eXIf" else b""
        at += length + 12


def _of_jpeg(payload: bytes) -> Encoding:
    orientation, channels, at = UPRIGHT, 3, 2
    while at + 4 <= len(payload) and payload[at] == 0xFF:
        marker, length = payload[at + 1], int.from_bytes(payload[at + 2 : at + 4], "big")
        body = payload[at + 4 : at + 2 + length]
        if marker == _START_OF_SCAN:
            break
        if marker == 0xE1 and body.startswith(_EXIF):
            orientation = _orientation(body[len(_EXIF) :])
        if marker in _FRAME_HEADERS and len(body) > 5:
            channels = body[5]
        at += 2 + length
    return Encoding(orientation, 8, channels)


def _orientation(tiff: bytes) -> int:
    """The orientation in the first directory of an EXIF block (TIFF 6.0, section 2)."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for number in range(min(count, _MOST_TAGS)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
            if tag == _ORIENTATION_TAG:
                return value if value in _ORIENTATIONS else UPRIGHT
    except struct.error:
        return UPRIGHT
    return UPRIGHT
