"""What folders hold: images by content, everything else by name and reason, and names that any reader can take."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import pytest

from inspector.domain import printable
from inspector.errors import UsageError
from inspector.training.dataset.folders import ImageSource, load_folder, load_paths, survey
from tests.unit.drawings import draw, encode

JPEG = cv2.imencode(".jpg", draw("disc", 1))[1].tobytes()
PNG = encode(draw("disc", 1))


def reasons(folder: Path) -> dict[str, str]:
    return {Path(each.name).name: each.reason for each in load_folder(folder).not_taken}


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jfif", JPEG), ("a.jpe", JPEG), ("a.JPG", JPEG), ("a.PNG", PNG), ("a", PNG), ("a.bin", JPEG), ("a.heic", JPEG)],
)
def test_survey_takes_whatever_is_a_jpeg_or_png(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert survey(tmp_path) == ([tmp_path / name], [])


def test_survey_names_everything_else_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(PNG)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "b.avif").write_bytes(b"\0\0\0\x18ftypavif")
    (tmp_path / "c.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    (tmp_path / "d.txt").write_text("notes")
    (tmp_path / "e.raw").write_bytes(b"")
    (tmp_path / "lotB").mkdir()
    (tmp_path / "lotB" / "1.png").write_bytes(PNG)
    (tmp_path / "dangling.png").symlink_to("/nowhere/x.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = reasons(tmp_path)
    assert found["a.heic"] == "a HEIC image; convert it to PNG"
    assert found["b.avif"] == "an AVIF image; convert it to PNG"
    assert found["c.webp"] == "a WebP image; convert it to PNG"
    assert found["d.txt"] == "neither JPEG nor PNG"
    assert found["e.raw"] == "empty, 0 bytes"
    assert found["lotB"].startswith("a folder with 1 images")
    assert found["dangling.png"] == "a link to nothing, /nowhere/x.png"
    assert found["loop.png"].startswith("a link to nothing")
    assert found["pipe.png"] == "no file but a pipe, socket or device"
    assert len(found) == 9


def test_survey_calls_litter_what_an_operating_system_left(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(PNG)
    for name in ("._good.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / ".hidden.png").write_bytes(PNG)
    offered = load_folder(tmp_path)
    assert len(offered.not_taken) == 6
    assert [Path(each.name).name for each in offered.refused] == [".hidden.png"]


def test_survey_names_what_may_not_be_read() -> None:
    """As another user, since nothing is forbidden to root; in a folder that other users may enter."""
    look = (
        "import os, sys; from pathlib import Path; from inspector.training.dataset.folders import survey;"
        "os.getuid() or (os.setgid(65534), os.setuid(65534));"
        "print([each.reason for each in survey(Path(sys.argv[1]))[1]])"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "good.png").write_bytes(PNG)
        (folder / "secret").write_bytes(PNG)
        (folder / "secret").chmod(0)
        (folder / "locked").mkdir(mode=0)
        said = subprocess.run([sys.executable, "-c", look, name], capture_output=True, text=True, check=True).stdout
    assert "a folder that can't be read: Permission denied" in said
    assert "it can't be read: Permission denied" in said


def test_load_folder_with_images_only_below_it_names_the_folder_to_take(tmp_path: Path) -> None:
    (tmp_path / "lotB").mkdir()
    (tmp_path / "lotB" / "1.png").write_bytes(PNG)
    with pytest.raises(UsageError, match=r"no JPEG or PNG image in .*lotB \(a folder with 1 images"):
        load_folder(tmp_path)


def test_load_paths_names_a_file_that_is_no_image_and_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    os.mkfifo(tmp_path / "pipe.png")
    offered = load_paths([tmp_path / "a.tif", tmp_path / "pipe.png"])
    assert not offered.images
    assert [each.reason for each in offered.not_taken] == [
        "a TIFF image; convert it to PNG",
        "no file but a pipe, socket or device",
    ]
    (tmp_path / "dangling").symlink_to("/nowhere")
    with pytest.raises(UsageError, match="dangling is a link to nothing"):
        load_paths([tmp_path / "dangling"])


def test_an_image_source_that_is_no_regular_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="no regular file"):
        ImageSource.of(tmp_path / "pipe.png").read()
    with (tmp_path / "vast.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="the limit is"):
        ImageSource.of(tmp_path / "vast.png").read()


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        (b"plain.png", "plain.png"),
        ("gr\u00f6\u00dfe \u5f62.png".encode(), "gr\u00f6\u00dfe \u5f62.png"),
        (b"gr\xf6\xdfe.png", r"gr\xf6\xdfe.png"),
        (rb"gr\xf6.png", r"gr\\xf6.png"),
        (b"a\x1b[31m\n.png", r"a\x1b[31m\n.png"),
        ("\u202egnp.exe".encode(), r"\u202egnp.exe"),
        ("\u0085".encode(), r"\u0085"),
    ],
)
def test_printable_is_text_for_any_reader(name: bytes, printed: str) -> None:
    assert printable(os.fsdecode(name)) == printed
    printed.encode()


def test_image_source_opens_by_its_real_path_under_a_printable_name(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(PNG)
    (source,) = load_folder(tmp_path).images
    assert source.name == str(tmp_path / r"\xff.png")
    assert source.read() == PNG
