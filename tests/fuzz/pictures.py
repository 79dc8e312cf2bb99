"""Pictures of every kind a camera may send, as small as they go, and the bombs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.fuzz.mutators import png_chunk

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = png_chunk(b"IEND", b"")
MIB = 2**20


def _smooth(height: int, width: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)


def jpeg_seeds() -> list[bytes]:
    """Baseline, progressive, gray, restart markers, three samplings, CMYK, and one that its decoder halves."""
    picture = _smooth(40, 56)

    def cv(*options: int, gray: bool = False) -> bytes:
        return bytes(cv2.imencode(".jpg", picture[:, :, 0] if gray else picture, list(options))[1])

    ink = io.BytesIO()
    Image.fromarray(np.dstack([picture, picture[:, :, :1]]), "CMYK").save(ink, "JPEG", quality=80)
    return [
        cv(),
        cv(gray=True),
        cv(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        cv(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, gray=True),
        cv(cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        cv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        cv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
        ink.getvalue(),
        bytes(cv2.imencode(".jpg", _smooth(1024, 1030))[1]),
    ]


def png_seeds() -> list[bytes]:
    """Every colour type at every depth, plain and interlaced."""
    rng = np.random.default_rng(2)
    found = []
    for kind, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (4, 2, (8, 16)),
                                   (6, 4, (8, 16))):  # fmt: skip
        for bits in depths:
            palette = (png_chunk(b"PLTE", rng.bytes(3 * 2 ** min(bits, 8))),) if kind == 3 else ()
            for interlace in (0, 1):
                lines = _scan_lines(rng, 9, 13, bits * channels, interlace)
                found.append(png(13, 9, bits, kind, zlib.compress(lines), *palette, interlace=interlace))
    return found


def png(width: int, height: int, bits: int, kind: int, data: bytes, *extra: bytes, interlace: int = 0) -> bytes:
    """A PNG of one data chunk."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlace))
    return SIGNATURE + head + b"".join(extra) + png_chunk(b"IDAT", data) + END


def _scan_lines(rng: np.random.Generator, height: int, width: int, bits: int, interlace: int) -> bytes:
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = bytearray()
    for left, top, across, down in passes if interlace else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        for row in range(rows if columns > 0 else 0):
            lines += bytes([row % 5]) + rng.bytes(-(-columns * bits // 8))
    return bytes(lines)


# ---------------------------------------------------------------- bombs


def zeros(size: int) -> bytes:
    """So many zeros, deflated at once: one flushed block of a MiB, said again, and the checksum written down."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(bytes(size % MIB)) + packer.flush()
    return b"\x78\xda" + block * (size // MIB) + last + struct.pack(">HH", size % 65521, 1)


def black_png(width: int, height: int, bits: int, kind: int, channels: int) -> bytes:
    return png(width, height, bits, kind, zeros(height * (1 + width * channels * bits // 8)))


def many_chunks(name: bytes, body: bytes, count: int) -> bytes:
    """A good small PNG with so many more chunks."""
    return png(4, 4, 8, 0, zlib.compress(bytes(20)), png_chunk(name, body) * count)


def split_data(count: int) -> bytes:
    """A PNG whose data come one byte to a chunk, most of them empty."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    return SIGNATURE + head + png_chunk(b"IDAT", zlib.compress(bytes(20))) + png_chunk(b"IDAT", b"") * count + END


def large_jpeg(width: int, height: int, *options: int) -> bytes:
    """One gray all over: hundreds of times its size in pixels."""
    return bytes(cv2.imencode(".jpg", np.full((height, width, 3), 128, np.uint8), list(options))[1])


def scan_bomb(scans: int, width: int = 4000, height: int = 4000) -> bytes:
    """A progressive JPEG whose last refinement scan comes so many times more."""
    payload = large_jpeg(width, height, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    start = payload.rindex(b"\xff\xda")
    return payload[:start] + payload[start:-2] * (scans + 1) + b"\xff\xd9"


def many_segments(count: int) -> bytes:
    payload = jpeg_seeds()[0]
    return payload[:2] + b"\xff\xfe\x00\x02" * count + payload[2:]


def many_markers(count: int) -> bytes:
    payload = jpeg_seeds()[0]
    return payload[:2] + b"\xff\x01" * count + payload[2:]


def cmyk_jpeg(width: int, height: int) -> bytes:
    ink = io.BytesIO()
    Image.fromarray(np.full((height, width, 4), 128, np.uint8), "CMYK").save(ink, "JPEG", quality=30)
    return ink.getvalue()


@dataclass(frozen=True)
class Bomb:
    """`refused`: what the refusal says, None where the frame is within the limits and is decoded."""

    make: Callable[[], bytes]
    refused: str | None


BOMBS = {
    "png claims 32767 x 32767": Bomb(lambda: png(32767, 32767, 8, 2, zeros(100)), "limit is"),
    "png claims 2^31 - 1 a side": Bomb(lambda: png(2**31 - 1, 2**31 - 1, 16, 6, zeros(0)), "no side may exceed"),
    "png of 31 megapixels, 16 bits, alpha": Bomb(lambda: black_png(5600, 5600, 16, 6, 4), None),
    "png of 31 megapixels, empty": Bomb(lambda: png(5600, 5600, 16, 6, zeros(0)), "incomplete"),
    "png of 31 megapixels, interlaced, cut": Bomb(lambda: png(5600, 5600, 8, 2, zeros(MIB), interlace=1), "incomplete"),
    "png with 1 GiB behind its last line": Bomb(lambda: png(4, 4, 8, 0, zeros(1024 * MIB)), None),
    "png with 15 GiB behind its last line": Bomb(lambda: png(4, 4, 8, 0, zeros(15360 * MIB)), "more image data"),
    "png with 4 GiB of colour profile": Bomb(lambda: many_chunks(b"iCCP", b"p\0\0" + zeros(4096 * MIB), 1), None),
    "png with 200 texts of 64 MiB": Bomb(lambda: many_chunks(b"zTXt", b"t\0\0" + zeros(64 * MIB), 200), None),
    "png with 1,300,000 empty texts": Bomb(lambda: many_chunks(b"tEXt", b"", 1_300_000), "chunks"),
    "png with 1,300,000 empty data chunks": Bomb(lambda: split_data(1_300_000), "chunks"),
    "jpeg of 31 megapixels": Bomb(lambda: large_jpeg(5600, 5600), None),
    "jpeg of 31 megapixels, progressive": Bomb(lambda: large_jpeg(5600, 5600, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), None),
    "jpeg of 31 megapixels, CMYK": Bomb(lambda: cmyk_jpeg(5600, 5600), None),
    "jpeg claims 65535 x 65535": Bomb(lambda: _claiming(jpeg_seeds()[0], 65535, 65535), "no side may exceed"),
    "jpeg claims 31 megapixels": Bomb(lambda: _claiming(jpeg_seeds()[2], 5600, 5600), "damaged"),
    "jpeg of 16 megapixels, 20 scans more": Bomb(lambda: scan_bomb(20), "damaged"),
    "jpeg with 5,000 scans more": Bomb(lambda: scan_bomb(5000, 400, 400), "scans"),
    "jpeg with 4,000,000 empty comments": Bomb(lambda: many_segments(4_000_000), "segments"),
    "jpeg with 8,000,000 bare markers": Bomb(lambda: many_markers(8_000_000), "segments"),
}


def _claiming(payload: bytes, width: int, height: int) -> bytes:
    at = next(payload.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in payload)
    return payload[: at + 5] + struct.pack(">HH", height, width) + payload[at + 9 :]
