"""Pictures by rule: which are kept, what an operator sees on them, and that the road never waits."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inspector.domain import Action, Cause, Outcome, Picture, Verdict
from inspector.errors import StateUnusable
from inspector.store.pictures.images import FolderImages, give_way, is_sampled
from inspector.store.pictures.kept import WATCHED, WATCHED_FOR_S, KeptPictures
from inspector.store.pictures.overlay import Undrawable, note_of, overlay_jpeg, small_jpeg
from inspector.testing.clock import FakeClock
from inspector.testing.samples import verdict_of_part


def encoded(form: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 90 if mode != "RGB" else (90, 90, 90)).save(stream, form)
    return stream.getvalue()


def heat_map() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Cold on the left, twice the threshold on the right."""
    heat = np.zeros((12, 16), np.uint8)
    heat[:, 8:] = 255
    return heat


def reject(number: int, **changes: Any) -> Verdict:
    return verdict_of_part(number, outcome=Outcome.REJECT, cause=Cause.ANOMALY, action=Action.REJECT, **changes)


def images_in(folder: Path, clock: FakeClock, *, max_bytes: int = 1 << 24, keep_passes: float = 0.0) -> FolderImages:
    return FolderImages(folder, max_bytes=max_bytes, keep_passes=keep_passes, clock=clock)


def kept(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_keep_a_reject_writes_frame_heat_map_and_latest(tmp_path: Path, clock: FakeClock) -> None:
    verdict, payload = reject(1), encoded()
    async with images_in(tmp_path, clock) as images:
        images.keep(Picture(verdict, payload, heat_map()))
    base = f"2025-01-01/cam1/{verdict.result_id}"
    assert kept(tmp_path) == [f"{base}.heat.jpg", f"{base}.jpg", "latest/cam1.jpg"]
    assert (tmp_path / f"{base}.jpg").read_bytes() == payload


async def test_keep_follows_the_rule_of_each_outcome(tmp_path: Path, clock: FakeClock) -> None:
    unjudged = verdict_of_part(2, outcome=Outcome.UNJUDGED, cause=Cause.LATE)
    async with images_in(tmp_path, clock) as images:
        images.keep(Picture(verdict_of_part(1), encoded(), heat_map()))
        images.keep(Picture(unjudged, encoded("PNG"), None))
        images.keep(Picture(reject(3), b"not an image", None))
    assert kept(tmp_path) == [f"2025-01-01/cam1/{unjudged.result_id}.png", "latest/cam1.jpg"]


async def test_keep_a_flip_is_kept_though_it_passed_and_is_no_latest_picture(tmp_path: Path, clock: FakeClock) -> None:
    verdict = verdict_of_part(1)
    async with images_in(tmp_path, clock) as images:
        images.keep(Picture(verdict, encoded(), None, is_flip=True))
    assert kept(tmp_path) == [f"2025-01-01/cam1/{verdict.result_id}.jpg"]


async def test_keep_passes_in_the_sample(tmp_path: Path, clock: FakeClock) -> None:
    verdicts = [verdict_of_part(number) for number in range(40)]
    async with images_in(tmp_path, clock, keep_passes=0.5) as images:
        for verdict in verdicts:
            images.keep(Picture(verdict, encoded(), None))
    expected = sorted(f"{verdict.result_id}.jpg" for verdict in verdicts if is_sampled(verdict.result_id, 0.5))
    assert [Path(name).name for name in kept(tmp_path) if not name.startswith("latest")] == expected
    assert 10 < len(expected) < 30


def test_is_sampled_of_all_and_none() -> None:
    assert is_sampled(verdict_of_part(1).result_id, 1.0)
    assert not is_sampled(verdict_of_part(1).result_id, 0.0)


async def test_latest_of_each_camera_is_written_twice_a_second_while_somebody_looks(
    tmp_path: Path, clock: FakeClock
) -> None:
    (tmp_path / "images" / "latest").mkdir(parents=True)
    KeptPictures(tmp_path).note_watched()
    async with images_in(tmp_path / "images", clock) as images:
        for step in range(10):
            images.keep(Picture(verdict_of_part(step), encoded(size=(100 + step, 50)), None))
            images.keep(Picture(verdict_of_part(step, camera="cam2"), encoded(), None))
            clock.advance(0.1)
    assert kept(tmp_path / "images") == ["latest/cam1.jpg", "latest/cam2.jpg", "latest/watched"]
    with Image.open(tmp_path / "images" / "latest" / "cam1.jpg") as newest:
        assert newest.size == (105, 50)


@pytest.mark.parametrize("is_marked", [False, True])
async def test_latest_is_written_each_half_minute_while_nobody_looks(
    tmp_path: Path, clock: FakeClock, is_marked: bool
) -> None:
    latest = tmp_path / "images" / "latest"
    latest.mkdir(parents=True)
    if is_marked:
        KeptPictures(tmp_path).note_watched()
        long_ago_s = time.time() - WATCHED_FOR_S - 1
        os.utime(latest / WATCHED, (long_ago_s, long_ago_s))
    async with images_in(tmp_path / "images", clock) as images:
        for step in range(70):
            images.keep(Picture(verdict_of_part(step), encoded(size=(100 + step, 50)), None))
            clock.advance(0.5)
    with Image.open(latest / "cam1.jpg") as newest:
        assert newest.size == (160, 50)


async def test_latest_is_renewed_soon_after_somebody_begins_to_look(tmp_path: Path, clock: FakeClock) -> None:
    folder = tmp_path / "images"
    async with images_in(folder, clock) as images:
        images.keep(Picture(verdict_of_part(0), encoded(size=(100, 50)), None))
        await until((folder / "latest" / "cam1.jpg").exists)
        KeptPictures(tmp_path).note_watched()

        def is_renewed() -> bool:
            clock.advance(0.5)
            images.keep(Picture(verdict_of_part(1), encoded(size=(101, 50)), None))
            return note_of((folder / "latest" / "cam1.jpg").read_bytes()) == verdict_of_part(1).result_id

        await until(is_renewed, most=50)


async def until(holds: Callable[[], bool], most: int = 500) -> None:
    for _ in range(most):
        if holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never held")


def test_pictures_of_another_machine_are_not_asked_for(tmp_path: Path) -> None:
    KeptPictures(tmp_path).note_watched()
    assert not list(tmp_path.iterdir())


async def test_keep_of_a_camera_with_a_path_as_name_stays_in_the_folder(tmp_path: Path, clock: FakeClock) -> None:
    folder = tmp_path / "images"
    async with images_in(folder, clock) as images:
        images.keep(Picture(reject(1, camera="../../outside"), encoded(), None))
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert len(kept(folder)) == 2


async def test_keep_beyond_the_bound_removes_the_oldest(tmp_path: Path, clock: FakeClock) -> None:
    payload = encoded()
    verdicts = [reject(number) for number in range(6)]
    async with images_in(tmp_path, clock, max_bytes=3 * len(payload)) as images:
        for verdict in verdicts:
            images.keep(Picture(verdict, payload, None))
    found = {Path(name).stem for name in kept(tmp_path) if not name.startswith("latest")}
    assert found == {verdict.result_id for verdict in verdicts[3:]}


@dataclass
class SlowDisk:
    """A disk at which the writer stands still from its first picture for the line until `goes_on` is set."""

    stands: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    from inspector.store.pictures import images

    disk = SlowDisk()
    write = images.write_whole

    def slow(path: Path, content: bytes) -> None:
        disk.stands.set()
        disk.goes_on.wait(300)
        write(path, content)

    monkeypatch.setattr(images, "write_whole", slow)
    yield disk
    disk.goes_on.set()


async def test_keep_with_a_slow_disk_skips_passes_and_keeps_rejects(
    tmp_path: Path, clock: FakeClock, slow_disk: SlowDisk
) -> None:
    rejects = [reject(1000 + number) for number in range(20)]
    async with images_in(tmp_path, clock, keep_passes=1.0) as images:
        images.keep(Picture(verdict_of_part(0), encoded(), None))
        assert await asyncio.to_thread(slow_disk.stands.wait, 60)
        for number in range(1, 200):
            images.keep(Picture(verdict_of_part(number), encoded(), None))
        for verdict in rejects:
            images.keep(Picture(verdict, encoded(), None))
        assert images.skipped > 100
        slow_disk.goes_on.set()
    names = {Path(name).stem for name in kept(tmp_path)}
    assert {verdict.result_id for verdict in rejects} <= names


async def test_keep_on_a_disk_that_fails_logs_once_and_goes_on(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from inspector.store.pictures import folders

    fails = [True]
    write = folders.write_whole

    def failing(path: Path, content: bytes, *, durable: bool = False) -> None:
        if fails[0]:
            raise StateUnusable("the disk is full")
        write(path, content, durable=durable)

    monkeypatch.setattr(folders, "write_whole", failing)
    caplog.set_level("INFO")
    async with images_in(tmp_path, clock) as images:
        images.keep(Picture(reject(1), encoded(), None))
        images.keep(Picture(reject(2), encoded(), None))
    assert caplog.text.count("the disk is full") == 1
    fails[0] = False
    async with images_in(tmp_path, clock) as images:
        images.keep(Picture(reject(3), encoded(), None))
    assert f"2025-01-01/cam1/{reject(3).result_id}.jpg" in kept(tmp_path)


async def test_keep_of_a_frame_that_can_not_be_drawn_still_keeps_its_bytes(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    payload = encoded()[:200]
    async with images_in(tmp_path, clock) as images:
        images.keep(Picture(reject(1), payload, heat_map()))
    assert kept(tmp_path) == [f"2025-01-01/cam1/{reject(1).result_id}.jpg"]
    assert "no heat map" in caplog.text


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "I;16")])
def test_overlay_shows_the_frame_and_the_heat_in_colour(form: str, mode: str) -> None:
    if mode == "I;16":
        stream = io.BytesIO()
        Image.fromarray(np.full((48, 64), 3000, np.uint16)).save(stream, form)
        payload = stream.getvalue()
    elif mode == "RGBA":
        stream = io.BytesIO()
        Image.new(mode, (64, 48), (90, 90, 90, 255)).save(stream, form)
        payload = stream.getvalue()
    else:
        payload = encoded(form, mode=mode)
    drawn = np.asarray(Image.open(io.BytesIO(overlay_jpeg(payload, heat_map()))))
    assert drawn.shape == (48, 64, 3)
    red, green, blue = (int(value) for value in drawn[24, 60])
    assert red > green + 50
    assert red > blue + 50
    cold = [int(value) for value in drawn[24, 3]]
    assert max(cold) - min(cold) <= 3  # the gray frame, untouched


def test_overlay_of_a_large_frame_is_made_smaller() -> None:
    drawn = Image.open(io.BytesIO(overlay_jpeg(encoded(size=(3000, 1500)), heat_map())))
    assert drawn.size == (1024, 512)


def test_small_jpeg_of_bytes_that_are_no_image_is_undrawable() -> None:
    with pytest.raises(Undrawable):
        small_jpeg(b"\x89PNG\r\n\x1a\n but then something else")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_drawing_gives_way_to_judging_and_nothing_else_does() -> None:
    def niceness_after(asked: int) -> int:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), asked)
        give_way()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1) as drawing:
        assert drawing.submit(niceness_after, own).result() == max(own, 10)
        assert drawing.submit(niceness_after, 15).result() == 15
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
