"""The journal's contract, on the one in memory and on files, with long and with very short segments."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.ports import Journal
from inspector.store.journal.journal import FileJournal
from inspector.testing.journal import InMemoryJournal
from inspector.testing.journal_contract import HISTORIES, Box, JournalContract, Step, check_history


class MemoryBox:
    def __init__(self) -> None:
        self.journal = InMemoryJournal()

    async def open(self) -> Journal:
        return await self.journal.__aenter__()

    async def kill(self) -> Journal:
        self.journal = self.journal.after_kill()
        return await self.open()

    async def restart(self) -> Journal:
        await self.journal.__aexit__(None, None, None)
        return await self.kill()


class FileBox:
    """A kill leaves the files as they are: the next process gets a copy of them from before the clean end."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folders = (folder / f"life{number}" for number in itertools.count())
        self._folder = next(self._folders)
        self._segment_bytes = segment_bytes
        self._journal: FileJournal | None = None

    async def open(self) -> Journal:
        await self.close()
        self._journal = FileJournal(self._folder, max_bytes=1 << 24, segment_bytes=self._segment_bytes)
        return await self._journal.__aenter__()

    async def kill(self) -> Journal:
        killed = self._folder
        self._folder = next(self._folders)
        if killed.exists():
            await self.settled()
            shutil.copytree(killed, self._folder)
        return await self.open()

    async def restart(self) -> Journal:
        return await self.open()

    async def settled(self) -> None:
        """What the journal removes on its own thread is removed: a copy in between would stumble over it."""
        if self._journal is not None:
            self._journal.append_acknowledged([])  # else there may be nothing to sync, and no wait
            await self._journal.sync()

    async def close(self) -> None:
        if self._journal is not None:
            await self._journal.__aexit__(None, None, None)
            self._journal = None


class TestInMemoryJournal(JournalContract):
    @pytest.fixture
    def box(self) -> Box:
        return MemoryBox()


class TestFileJournal(JournalContract):
    @pytest.fixture
    async def box(self, tmp_path: Path) -> AsyncIterator[Box]:
        box = FileBox(tmp_path, segment_bytes=1 << 20)
        yield box
        await box.close()


class TestFileJournalOfShortSegments(JournalContract):
    """Nearly every append begins a segment, so that segments are copied and removed all the time."""

    @pytest.fixture
    async def box(self, tmp_path: Path) -> AsyncIterator[Box]:
        box = FileBox(tmp_path, segment_bytes=2000)
        yield box
        await box.close()


@settings(max_examples=50, deadline=None)
@given(steps=HISTORIES)
async def test_journal_in_memory_after_any_history_keeps_what_has_no_row(steps: list[Step]) -> None:
    await check_history(MemoryBox(), steps)


@settings(max_examples=50, deadline=None)
@given(steps=HISTORIES, segment_bytes=st.sampled_from([1, 4000, 1 << 20]))
async def test_journal_on_files_after_any_history_keeps_what_has_no_row(steps: list[Step], segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        box = FileBox(Path(folder), segment_bytes)
        try:
            await check_history(box, steps)
        finally:
            await box.close()
