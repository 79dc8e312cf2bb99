"""What only a folder does: finished files, the folder `done`, folders that can't be written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from connectors.folder import IN_FLIGHT, FolderSource
from connectors.folder_files import DONE
from inspector.config.line_sections import CameraSection
from inspector.domain import Action, Delivery
from inspector.errors import ConfigError
from inspector.ports import Clock
from inspector.stream.admission import read_metadata
from inspector.testing.clock import FakeClock
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Notebook, RunningClock, until

NOBODY = 65534
JPEG = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8))[1].tobytes()
PNG = cv2.imencode(".png", np.zeros((20, 30), np.uint8))[1].tobytes()


def make_source(folder: Path, notebook: Notebook, clock: Clock | None = None, **camera: object) -> FolderSource:
    settled = {"settle_ms": 0, "incomplete_ms": 0, **camera}
    section = CameraSection.model_validate(
        {"name": "cam1", "source": "folder", "folder": folder, "on_unjudged": Action.REJECT, **settled}
    )
    return FolderSource(section, clock or RunningClock(), notebook, poll_s=0.005)


async def looked(source: FolderSource) -> list[Delivery]:
    """What one look at the folder hands out."""
    taken = [await source._take(file) for file in await source._due()]
    return [delivery for delivery in taken if delivery is not None]


def drop(folder: Path, name: str, payload: bytes, time_ns: int = 1_700_000_000_123_000_000) -> Path:
    path = folder / name
    path.write_bytes(payload)
    os.utime(path, ns=(time_ns, time_ns))
    return path


async def test_folder_source_missing_folder_is_a_wrong_configuration(tmp_path: Path, notebook: Notebook) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        await make_source(tmp_path / "none", notebook).__aenter__()


async def test_folder_source_what_is_no_frame_is_named_once_and_left_alone(tmp_path: Path, notebook: Notebook) -> None:
    foreign = (".DS_Store", ".hidden", "Thumbs.db", "thumbs2.DB", "a.part", "b.tmp", "c.png~", "a.xml", "a.json")
    for name in foreign:
        drop(tmp_path, name, b"x")
    (tmp_path / "subfolder").mkdir()
    drop(tmp_path / "subfolder", "deep.png", PNG)
    os.mkfifo(tmp_path / "pipe")
    drop(tmp_path, "frame.png", PNG, time_ns=2_000_000_000_000_000_000)
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        assert payloads(await reader.take(1)) == [PNG]
        drop(tmp_path, "again.png", JPEG)
        await source.acknowledge((await reader.take(2))[1].position)
    assert {path.name for path in tmp_path.iterdir()} == {*foreign, "subfolder", "pipe", DONE}
    assert set(notebook.kinds) == {"folder_ignored"}
    details = "|".join(event.detail for event in notebook.events)
    for said in (
        "hidden files",
        "end in .db",
        "still being written",
        "end in .xml",
        "end in .json",
        "folders in",
        "pipes",
    ):
        assert details.count(said) == 1, said


async def test_folder_source_link_is_not_followed_but_named(tmp_path: Path, notebook: Notebook) -> None:
    folder, secret = tmp_path / "watched", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(JPEG)
    (folder / "a.jpg").symlink_to(secret)
    (folder / "b.jpg").symlink_to(tmp_path / "nowhere")
    (folder / "c.jpg").symlink_to("/dev/zero")
    drop(folder, "z.png", PNG)
    async with make_source(folder, notebook) as source:
        assert payloads(await Reader(source).take(1)) == [PNG]
    assert notebook.kinds == ["folder_ignored"] * 3
    assert all("is not followed" in event.detail for event in notebook.events)
    assert (folder / "a.jpg").is_symlink()


async def test_folder_source_file_replaced_by_a_link_before_it_is_read_is_not_followed(
    tmp_path: Path, notebook: Notebook
) -> None:
    async with make_source(tmp_path, notebook) as source:
        path = drop(tmp_path, "a.png", PNG)
        file = (await source._due())[0]
        path.unlink()
        path.symlink_to("/etc/hostname")
        assert await source._take(file) is None


async def test_folder_source_done_that_is_a_link_takes_no_file(tmp_path: Path, notebook: Notebook) -> None:
    folder, elsewhere = tmp_path / "watched", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / DONE).symlink_to(elsewhere)
    drop(folder, "a.png", PNG)
    async with make_source(folder, notebook) as source:
        await source.acknowledge((await Reader(source).take(1))[0].position)
    assert list(elsewhere.iterdir()) == []
    assert "folder_not_writable" in notebook.kinds


async def test_folder_source_file_names_itself_and_its_trigger(tmp_path: Path, notebook: Notebook) -> None:
    drop(tmp_path, "4711.png", b"x")
    async with make_source(tmp_path, notebook, trigger_from="topic") as source:
        frame = (await Reader(source).take(1))[0]
    assert frame.properties == {
        "frame-id": "4711.png@1700000000123",
        "captured-at": "2023-11-14T22:13:20.123Z",
        "trigger-id": "4711",
    }


async def test_folder_source_names_that_are_not_utf8_stay_apart(tmp_path: Path, notebook: Notebook) -> None:
    for name in (b"gr\xf6.png", b"gr\xdf.png"):
        drop(tmp_path, os.fsdecode(name), b"x")
    async with make_source(tmp_path, notebook) as source:
        names = {frame.properties["frame-id"] for frame in await Reader(source).take(2)}
    assert names == {r"gr\xf6.png@1700000000123", r"gr\xdf.png@1700000000123"}


async def test_folder_source_acknowledged_files_move_and_never_replace_another(
    tmp_path: Path, notebook: Notebook
) -> None:
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        drop(tmp_path, "a.png", b"first", 1)
        await source.acknowledge((await reader.take(1))[0].position)
        drop(tmp_path, "a.png", b"second", 2)
        await source.acknowledge((await reader.take(2))[1].position)
    assert sorted(path.read_bytes() for path in (tmp_path / DONE).iterdir()) == [b"first", b"second"]
    assert not (tmp_path / "a.png").exists()


async def test_folder_source_file_that_cant_be_moved_comes_once_with_one_event(
    tmp_path: Path, notebook: Notebook
) -> None:
    (tmp_path / DONE).write_bytes(b"a file where the folder should be")
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        drop(tmp_path, "a.png", b"a", 1)
        drop(tmp_path, "b.png", b"b", 2)
        # The file named done is a frame like any other.
        for frame in list(await reader.take(3)):
            await source.acknowledge(frame.position)
        drop(tmp_path, "c.png", b"c", 3)
        assert payloads(await reader.take(4))[3] == b"c"
    assert notebook.kinds == ["folder_not_writable"]


async def test_folder_source_over_the_byte_limit_is_cut_one_byte_beyond_it(tmp_path: Path, notebook: Notebook) -> None:
    drop(tmp_path, "big.png", b"x" * (3 * 1024 * 1024))
    async with make_source(tmp_path, notebook, max_mib=1) as source:
        assert len((await Reader(source).take(1))[0].payload) == 1024 * 1024 + 1


async def test_folder_source_hands_out_no_more_than_its_bound_unacknowledged(
    tmp_path: Path, notebook: Notebook
) -> None:
    for number in range(IN_FLIGHT + 5):
        drop(tmp_path, f"{number:03}.png", b"%d" % number)
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        got = await reader.take(IN_FLIGHT)
        assert len(got) == IN_FLIGHT
        await source.acknowledge(got[-1].position)
        assert len(await reader.take(IN_FLIGHT + 5)) == IN_FLIGHT + 5


@pytest.mark.parametrize("content", [JPEG, PNG, JPEG + b"trailer of a camera" * 50])
async def test_folder_source_half_written_picture_is_never_judged_half(
    tmp_path: Path, notebook: Notebook, content: bytes
) -> None:
    clock = FakeClock()
    async with make_source(tmp_path, notebook, clock, settle_ms=300, incomplete_ms=5000) as source:
        half = len(content) // 2 if len(content) < len(JPEG) + 10 else len(JPEG) // 2
        path = drop(tmp_path, "slow.img", content[:half], 1)
        assert await looked(source) == []
        clock.advance(4.9)  # a writer that stalls
        assert await looked(source) == []
        path.write_bytes(content)
        assert await looked(source) == []
        clock.advance(0.2)
        assert await looked(source) == [], "whole, but perhaps still being written"
        clock.advance(0.2)
        assert payloads(await looked(source)) == [content]
    assert notebook.events == []


@pytest.mark.parametrize("content", [JPEG[:-2], JPEG[:200], PNG[:-12], b"", b"no picture at all"])
async def test_folder_source_picture_left_incomplete_is_handed_on_for_its_row(
    tmp_path: Path, notebook: Notebook, content: bytes
) -> None:
    clock = FakeClock()
    async with make_source(tmp_path, notebook, clock, settle_ms=300, incomplete_ms=5000) as source:
        drop(tmp_path, "a.jpg", content, 1)
        for _ in range(5):
            assert await looked(source) == []
            clock.advance(0.9)
        clock.advance(0.6)
        assert payloads(await looked(source)) == [content]


async def test_folder_source_thumbnail_in_a_cut_jpeg_does_not_make_it_whole(tmp_path: Path, notebook: Notebook) -> None:
    with_thumbnail = JPEG[:2] + b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2, "big") + JPEG + JPEG[2:]
    async with make_source(tmp_path, notebook, incomplete_ms=60_000) as source:
        path = drop(tmp_path, "a.jpg", with_thumbnail[: len(JPEG) + 600])
        assert await looked(source) == []
        path.write_bytes(with_thumbnail)
        assert payloads(await looked(source)) == [with_thumbnail]


async def test_folder_source_file_overwritten_after_it_was_read_is_judged_too(
    tmp_path: Path, notebook: Notebook
) -> None:
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        drop(tmp_path, "latest.jpg", JPEG, 1_000_000)
        first = (await reader.take(1))[0]
        source.pause()
        drop(tmp_path, "latest.jpg", PNG, 2_000_000)
        await source.acknowledge(first.position)
        source.resume()
        second = (await reader.take(2))[1]
        assert payloads(reader.got) == [JPEG, PNG]
        assert first.properties["frame-id"] != second.properties["frame-id"]
        await source.acknowledge(second.position)
    assert notebook.kinds == ["folder_overwritten"]
    assert [path.read_bytes() for path in (tmp_path / DONE).iterdir()] == [PNG]


async def test_folder_source_file_changed_while_it_is_read_is_taken_when_it_is_settled(
    tmp_path: Path, notebook: Notebook
) -> None:
    async with make_source(tmp_path, notebook) as source:
        drop(tmp_path, "a.jpg", JPEG, 1)
        listed = await source._due()
        drop(tmp_path, "a.jpg", PNG, 2)
        assert await source._take(listed[0]) is None
        assert payloads(await looked(source)) == [PNG]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_folder_source_unreadable_file_is_named_once_and_again_after_a_change(
    tmp_path: Path, notebook: Notebook
) -> None:
    clock = FakeClock()
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:3]:
        folder.chmod(folder.stat().st_mode | 0o711)
    async with make_source(tmp_path, notebook, clock) as source:
        path = drop(tmp_path, "b.jpg", JPEG)
        path.chmod(0)
        with another_user():
            for _ in range(3):
                assert await looked(source) == []
                clock.advance(60)
        assert notebook.kinds == ["file_unreadable"]
        assert "b.jpg can't be read (Permission denied)" in notebook.events[0].detail
        path.chmod(0o600)
        with another_user():
            assert await looked(source) == []
        assert notebook.kinds == ["file_unreadable"] * 2
        path.chmod(0o644)
        with another_user():
            assert payloads(await looked(source)) == [JPEG]


async def test_folder_source_names_of_any_bytes_and_length_make_ids_the_road_takes(
    tmp_path: Path, notebook: Notebook
) -> None:
    names = [
        b"b\xfcld.png",
        b"b\xfdld.png",
        b"line\nbreak.png",
        b"x" * 200 + b"1.png",
        b"x" * 200 + b"2.png",
        b"\xe2\x80\xae.png",
    ]
    for name in names:
        drop(tmp_path, os.fsdecode(name), PNG)
    async with make_source(tmp_path, notebook, trigger_from="topic") as source:
        got = await Reader(source).take(len(names))
        for delivery in got:
            assert read_metadata(delivery).frame_id is not None
            assert delivery.properties["trigger-id"].encode()
        await source.acknowledge(got[-1].position)
    assert len({delivery.properties["frame-id"] for delivery in got}) == len(names)
    assert {os.fsencode(path.name) for path in (tmp_path / DONE).iterdir()} == set(names)


async def test_folder_source_file_of_an_impossible_time_is_taken_without_one(
    tmp_path: Path, notebook: Notebook
) -> None:
    drop(tmp_path, "a.png", PNG, time_ns=2**62)
    async with make_source(tmp_path, notebook) as source:
        file = replace((await source._due())[0], modified_ns=2**70)
        assert "captured-at" not in source._properties(file)


async def test_folder_source_names_used_again_and_again_lose_no_file(tmp_path: Path, notebook: Notebook) -> None:
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        for number in range(4):
            drop(tmp_path, "a" * 240 + ".png", PNG + b"%d" % number, 1)  # a clock that stands still
            await source.acknowledge((await reader.take(number + 1))[number].position)
    assert {path.read_bytes() for path in (tmp_path / DONE).iterdir()} == {PNG + b"%d" % number for number in range(4)}


async def test_folder_source_folder_that_goes_away_is_told_at_both_edges(tmp_path: Path, notebook: Notebook) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    async with make_source(folder, notebook) as source:
        reader = Reader(source)
        folder.rename(tmp_path / "unmounted")
        await until(lambda: notebook.kinds == ["folder_away"])
        assert not source.is_connected
        (tmp_path / "unmounted").rename(folder)
        drop(folder, "a.png", PNG)
        assert payloads(await reader.take(1)) == [PNG]
    assert notebook.kinds == ["folder_away", "folder_back"]


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """As nobody, who may read what all may read."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_folder_source_hard_link_is_not_read_but_named(tmp_path: Path, notebook: Notebook) -> None:
    folder, secret = tmp_path / "watched", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(JPEG)
    (folder / "a.jpg").hardlink_to(secret)
    drop(folder, "z.png", PNG)
    async with make_source(folder, notebook) as source:
        file = (await source._due())[0]
        assert payloads(await Reader(source).take(1)) == [PNG]
        (tmp_path / "other").hardlink_to(file.path)
        assert await source._take(file) is None, "it got another name after it was listed"
    told = [event.detail.split(";")[0] for event in notebook.events]
    assert told[0] == "the hard link a.jpg is not followed"
    assert told[1:] in ([], ["the hard link z.png is not followed"]), "the folder may be looked at once more"
    assert (folder / "a.jpg").exists()
