"""What only a folder does: finished files, the folder `done`, folders that can't be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectors.folder import DONE, IN_FLIGHT, FolderSource
from inspector.config.sections import CameraSection
from inspector.domain import Action
from inspector.errors import ConfigError
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Notebook, RunningClock, until


def make_source(folder: Path, notebook: Notebook, **camera: object) -> FolderSource:
    section = CameraSection.model_validate(
        {"name": "cam1", "source": "folder", "folder": folder, "on_unjudged": Action.REJECT, **camera}
    )
    return FolderSource(section, RunningClock(), notebook, poll_s=0.005)


def drop(folder: Path, name: str, payload: bytes, time_ns: int = 1_700_000_000_123_000_000) -> Path:
    path = folder / name
    path.write_bytes(payload)
    os.utime(path, ns=(time_ns, time_ns))
    return path


async def test_folder_source_missing_folder_is_a_wrong_configuration(tmp_path: Path, notebook: Notebook) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        await make_source(tmp_path / "none", notebook).__aenter__()


async def test_folder_source_unfinished_and_foreign_entries_are_left_alone(tmp_path: Path, notebook: Notebook) -> None:
    for name in (".hidden", "a.part", "b.tmp"):
        drop(tmp_path, name, b"x")
    (tmp_path / "subfolder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    drop(tmp_path, "frame.png", b"good", time_ns=2_000_000_000_000_000_000)
    async with make_source(tmp_path, notebook) as source:
        assert payloads(await Reader(source).take(1)) == [b"good"]


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


async def test_folder_source_growing_file_waits_until_it_stops(tmp_path: Path, notebook: Notebook) -> None:
    async with make_source(tmp_path, notebook) as source:
        reader = Reader(source)
        await source._finished()
        path = drop(tmp_path, "a.png", b"half", 1)
        assert await source._finished() == []
        path.write_bytes(b"half and the rest")
        assert b"half" not in payloads(reader.got)
        await until(lambda: payloads(reader.got) == [b"half and the rest"])
