"""The contract of late frames that wait, on those in memory and on those in a folder."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inspector.domain import LateOutcome
from inspector.ports import LateFrames
from inspector.store.pictures import late_frames as folder_module
from inspector.store.pictures.late_frames import FolderLateFrames
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
        (tmp_path / "late" / "half.json.partial").write_bytes(b"{")
        frames = await box.open()
        assert frames.waiting == 0
        assert list((tmp_path / "late").iterdir()) == []

    async def test_findings_of_a_frame_whose_picture_is_gone_say_so(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        (picture,) = (tmp_path / "late").glob("*.jpg")
        picture.unlink()
        frames = await box.kill()
        assert await frames.take() is None
        (finding,) = await findings_in(frames)
        assert finding.late_outcome is LateOutcome.UNJUDGED
        assert finding.late_detail == "not judged afterwards: its picture is gone from this machine"

    async def test_take_of_a_damaged_frame_goes_on_with_the_next(self, box: Box, tmp_path: Path) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        (record,) = (tmp_path / "late").glob("*.json")
        await frames.keep(late_frame(2))
        record.write_bytes(b"\x00")
        assert await frames.take() == late_frame(2)
        assert frames.waiting == 1

    async def test_keep_on_a_full_disk_becomes_a_finding_in_memory(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frames = await box.open()

        def full(self: Path, mode: str = "r", *more: Any) -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full)
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
