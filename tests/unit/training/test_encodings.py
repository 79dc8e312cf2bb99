"""What files say besides their pixels, and that a set which differs in it is told so."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from inspector.training.dataset.encodings import Encoding, encoding_of
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions, enrol
from tests.unit.drawings import FakeEngine, draw, encode, good_images

FAST = EnrolmentOptions(profile="fast")


def saved(kind: str, *, orientation: int | None = None, mode: str = "RGB", seed: int = 1) -> bytes:
    content, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(draw("disc", seed)).convert(mode).save(content, kind, exif=exif)
    return content.getvalue()


def animated() -> bytes:
    frames = [Image.fromarray(draw("disc", 80 + seed)) for seed in range(2)]
    content = io.BytesIO()
    frames[0].save(content, "PNG", save_all=True, append_images=frames[1:])
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_encoding_knows_how_the_image_is_turned(kind: str, orientation: int | None) -> None:
    assert encoding_of(saved(kind, orientation=orientation)).orientation == (orientation or 1)


def test_encoding_knows_depth_colour_and_motion() -> None:
    deep = cv2.imencode(".png", np.zeros((8, 8), np.uint16))[1].tobytes()
    assert encoding_of(deep) == Encoding(bits=16, channels=1)
    assert encoding_of(saved("JPEG", mode="L")).is_gray
    assert encoding_of(saved("JPEG", mode="CMYK")).channels == 4
    assert not encoding_of(saved("PNG", mode="P")).is_gray
    assert encoding_of(animated()).is_animated
    assert not encoding_of(saved("PNG")).is_animated


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"XX*\0\0\0\0\x08"]
)
def test_encoding_takes_a_broken_exif_block_for_none(block: bytes) -> None:
    body = b"Exif\0\0" + block
    jpeg = saved("JPEG")
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    assert encoding_of(jpeg[:2] + segment + jpeg[2:]).orientation == 1
    png = saved("PNG")
    chunk = len(block).to_bytes(4, "big") + b"eXIf" + block + zlib.crc32(b"eXIf" + block).to_bytes(4, "big")
    assert encoding_of(png[:33] + chunk + png[33:]).orientation == 1


def test_enrol_a_set_of_which_a_part_is_turned_by_exif_says_how_many(fake_engine: FakeEngine) -> None:
    turned = [ImageSource(f"t{seed}.jpg", payload=saved("JPEG", orientation=6, seed=seed)) for seed in range(50, 54)]
    found = enrol("disc", [*good_images("disc", 20), *turned], FAST, fake_engine)
    (said,) = [each for each in found.report.warnings if "EXIF" in each]
    assert said.startswith("4 of 24 images are stored with an EXIF rotation, which is ignored")
    whole = [ImageSource(each.name, payload=saved("JPEG", orientation=6, seed=n)) for n, each in enumerate(turned * 6)]
    assert not [each for each in enrol("disc", whole, FAST, fake_engine).report.warnings if "EXIF" in each]


def test_enrol_a_set_of_which_a_part_stands_says_so(fake_engine: FakeEngine) -> None:
    def sized(seed: int, size: tuple[int, int]) -> ImageSource:
        return ImageSource(f"{size}{seed}", payload=encode(draw("disc", seed, size=size)))

    images = [sized(seed, (96, 128) if seed % 2 else (128, 96)) for seed in range(20)]
    found = enrol("disc", images, FAST, fake_engine)
    assert "of images with the same sides 10 lie and 10 stand: a camera that was turned?" in found.report.warnings


def test_enrol_a_set_of_two_depths_or_with_moving_pictures_says_so(fake_engine: FakeEngine) -> None:
    deep = cv2.imencode(".png", draw("disc", 70).astype(np.uint16) * 257)[1].tobytes()
    images = [*good_images("disc", 20), ImageSource("deep.png", payload=deep)]
    images.append(ImageSource("moves.png", payload=animated()))
    gray = cv2.imencode(".png", draw("disc", 71)[..., 0])[1].tobytes()
    found = enrol("disc", [*images, ImageSource("gray.png", payload=gray)], FAST, fake_engine).report.warnings
    said = " ".join(found)
    assert "1 of 23 images is of 16 bits, the others of 8" in said
    assert "1 of 23 images is gray, the others coloured" in said
    assert "1 of 23 images is animated" in said
