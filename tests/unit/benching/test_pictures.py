"""The frames of a bench: drawn parts, and sets from folders."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from inspector.benching.pictures import LEARNT, SHOWN, drawn_film, films_of, shown_of
from inspector.errors import UsageError
from tests.parts import encoded


def folder_of(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for seed in range(count):
        (folder / f"{seed:03}.jpg").write_bytes(encoded("disc", seed))
    return folder


def test_drawn_film_is_jpeg_of_its_size_and_the_same_each_time() -> None:
    film = drawn_film(3, "bench-4", side_px=128)
    assert film == drawn_film(3, "bench-4", side_px=128)
    assert (len(film.learnt), len(film.shown)) == (LEARNT, SHOWN)
    assert len({*film.learnt, *film.shown}) == LEARNT + SHOWN  # a camera that shows equal pictures counts as frozen
    with Image.open(io.BytesIO(film.shown[0])) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (128, 128), "RGB")


def test_films_of_a_folder_show_other_images_than_they_enrol(tmp_path: Path) -> None:
    (film,) = films_of(folder_of(tmp_path / "disc", 20), ["bench-1"])
    assert (film.product, len(film.learnt), len(film.shown)) == ("bench-1", 14, 6)
    assert not set(film.learnt) & set(film.shown)


def test_films_of_several_products_take_subfolders_in_order(tmp_path: Path) -> None:
    for name, count in (("b", 12), ("a", 13)):
        folder_of(tmp_path / "all" / name, count)
    films = films_of(tmp_path / "all", ["bench-1", "bench-2"])
    assert [len(film.learnt) for film in films] == [7, 6]


def test_films_of_too_little_say_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 12"):
        films_of(folder_of(tmp_path / "few", 11), ["bench-1"])
    folder_of(tmp_path / "all" / "only", 12)
    with pytest.raises(UsageError, match="1 subfolders, and 2 products"):
        films_of(tmp_path / "all", ["bench-1", "bench-2"])
    with pytest.raises(UsageError, match="counts as frozen"):
        shown_of("disc", folder_of(tmp_path / "five", 5))
