"""Any bytes either become pixels of the promised form or raise UndecodableFrame, nothing else."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from inspector.errors import UndecodableFrame
from inspector.stream.decode import (
    MAX_CHUNKS,
    MAX_SCANS,
    MAX_SEGMENTS,
    UNCOUNTED_BYTES,
    DecodeLimits,
    EncodedImage,
    _cmyk_to_rgb,
    decode,
    halvings,
    keep_opencv_on_the_callers_thread,
    overview,
    read_header,
)

LIMITS = DecodeLimits(max_bytes=4_000_000, max_pixels=4_000_000)
RGB = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8), (0, 0), 3)


@functools.cache
def large() -> NDArray[np.uint8]:
    """A smooth image, uint8 [4096, 4608, 3]."""
    small = np.random.default_rng(2).integers(0, 256, (128, 144, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (4608, 4096), interpolation=cv2.INTER_CUBIC), np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: NDArray[np.integer], bits: int, kind: int, *extra: bytes) -> bytes:
    """A PNG of samples [H, W, C] as the format stores them, with `extra` chunks before the data."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1)
    if bits < 8:
        per_byte = 8 // bits
        padded = np.zeros((height, -(-rows.shape[1] // per_byte) * per_byte), np.uint8)
        padded[:, : rows.shape[1]] = rows
        shifts = np.arange(per_byte - 1, -1, -1) * bits
        rows = (padded.reshape(height, -1, per_byte) << shifts).sum(axis=2).astype(np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    body = head + b"".join(extra) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_of(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=95)
    return content.getvalue()


def jpeg(pixels: NDArray[np.uint8], *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels[..., ::-1], list(options))[1])


def test_decode_png_rgb_gives_its_pixels_contiguous() -> None:
    pixels = decode(png(RGB, 8, 2), LIMITS)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, RGB)


def test_decode_png_gray_is_repeated_to_three_channels() -> None:
    pixels = decode(png(RGB[:, :, :1], 8, 0), LIMITS)
    np.testing.assert_array_equal(pixels, np.repeat(RGB[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_decode_png_gray_of_few_bits_is_stretched(bits: int) -> None:
    samples = RGB[:, :, :1] & (2**bits - 1)
    pixels = decode(png(samples, bits, 0), LIMITS)
    np.testing.assert_array_equal(pixels[:, :, :1], samples * (255 // (2**bits - 1)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_decode_png_palette_is_looked_up(bits: int) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (2**bits, 3), dtype=np.uint8)
    samples = RGB[:, :, :1] & (2**bits - 1)
    palette = chunk(b"PLTE", colours.tobytes())
    transparent = chunk(b"tRNS", bytes(2**bits))
    pixels = decode(png(samples, bits, 3, palette, transparent), LIMITS)
    np.testing.assert_array_equal(pixels, colours[samples[:, :, 0]])


def test_decode_png_alpha_is_dropped_without_blending() -> None:
    alpha = np.random.default_rng(4).integers(0, 256, (20, 30, 1), dtype=np.uint8)
    np.testing.assert_array_equal(decode(png(np.concatenate([RGB, alpha], 2), 8, 6), LIMITS), RGB)
    gray_alpha = np.concatenate([RGB[:, :, :1], alpha], 2)
    np.testing.assert_array_equal(decode(png(gray_alpha, 8, 4), LIMITS)[:, :, 0], RGB[:, :, 0])


def test_decode_png_16_bit_is_scaled_by_its_depth_and_black_level() -> None:
    samples = np.array([[[64], [64 + 2008], [4095], [0], [65535]]])
    limits = DecodeLimits(bit_depth=12, black_level=64)
    assert decode(png(samples, 16, 0), limits)[0, :, 0].tolist() == [0, 127, 255, 0, 255]


def test_decode_png_12_bits_in_16_does_not_turn_black() -> None:
    samples = np.full((4, 4, 3), 2048)
    assert decode(png(samples, 16, 2), DecodeLimits(bit_depth=12)).mean() == pytest.approx(128, abs=1)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_decode_png_16_bit_of_every_kind_uses_all_bits_by_default(kind: int, channels: int) -> None:
    samples = np.full((3, 5, channels), 65535)
    samples[0] = 0
    pixels = decode(png(samples, 16, kind), LIMITS)
    assert pixels[0].max() == 0
    assert pixels[1:].min() == 255


def test_decode_jpeg_colour_equals_libjpeg() -> None:
    payload = jpeg(SMOOTH)
    np.testing.assert_array_equal(decode(payload, LIMITS), simplejpeg.decode_jpeg(payload))


def test_decode_jpeg_gray_and_progressive_come_as_three_channels() -> None:
    gray = bytes(cv2.imencode(".jpg", SMOOTH[:, :, 0])[1])
    assert read_header(gray).channels == 1
    assert decode(gray, LIMITS).shape == (64, 96, 3)
    progressive = jpeg(SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert np.abs(decode(progressive, LIMITS).astype(int) - SMOOTH).mean() < 4


def cmyk_jpeg(ink: NDArray[np.uint8]) -> bytes:
    """As Adobe writes it: 255 - ink, and a marker that says so."""
    buffer = io.BytesIO()
    Image.fromarray(ink, "CMYK").save(buffer, "JPEG", quality=98)
    return buffer.getvalue()


def test_decode_jpeg_cmyk_becomes_rgb() -> None:
    cyan = np.zeros((16, 16, 4), np.uint8)
    cyan[:, :, 0] = 255
    with_marker = cmyk_jpeg(cyan)
    np.testing.assert_allclose(decode(with_marker, LIMITS)[8, 8], [0, 255, 255], atol=4)
    inverted = cmyk_jpeg(255 - cyan)
    at = inverted.index(b"\xff\xee")
    without_marker = inverted[:at] + inverted[at + 16 :]
    np.testing.assert_allclose(decode(without_marker, LIMITS)[8, 8], [0, 255, 255], atol=4)


def test_decode_jpeg_cmyk_product_is_rounded_to_the_nearest() -> None:
    """Every pair of a colour and a black, by the formula in whole numbers."""
    colour, black = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    found = _cmyk_to_rgb(np.dstack([colour, colour, colour, black]), is_inverted=True)
    wanted = (colour.astype(int) * black + 127) // 255
    np.testing.assert_array_equal(found, np.repeat(wanted[:, :, None], 3, axis=2))


def test_decode_png_of_many_bytes_is_counted_and_decoded() -> None:
    """Noise is beyond the bytes that are decoded uncounted, plain and interlaced."""
    noise = np.random.default_rng(6).integers(0, 256, (1000, 900, 3), dtype=np.uint8)
    payload = png(noise, 8, 2)
    assert len(payload) > UNCOUNTED_BYTES
    np.testing.assert_array_equal(decode(payload, LIMITS), noise)


def test_decode_png_with_more_data_than_its_header_says_is_refused_before_decoding() -> None:
    lines = np.random.default_rng(6).bytes(UNCOUNTED_BYTES + 1000)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0))
    payload = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    with pytest.raises(UndecodableFrame, match="more image data"):
        read_header(payload, LIMITS)


def test_decode_png_damaged_beyond_the_uncounted_bytes_is_refused() -> None:
    noise = np.random.default_rng(6).integers(0, 256, (1000, 900, 3), dtype=np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in noise)
    data = bytearray(zlib.compress(raw))
    data[0] = 0
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 900, 1000, 8, 2, 0, 0, 0))
    payload = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", bytes(data)) + chunk(b"IEND", b"")
    with pytest.raises(UndecodableFrame, match="corrupt"):
        decode(payload, LIMITS)


def test_keep_opencv_on_the_callers_thread_leaves_it_one() -> None:
    threads = cv2.getNumThreads()
    try:
        keep_opencv_on_the_callers_thread()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(threads)


def test_decode_exif_rotation_is_ignored() -> None:
    payload = jpeg(SMOOTH)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    rotated = payload[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + payload[2:]
    np.testing.assert_array_equal(decode(rotated, LIMITS), decode(payload, LIMITS))
    turned_png = png(RGB, 8, 2, chunk(b"eXIf", tiff))
    np.testing.assert_array_equal(decode(turned_png, LIMITS), RGB)


def test_read_header_names_kind_size_and_bits() -> None:
    header = read_header(png(np.zeros((7, 5, 3), np.uint16), 16, 2))
    assert (header.kind, header.width, header.height, header.bits, header.channels) == ("png", 5, 7, 16, 3)
    header = read_header(jpeg(SMOOTH))
    assert (header.kind, header.width, header.height, header.bits, header.channels) == ("jpeg", 96, 64, 8, 3)


def huge_png() -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def with_bad_crc() -> bytes:
    payload = bytearray(png(RGB, 8, 2))
    payload[60] ^= 0xFF
    return bytes(payload)


def with_many_scans() -> bytes:
    payload = jpeg(SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    start = payload.rindex(b"\xff\xda")
    return payload[:start] + payload[start:-2] * (MAX_SCANS + 1) + b"\xff\xd9"


def short_png() -> bytes:
    """Every checksum right, half of the pixels missing."""
    raw = b"\0" + bytes(90)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def holed_jpeg() -> bytes:
    payload = jpeg(cv2.resize(SMOOTH, (400, 300)))
    return payload[: len(payload) // 2] + b"\xff\xd9"


SMALL_JPEG = jpeg(SMOOTH)

BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, line 4", "neither JPEG nor PNG"),
    "random": (np.random.default_rng(5).bytes(500), "neither JPEG nor PNG"),
    "huge": (huge_png(), "30000x30000"),
    "too many bytes": (b"\xff\xd8" + bytes(4_000_001), "limit is 4000000"),
    "jpeg signature only": (b"\xff\xd8", "truncated"),
    "png signature only": (b"\x89PNG\r\n\x1a\n", "truncated"),
    "jpeg without end": (jpeg(SMOOTH)[:-2], "end-of-image"),
    "jpeg cut": (jpeg(SMOOTH)[:300], "truncated"),
    "jpeg with missing data": (holed_jpeg(), "damaged"),
    "jpeg with too many scans": (with_many_scans(), "scans"),
    "png cut": (png(RGB, 8, 2)[:-20], "truncated"),
    "png with bad checksum": (with_bad_crc(), "checksum"),
    "png with missing data": (short_png(), "incomplete"),
    "png of no width": (png(np.zeros((3, 0, 3), np.uint8), 8, 2), "0x3"),
    "png of impossible depth": (png(np.zeros((3, 3, 3), np.uint8), 3, 2), "does not know"),
    "jpeg with too many segments": (SMALL_JPEG[:2] + b"\xff\xfe\0\2" * MAX_SEGMENTS + SMALL_JPEG[2:], "segments"),
    "png with too many chunks": (png(RGB, 8, 2, chunk(b"tEXt", b"") * MAX_CHUNKS), "chunks"),
    "lossless jpeg": (jpeg(SMOOTH).replace(b"\xff\xc0", b"\xff\xc3"), "not supported"),
    "12-bit jpeg": (jpeg(SMOOTH).replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "12 bits"),
}


@pytest.mark.parametrize("name", BAD)
def test_decode_bad_frame_is_refused_with_its_reason(name: str) -> None:
    payload, reason = BAD[name]
    with pytest.raises(UndecodableFrame, match=reason) as refusal:
        decode(payload, LIMITS)
    assert "\n" not in str(refusal.value)


def test_decode_frame_over_the_pixel_limit_is_refused_before_decoding() -> None:
    with pytest.raises(UndecodableFrame, match="limit is 100"):
        decode(png(RGB, 8, 2), DecodeLimits(max_pixels=100))


@pytest.mark.parametrize(("depth", "black"), [(7, 0), (17, 0), (12, 4095), (10, -1)])
def test_limits_impossible_levels_are_refused(depth: int, black: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        DecodeLimits(bit_depth=depth, black_level=black)


SEEDS = [png(RGB, 8, 2), png(RGB[:, :, :1], 8, 0), jpeg(SMOOTH), jpeg(SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)]


@given(st.sampled_from(SEEDS), st.data())
def test_decode_any_damage_decodes_or_is_refused(seed: bytes, data: st.DataObject) -> None:
    """Invariant: no bytes make anything but pixels of the header's size or UndecodableFrame."""
    payload = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))] if data.draw(st.booleans()) else payload)
    check_total(cut)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]))
def test_decode_any_bytes_decode_or_are_refused(tail: bytes, start: bytes) -> None:
    check_total(start + tail)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=64),
)
def test_decode_any_png_header_decodes_or_is_refused(width: int, height: int, bits: int, kind: int, raw: bytes) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    check_total(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def check_total(payload: bytes) -> None:
    try:
        pixels = decode(payload, LIMITS)
    except UndecodableFrame:
        return
    header = read_header(payload)
    assert pixels.shape == (header.height, header.width, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_QUALITY, 60)])
def test_image_jpeg_is_halved_by_its_decoder_to_nearly_the_means_of_its_pixels(options: tuple[int, ...]) -> None:
    image = EncodedImage(jpeg(large(), *options), DecodeLimits())
    for times in range(1, 4):
        found = image.halved(times)
        assert found.shape == (4096 >> times, 4608 >> times, 3)
        assert found.flags.c_contiguous
        means = cv2.resize(image.halved(0), found.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(found.astype(int) - means).mean() < 1.5
        assert image.halved(times) is found


@pytest.mark.parametrize(("height", "width"), [(1024, 1025), (1031, 2047), (2049, 2500), (5001, 4099)])
def test_image_sides_are_rounded_up_when_they_are_halved(height: int, width: int) -> None:
    image = EncodedImage(jpeg(np.full((height, width, 3), 90, np.uint8)), DecodeLimits())
    assert image.size == (height, width)
    for times in range(1 + image.most_halvings):
        assert image.halved(times).shape == (-(-height >> times), -(-width >> times), 3)


def test_image_of_every_jpeg_form_is_halved() -> None:
    smooth = large()[:1024, :1300]
    gray = EncodedImage(jpeg_of(Image.fromarray(smooth[:, :, 0])), LIMITS)
    assert np.ptp(gray.halved(1), axis=2).max() == 0
    ink = EncodedImage(jpeg_of(Image.fromarray(smooth).convert("CMYK")), LIMITS)
    means = cv2.resize(ink.halved(0), (650, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(ink.halved(1).astype(int) - means).mean() < 1.5


def test_image_damaged_jpeg_is_refused_at_every_size() -> None:
    whole = jpeg(large())
    start = whole.index(b"\xff\xda") + len(whole) // 2
    for times in range(4):
        with pytest.raises(UndecodableFrame, match="damaged"):
            EncodedImage(whole[:start] + b"\xff\xd9", DecodeLimits()).halved(times)


def test_image_png_is_never_halved_by_its_decoder() -> None:
    image = EncodedImage(png(np.zeros((1100, 1100, 1), np.uint8), 8, 0), LIMITS)
    assert image.most_halvings == 0
    assert overview(image).shape == (1100, 1100, 3)
    with pytest.raises(ValueError, match="can't halve"):
        image.halved(1)


def test_overview_keeps_both_sides_at_512_and_more() -> None:
    for size, shown in {(1023, 4000): (1023, 4000), (1024, 4000): (512, 2000), (1025, 2050): (513, 1025)}.items():
        image = EncodedImage(jpeg(np.zeros((*size, 3), np.uint8)), DecodeLimits())
        assert overview(image).shape[:2] == shown
    sides = {1: 0, 512: 0, 1023: 0, 1024: 1, 2047: 1, 2048: 2, 4096: 3}
    assert {side: halvings((side, 9000), 512, 512) for side in sides} == sides
