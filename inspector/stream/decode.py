"""Decodes the bytes of a camera to pixels. Enrolment and the stream both use this module and get the same bits.

A large JPEG need not be decoded at its full size: its decoder halves it while it decodes (the scaled inverse DCT of
libjpeg), as far as whoever asks can do with halves.

A frame is recognised by its content (JPEG or PNG), never by a name or a content type. Its headers are
read in plain Python before any decoder sees the frame, so a decompression bomb or a truncated file costs
microseconds. Only critical PNG chunks reach the decoder: transparency, colour profiles and rotation hints
are ignored. An incomplete image is refused: a part must never be judged on grey filler.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # a compiled module without stubs
from numpy.typing import NDArray

from inspector.domain import Image
from inspector.errors import UndecodableFrame

MAX_SIDE_PX = 32_767
OVERVIEW_PX = 512
"""A decoder halves a frame as long as both its sides stay at least this long: what routing needs, and a head without
tiles, so that a frame is decoded once for both."""

_JPEG_HALVINGS = 3
MAX_SCANS = 32
"""A progressive JPEG needs about ten scans; each one costs a pass over all pixels."""

MAX_SEGMENTS = 4096
"""Most segments of a JPEG. A frame with a colour profile and previews has a few hundred. Reading them holds the GIL."""

MAX_CHUNKS = 65_536
"""Most chunks of a PNG: 512 MiB in chunks of the usual 8 KiB."""

UNCOUNTED_BYTES = 2 * 1024 * 1024
"""Deflated data of a PNG up to this size are decoded uncounted: they inflate to at most 2 GiB, in a few seconds."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_GRAY_KINDS = (0, 4)
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# A marker inside entropy-coded data: 0xFF followed by neither stuffing, a restart nor a fill byte.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_SOF_SUPPORTED = (0xC0, 0xC1, 0xC2)
_JPEG_SOF_OTHER = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of a camera's frames.

    `bit_depth` and `black_level` define the range of 16-bit samples: `black_level` becomes 0 and
    2**bit_depth - 1 becomes 255. (A plain shift by 8 would turn 12-bit samples black.) With a `bit_depth`
    of 8, 16-bit frames use all their 16 bits. 8-bit frames stay as they are.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000
    bit_depth: int = 8
    black_level: int = 0

    def __post_init__(self) -> None:
        if not 8 <= self.bit_depth <= 16:
            raise ValueError(f"bit_depth must be 8 to 16, not {self.bit_depth}")
        if not 0 <= self.black_level < self.white_level:
            raise ValueError(f"black_level must be from 0 to below {self.white_level}, not {self.black_level}")

    @property
    def white_level(self) -> int:
        """The 16-bit sample that becomes 255."""
        return 65535 if self.bit_depth == 8 else 2**self.bit_depth - 1


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The content of a frame's own header. `bits` is per sample; `channels` is as stored (a palette has one)."""

    kind: Literal["jpeg", "png"]
    width: int
    height: int
    bits: int
    channels: int


@dataclass(frozen=True, slots=True)
class _Survey:
    """A header, with the bytes that the decoder gets and the way to read them."""

    header: ImageHeader
    payload: bytes
    is_gray: bool
    is_adobe: bool


def keep_opencv_on_the_callers_thread() -> None:
    """Make OpenCV start no threads of its own, for the whole process.

    Several workers decode and prepare frames at once, beside the backbone's threads. A thread pool of
    OpenCV, as wide as the machine, would only make the workers wait for each other. The pixels are the same.
    """
    cv2.setNumThreads(1)


def read_header(payload: bytes, limits: DecodeLimits | None = None) -> ImageHeader:
    """The header of a complete JPEG or PNG. No pixel is decoded.

    Raises UndecodableFrame when the bytes are empty, no JPEG or PNG, truncated, damaged in their
    structure, or beyond `limits`.
    """
    return _survey(payload, limits or DecodeLimits()).header


def decode(payload: bytes, limits: DecodeLimits) -> NDArray[np.uint8]:
    """Pixels of a whole frame: uint8 [H, W, 3], RGB, C-contiguous, owned by the caller.

    Gray is repeated to three channels, a palette is looked up, alpha is dropped without blending,
    CMYK becomes RGB by (255 - ink) * (255 - black) / 255, rotation hints are ignored.
    Raises UndecodableFrame for anything else; no other exception for any bytes.
    """
    return EncodedImage(payload, limits).halved(0)


class EncodedImage:
    """A complete JPEG or PNG. Implements `domain.Image`. The decoder halves a large JPEG, at most three times."""

    def __init__(self, payload: bytes, limits: DecodeLimits) -> None:
        """Only headers and structure are read here. Raises UndecodableFrame, as `read_header`."""
        self._survey = _survey(payload, limits)
        self._limits = limits
        self._decoded: dict[int, NDArray[np.uint8]] = {}

    @property
    def size(self) -> tuple[int, int]:
        return self._survey.header.height, self._survey.header.width

    @property
    def most_halvings(self) -> int:
        if self._survey.header.kind != "jpeg":
            return 0
        return min(_JPEG_HALVINGS, halvings(self.size, OVERVIEW_PX, OVERVIEW_PX))

    def halved(self, times: int) -> NDArray[np.uint8]:
        """The pixels as `decode` describes them. Raises UndecodableFrame; no other exception for any bytes."""
        if not 0 <= times <= self.most_halvings:
            raise ValueError(f"the decoder can't halve this image {times} times")
        if times not in self._decoded:
            self._decoded[times] = self._decode(times)
        return self._decoded[times]

    def _decode(self, times: int) -> NDArray[np.uint8]:
        height, width = (-(-side >> times) for side in self.size)
        if self._survey.header.kind == "jpeg":
            pixels = _decode_jpeg(self._survey, height, width)
        else:
            pixels = _decode_png(self._survey, self._limits)
        if pixels.shape != (height, width, 3):
            raise UndecodableFrame("The image has another size than its header says.")
        return pixels


def halvings(size: tuple[int, int], height: int, width: int) -> int:
    """How often sides of this size can be halved so that they stay at least so long."""
    return max(1, min(size[0] // height, size[1] // width)).bit_length() - 1


def overview(image: Image) -> NDArray[np.uint8]:
    """The image as far as its decoder halves it. Raises UndecodableFrame."""
    return image.halved(image.most_halvings)


def _survey(payload: bytes, limits: DecodeLimits) -> _Survey:
    if not payload:
        raise UndecodableFrame("The frame is empty: 0 bytes arrived.")
    if len(payload) > limits.max_bytes:
        raise UndecodableFrame(f"The frame has {len(payload)} bytes, the limit is {limits.max_bytes}.")
    if payload.startswith(b"\xff\xd8"):
        return _survey_jpeg(payload, limits)
    if payload.startswith(_PNG_SIGNATURE):
        return _survey_png(payload, limits)
    raise UndecodableFrame("The frame is neither JPEG nor PNG.")


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if width == 0 or height == 0:
        raise UndecodableFrame(f"The image claims {width}x{height} pixels: nothing to look at.")
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX:
        raise UndecodableFrame(f"The image claims {width}x{height} pixels; no side may exceed {MAX_SIDE_PX}.")
    if width * height > limits.max_pixels:
        raise UndecodableFrame(f"The image claims {width}x{height} pixels, the limit is {limits.max_pixels} in all.")


# ---------------------------------------------------------------- JPEG (ITU-T T.81)


def _survey_jpeg(payload: bytes, limits: DecodeLimits) -> _Survey:
    """Reads all segments up to the end-of-image marker; a regular expression skips entropy-coded data."""
    header: ImageHeader | None = None
    is_adobe = False
    scans = 0
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker, at = _next_jpeg_marker(payload, at)
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            continue
        body, at = _jpeg_segment(payload, at)
        if marker in _JPEG_SOF_OTHER:
            raise UndecodableFrame("The JPEG is lossless, hierarchical or arithmetic-coded, which is not supported.")
        if marker in _JPEG_SOF_SUPPORTED:
            if header is not None:
                raise UndecodableFrame("The JPEG has two frame headers.")
            header = _jpeg_frame_header(body)
            _check_size(header.width, header.height, limits)
        elif marker == 0xEE and body.startswith(b"Adobe"):
            is_adobe = True
        elif marker == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise UndecodableFrame(f"The JPEG has more than {MAX_SCANS} scans.")
    else:
        raise UndecodableFrame(f"The JPEG has more than {MAX_SEGMENTS} segments.")
    if header is None or scans == 0:
        raise UndecodableFrame("The JPEG ends before its image data.")
    return _Survey(header, payload, header.channels == 1, is_adobe)


def _next_jpeg_marker(payload: bytes, at: int) -> tuple[int, int]:
    """The next marker at or after `at`, and the position after the marker."""
    match = _JPEG_MARKER.search(payload, at)
    if match is None:
        # A restart marker between segments would be skipped too; it carries nothing.
        raise UndecodableFrame("The JPEG is truncated: its end-of-image marker is missing.")
    return payload[match.end() - 1], match.end()


def _jpeg_segment(payload: bytes, at: int) -> tuple[bytes, int]:
    """The body of the segment whose length field is at `at`, and the position after the segment."""
    if at + 2 > len(payload):
        raise UndecodableFrame("The JPEG is truncated within a segment.")
    length = int.from_bytes(payload[at : at + 2], "big")
    if length < 2 or at + length > len(payload):
        raise UndecodableFrame("The JPEG is truncated within a segment.")
    return payload[at + 2 : at + length], at + length


def _jpeg_frame_header(body: bytes) -> ImageHeader:
    if len(body) < 6:
        raise UndecodableFrame("The JPEG's frame header is too short.")
    bits, height, width, channels = struct.unpack(">BHHB", body[:6])
    if bits != 8:
        raise UndecodableFrame(f"The JPEG has {bits} bits per sample; 8 is supported (send PNG for more).")
    if channels not in (1, 3, 4):
        raise UndecodableFrame(f"The JPEG has {channels} channels; 1, 3 and 4 are supported.")
    if len(body) != 6 + 3 * channels:
        raise UndecodableFrame("The JPEG's frame header has a wrong length.")
    return ImageHeader("jpeg", width, height, bits, channels)


def _decode_jpeg(survey: _Survey, height: int, width: int) -> NDArray[np.uint8]:
    """`height`, `width`: those of the frame, or of one of its halves; the decoder scales by eighths to no less."""
    is_cmyk = survey.header.channels == 4
    try:
        # strict: libjpeg-turbo's warnings about corrupt data become errors; OpenCV would return grey filler.
        pixels = simplejpeg.decode_jpeg(
            survey.payload, "CMYK" if is_cmyk else "RGB", min_height=height, min_width=width, strict=True
        )
    except ValueError as error:
        raise UndecodableFrame(f"The JPEG is damaged: {error}.") from error
    return _cmyk_to_rgb(pixels, survey.is_adobe) if is_cmyk else pixels


def _cmyk_to_rgb(ink: NDArray[np.uint8], is_inverted: bool) -> NDArray[np.uint8]:
    """`ink`: uint8 [H, W, 4]. Adobe stores 255 - ink."""
    *colours, black = cv2.split(ink if is_inverted else cv2.bitwise_not(ink))
    # OpenCV rounds to the nearest in place. NumPy would hold the GIL and eight copies of the frame.
    for colour in colours:
        cv2.multiply(colour, black, dst=colour, scale=1 / 255)
    return np.asarray(cv2.merge(colours), dtype=np.uint8)  # [H, W, 3]


# ---------------------------------------------------------------- PNG (ISO/IEC 15948)


def _survey_png(payload: bytes, limits: DecodeLimits) -> _Survey:
    """Checks the CRC of every chunk and keeps the critical ones."""
    header: ImageHeader | None = None
    kind = 0
    kept = [_PNG_SIGNATURE]
    deflated: list[bytes] = []
    has_data = False
    at = len(_PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        name, body, end = _png_chunk(payload, at)
        if header is None:
            header, kind = _png_image_header(name, body)
            _check_size(header.width, header.height, limits)
        elif name == b"IHDR":
            raise UndecodableFrame("The PNG has two image headers.")
        if name == b"IDAT":
            has_data = True
            deflated.append(body)
        if name in _PNG_CRITICAL:
            kept.append(payload[at:end])
        elif not name[0] & 0x20:
            raise UndecodableFrame(f"The PNG has a critical chunk {name!r} that is not known.")
        at = end
        if name == b"IEND":
            break
    else:
        raise UndecodableFrame(f"The PNG has more than {MAX_CHUNKS} chunks.")
    if not has_data:
        raise UndecodableFrame("The PNG has no image data.")
    _check_inflated_size(header, deflated)
    return _Survey(header, b"".join(kept), kind in _PNG_GRAY_KINDS, False)


def _png_chunk(payload: bytes, at: int) -> tuple[bytes, bytes, int]:
    """Name and body of the chunk at `at`, and the position after the chunk. The CRC is checked."""
    if at + 12 > len(payload):
        raise UndecodableFrame("The PNG is truncated: its end chunk is missing.")
    length = int.from_bytes(payload[at : at + 4], "big")
    end = at + 12 + length
    if end > len(payload):
        raise UndecodableFrame("The PNG is truncated within a chunk.")
    name = payload[at + 4 : at + 8]
    if zlib.crc32(payload[at + 4 : end - 4]) != int.from_bytes(payload[end - 4 : end], "big"):
        raise UndecodableFrame(f"The PNG is damaged: the checksum of chunk {name!r} is wrong.")
    return name, payload[at + 8 : end - 4], end


def _check_inflated_size(header: ImageHeader, deflated: list[bytes]) -> None:
    """Refuses a PNG with image data after its last line: the decoder would inflate all of them, for minutes."""
    if sum(map(len, deflated)) <= UNCOUNTED_BYTES:
        return
    # Seven interlaced passes have at most 15 lines for 8 rows. Each line has a filter byte and one partial byte.
    most_bytes = header.height * (header.width * header.channels * header.bits // 8 + 1) + 4 * (header.height + 8)
    stream = zlib.decompressobj()
    inflated_bytes = 0
    try:
        for body in deflated:
            rest = body
            while rest and inflated_bytes <= most_bytes:
                inflated_bytes += len(stream.decompress(rest, 1 << 20))
                rest = stream.unconsumed_tail
    except zlib.error as error:
        raise UndecodableFrame("The PNG is damaged: its image data are incomplete or corrupt.") from error
    if inflated_bytes > most_bytes:
        raise UndecodableFrame("The PNG has more image data than its header says.")


def _png_image_header(name: bytes, body: bytes) -> tuple[ImageHeader, int]:
    """The header and the PNG colour type."""
    if name != b"IHDR" or len(body) != 13:
        raise UndecodableFrame("The PNG does not begin with an image header.")
    width, height, bits, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if bits not in _PNG_DEPTHS.get(kind, ()) or compression or filtering or interlace > 1:
        raise UndecodableFrame("The PNG's header has values that the format does not know.")
    return ImageHeader("png", width, height, bits, _PNG_CHANNELS[kind]), kind


def _decode_png(survey: _Survey, limits: DecodeLimits) -> NDArray[np.uint8]:
    flags = cv2.IMREAD_GRAYSCALE if survey.is_gray else cv2.IMREAD_COLOR
    flags |= cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        samples = cv2.imdecode(np.frombuffer(survey.payload, np.uint8), flags)
    except cv2.error as error:
        raise UndecodableFrame(f"The PNG can't be decoded: {error.err or 'unknown fault'}.") from error
    if samples is None:
        raise UndecodableFrame("The PNG is damaged: its image data are incomplete or corrupt.")
    if samples.dtype == np.uint16:
        samples = _to_eight_bits(np.asarray(samples, np.uint16), limits)
    code = cv2.COLOR_GRAY2RGB if survey.is_gray else cv2.COLOR_BGR2RGB
    return np.ascontiguousarray(cv2.cvtColor(samples, code), dtype=np.uint8)  # [H, W, 3]


def _to_eight_bits(samples: NDArray[np.uint16], limits: DecodeLimits) -> NDArray[np.uint8]:
    """black_level -> 0, white_level -> 255, linear, rounded, saturating at both ends."""
    # OpenCV rather than NumPy: OpenCV saturates, and it releases the GIL.
    above_black = cv2.subtract(samples, np.full(4, limits.black_level, np.float64))
    scale = 255.0 / (limits.white_level - limits.black_level)
    return np.asarray(cv2.convertScaleAbs(above_black, alpha=scale), dtype=np.uint8)
