"""The contract of late frames that wait, on those in memory and on those in a folder."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from inspector.domain import LateOutcome
from inspector.ports import LateFrames
from inspector.store.pictures import late_frames as folder_module
from inspector.store.pictures.late_frames import FolderLateFrames
from inspector.store.pictures.recorded_picture import read_recorded
from inspector.stream.late_record import finding_record
from inspector.testing.clock import FakeClock
from inspector.testing.late_frames import InMemoryLateFrames
from inspector.testing.late_frames_contract import (
    BOUND,
    Box,
    LateFramesContract,
    finding_of,
    findings_in,
    late_frame,
)


class MemoryBox:
    def __init__(self) -> None:
        self._frames = InMemoryLateFrames(FakeClock(), BOUND)

    async def open(self) -> LateFrames:
        return self._frames

    async def kill(self) -> LateFrames:
        self._frames = self._frames.after_kill()
        return self._frames

    async def close(self) -> LateFrames:
        await self._frames.__aexit__()
        return await self.kill()


class FolderBox:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frames: list[FolderLateFrames] = []

    async def open(self) -> LateFrames:
        self._frames.append(FolderLateFrames(self._folder, max_bytes=BOUND, clock=FakeClock()))
        return await self._frames[-1].__aenter__()

    async def kill(self) -> LateFrames:
        """Nothing of the first is used any more: every write was whole when its method returned."""
        return await self.open()

    async def close(self) -> LateFrames:
        await self._frames.pop().__aexit__()
        return await self.open()

    async def end(self) -> None:
        for frames in self._frames:
            await frames.__aexit__()


def in_two_files(folder: Path) -> tuple[Path, Path]:
    """The one frame in the folder as earlier software kept it: a picture, and its record beside it."""
    (picture,) = folder.glob("*.jpg")
    found = read_recorded(picture)
    picture.write_bytes(found.payload)
    record = picture.with_suffix(".json")
    record.write_bytes(orjson.dumps(orjson.loads(found.record) | {"tries": found.tries}))
    return picture, record


class TestInMemoryLateFrames(LateFramesContract):
    @pytest.fixture
    def box(self) -> Box:
        return MemoryBox()


class TestFolderLateFrames(LateFramesContract):
    @pytest.fixture
    async def box(self, tmp_path: Path) -> AsyncIterator[Box]:
        box = FolderBox(tmp_path / "late")
        yield box
        await box.end()

    async def test_open_finds_a_frame_judged_whose_picture_was_not_removed(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        (picture,) = (tmp_path / "late").glob("*.jpg")
        content = picture.read_bytes()
        await frames.put_finding(finding_of(late_frame(1)))
        picture.write_bytes(content)
        frames = await box.kill()
        assert await frames.take() is None
        assert await findings_in(frames) == [finding_of(late_frame(1))]

    async def test_open_removes_what_was_not_kept_to_the_end(self, box: Box, tmp_path: Path) -> None:
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "alone.jpg").write_bytes(b"no record")
        (tmp_path / "late" / "empty.png").touch()
        (tmp_path / "late" / "half.json.partial").write_bytes(b"{")
        frames = await box.open()
        assert frames.waiting == 0
        assert list((tmp_path / "late").iterdir()) == []

    async def test_keep_that_was_cut_off_anywhere_leaves_nothing(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        (picture,) = (tmp_path / "late").glob("*.jpg")
        content = picture.read_bytes()
        for length in (0, 1, 99, 100, 101, 500, len(content) - 1):
            picture.write_bytes(content[:length])
            assert (await box.kill()).waiting == 0
            assert not picture.exists()
        picture.write_bytes(content)
        assert await (await box.kill()).take() == late_frame(1)

    async def test_keep_begins_a_file_with_the_unchanged_bytes(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        (picture,) = (tmp_path / "late").iterdir()
        assert picture.read_bytes().startswith(late_frame(1).admitted.delivery.payload)

    async def test_keep_of_many_at_once_keeps_each_in_order(self, box: Box) -> None:
        frames = await box.open()
        await asyncio.gather(*(frames.keep(late_frame(number)) for number in range(1, 41)))
        frames = await box.kill()
        for number in range(1, 41):
            assert await frames.take() == late_frame(number)
            await frames.put_finding(finding_of(late_frame(number)))

    async def test_keep_that_fails_by_a_fault_of_ours_fails_for_each_that_waits(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> None:
            raise LookupError("a fault")

        frames = await box.open()
        with monkeypatch.context() as patch:
            patch.setattr(folder_module, "write_recorded", broken)
            keeping = [frames.keep(late_frame(number)) for number in (1, 2, 3)]
            found = await asyncio.wait_for(asyncio.gather(*keeping, return_exceptions=True), 10)
        assert [type(each) for each in found] == [LookupError] * 3
        await frames.keep(late_frame(4))
        assert await frames.take() == late_frame(4)

    async def test_exit_while_frames_wait_for_the_disk_keeps_them(self, box: Box) -> None:
        frames = await box.open()
        keeping = [asyncio.ensure_future(frames.keep(late_frame(number))) for number in (1, 2)]
        await asyncio.sleep(0)
        frames = await box.close()
        assert frames.waiting == 2
        await asyncio.gather(*keeping)

    async def test_open_takes_frames_of_earlier_software(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        in_two_files(tmp_path / "late")
        frames = await box.kill()
        assert (frames.waiting, frames.size_bytes) == (1, 100)
        await frames.take()
        frames = await box.kill()
        taken = await frames.take()
        assert taken is not None
        assert taken.tries == 1
        await frames.keep(late_frame(1))
        assert (frames.waiting, frames.size_bytes) == (1, 100)
        await frames.put_finding(finding_of(late_frame(1)))
        frames = await box.kill()
        assert frames.waiting == 0
        assert await findings_in(frames) == [finding_of(late_frame(1))]

    async def test_take_of_a_frame_of_earlier_software_that_was_judged_gives_its_finding(
        self, box: Box, tmp_path: Path
    ) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        _, record = in_two_files(tmp_path / "late")
        record.write_bytes(orjson.dumps(finding_record(finding_of(late_frame(1)))))
        frames = await box.kill()
        assert await frames.take() is None
        assert await findings_in(frames) == [finding_of(late_frame(1))]

    async def test_findings_of_a_frame_whose_picture_is_gone_say_so(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        picture, _ = in_two_files(tmp_path / "late")
        picture.unlink()
        frames = await box.kill()
        assert await frames.take() is None
        (finding,) = await findings_in(frames)
        assert finding.late_outcome is LateOutcome.UNJUDGED
        assert finding.late_detail == "not judged afterwards: its picture is gone from this machine"

    async def test_take_of_a_damaged_frame_goes_on_with_the_next(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        (picture,) = (tmp_path / "late").glob("*.jpg")
        await frames.keep(late_frame(2))
        content = bytearray(picture.read_bytes())
        content[150] ^= 1
        picture.write_bytes(content)
        assert await frames.take() == late_frame(2)
        assert frames.waiting == 1

    async def test_keep_on_a_full_disk_becomes_a_finding_in_memory(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frames = await box.open()

        def full(*_: Any) -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            patch.setattr(os, "writev", full)
            await frames.keep(late_frame(1))
        (finding,) = await findings_in(frames)
        assert "could not be kept" in (finding.late_detail or "")
        await frames.forget([finding.result_id])
        assert frames.finding_ids() == []

    async def test_keep_while_the_disk_is_slow_is_bounded_in_memory(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frames = await box.open()
        monkeypatch.setattr(folder_module, "_QUEUED_BYTES", 150)
        first = asyncio.ensure_future(frames.keep(late_frame(1)))
        await asyncio.sleep(0)  # its bytes are on their way to the disk
        await frames.keep(late_frame(2))
        await first
        (finding,) = await findings_in(frames)
        assert (finding.trigger_id, finding.late_detail) == (
            2,
            "not judged afterwards: the disk was too slow to keep its picture",
        )
