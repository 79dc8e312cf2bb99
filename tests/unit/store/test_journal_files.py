"""The journal on real files: torn writes, damage, bounds, full disks, locks, and a process killed for good."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.domain import Identity, ResultId, Verdict
from inspector.errors import JournalFull, StateUnusable
from inspector.store.journal import segment_log
from inspector.store.journal.journal import FileJournal
from inspector.store.journal.segment_log import SegmentLog
from inspector.store.journal.segments import framed
from inspector.testing.samples import verdict_of_part

PARTS = [verdict_of_part(number) for number in range(6)]


def journal_in(folder: Path, *, max_bytes: int = 1 << 24, segment_bytes: int = 1 << 20) -> FileJournal:
    return FileJournal(folder, max_bytes=max_bytes, segment_bytes=segment_bytes)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in files(folder))


async def written(folder: Path, verdicts: list[Verdict]) -> list[int]:
    """Sizes of the one segment after each append, without what a clean end adds."""
    sizes = []
    async with journal_in(folder) as journal:
        for verdict in verdicts:
            journal.append_verdict(verdict, None)
            sizes.append(size(folder))
    os.truncate(files(folder)[0], sizes[-1])
    return sizes


async def left(folder: Path) -> list[ResultId]:
    async with journal_in(folder) as journal:
        return journal.unrecorded()


@settings(max_examples=50, deadline=None)
@given(st.data())
async def test_journal_cut_at_any_byte_keeps_every_whole_verdict(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = await written(folder, PARTS)
        cut = data.draw(st.integers(0, sizes[-1]))
        os.truncate(files(folder)[0], cut)
        whole = [part.result_id for part, end in zip(PARTS, sizes, strict=True) if end <= cut]
        assert await left(folder) == whole
        async with journal_in(folder) as journal:
            journal.append_verdict(verdict_of_part(99), None)
        assert await left(folder) == [*whole, verdict_of_part(99).result_id]


async def test_journal_with_a_torn_tail_says_so_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sizes = await written(tmp_path, PARTS)
    os.truncate(files(tmp_path)[0], sizes[-1] - 3)
    with caplog.at_level(logging.WARNING):
        async with journal_in(tmp_path) as journal:
            assert journal.damage == []
    assert "not written to their end" in caplog.text


async def test_journal_damaged_in_the_middle_keeps_what_is_before_and_behind(tmp_path: Path) -> None:
    sizes = await written(tmp_path, PARTS)
    with files(tmp_path)[0].open("r+b") as file:
        file.seek(sizes[1] + 20)
        file.write(b"\x00" * 50)
    async with journal_in(tmp_path) as journal:
        assert [verdict for verdict, _ in journal.read(journal.unrecorded())] == PARTS[:2] + PARTS[3:]
        (damage,) = journal.damage
        assert str(sizes[1]) in str(damage)


async def test_journal_of_newer_software_is_damage_and_not_lost(tmp_path: Path) -> None:
    await written(tmp_path, PARTS)
    content = files(tmp_path)[0].read_bytes()
    newer = framed(b'{"k":"telepathy"}') + framed(b"[]") + framed(b"no json")
    files(tmp_path)[0].write_bytes(newer + content)
    async with journal_in(tmp_path) as journal:
        assert [verdict for verdict, _ in journal.read(journal.unrecorded())] == PARTS
        assert len(journal.damage) == 3


async def test_journal_whose_rows_are_recorded_keeps_one_short_file(tmp_path: Path) -> None:
    async with journal_in(tmp_path, segment_bytes=4000) as journal:
        for number in range(100):
            verdict = verdict_of_part(number)
            journal.append_attempt(verdict.camera, verdict.frame_sha256 or "")
            journal.append_verdict(verdict, None)
            journal.append_recorded([verdict.result_id])
        await journal.sync()
        assert len(files(tmp_path)) <= 2
    assert await left(tmp_path) == []


async def test_journal_carries_over_what_still_lives_in_an_old_segment(tmp_path: Path) -> None:
    weak = verdict_of_part(1000, trigger_id=None, frame_id=None, identity=Identity.WEAK)
    stuck = verdict_of_part(1001)
    async with journal_in(tmp_path, segment_bytes=20_000) as journal:
        journal.append_attempt("cam1", "tried in vain")
        journal.append_verdict(weak, None)
        journal.append_verdict(stuck, None)
        journal.append_published(stuck.result_id, True)
        journal.append_recorded([weak.result_id])
        for number in range(200):
            verdict = verdict_of_part(number)
            journal.append_verdict(verdict, None)
            journal.append_recorded([verdict.result_id])
        await journal.sync()
        assert "0000000001.journal" not in {file.name for file in files(tmp_path)}
        copied = [(file.name, file.read_bytes()) for file in files(tmp_path)]
    killed = tmp_path / "killed"
    killed.mkdir()
    for name, content in copied:
        (killed / name).write_bytes(content)
    async with journal_in(killed) as journal:
        ((found, _),) = journal.read(journal.unrecorded())
        assert (found.result_id, found.published) == (stuck.result_id, True)
        assert {sighting.result_id for sighting in journal.sightings(100)} == {weak.result_id, stuck.result_id}
        assert journal.append_attempt("cam1", "tried in vain") == 1


async def test_journal_at_its_bound_is_full_until_rows_are_recorded(tmp_path: Path) -> None:
    async with journal_in(tmp_path, max_bytes=40_000) as journal:
        taken: list[ResultId] = []
        while journal.size_bytes < journal.limit_bytes:
            journal.append_verdict(verdict_of_part(len(taken)), None)
            taken.append(verdict_of_part(len(taken)).result_id)
        with pytest.raises(JournalFull, match=r"journal\.max_mib"):
            journal.append_verdict(PARTS[0], None)
        with pytest.raises(JournalFull):
            journal.append_attempt("cam1", "a")
        journal.append_published(taken[0], True)  # notes are never refused
        journal.append_recorded(taken)
        assert journal.size_bytes < 0.5 * journal.limit_bytes
        journal.append_verdict(verdict_of_part(5000), None)
    assert await left(tmp_path) == [verdict_of_part(5000).result_id]


async def test_journal_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    async with journal_in(tmp_path):
        with pytest.raises(StateUnusable, match="Another agent"):
            await journal_in(tmp_path).__aenter__()
    assert await left(tmp_path) == []


async def test_journal_in_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateUnusable, match="can't be used"):
        await journal_in(tmp_path / "file" / "journal").__aenter__()


async def test_journal_on_a_full_disk_refuses_verdicts_and_owes_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with journal_in(tmp_path) as journal:
        journal.append_verdict(PARTS[0], None)
        journal.append_verdict(PARTS[1], None)
        with monkeypatch.context() as patched:
            patched.setattr("inspector.store.journal.segments.os.write", full)
            with pytest.raises(JournalFull, match="disk"):
                journal.append_verdict(PARTS[2], None)
            journal.append_recorded([PARTS[0].result_id])
            await journal.sync()  # what is owed is a note, and the entries are durable without it
        journal.append_verdict(PARTS[3], None)
    assert await left(tmp_path) == [PARTS[1].result_id, PARTS[3].result_id]


class Disk:
    """`os.fsync` of the journal's files, and `os.pwrite`. While it is full, fsync fails, and each loss is told once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.written_again = b""
        self._fsync, self._pwrite = os.fsync, os.pwrite
        monkeypatch.setattr("inspector.store.journal.segments.os.fsync", self.fsync)
        monkeypatch.setattr("inspector.store.journal.segments.os.pwrite", self.pwrite)

    def fsync(self, file: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._fsync(file)

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        written = self._pwrite(file, data[:100], offset)
        self.written_again += data[:written]
        return written


async def test_journal_whose_fsync_found_no_room_writes_again_what_the_system_may_have_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal_in(tmp_path) as journal:
        journal.append_verdict(PARTS[0], None)
        await journal.sync()
        before = size(tmp_path)
        disk = Disk(monkeypatch)
        disk.is_full = True
        journal.append_verdict(PARTS[1], None)
        for _ in range(2):
            with pytest.raises(JournalFull, match="disk"):
                await journal.sync()
        disk.is_full, disk.written_again = False, b""
        journal.append_verdict(PARTS[2], None)
        await journal.sync()
        content = files(tmp_path)[-1].read_bytes()
        assert disk.written_again == content[before:]
        await journal.sync()
        assert disk.written_again == content[before:], "once is enough"
    assert await left(tmp_path) == [part.result_id for part in PARTS[:3]]


async def test_journal_that_lost_entries_on_a_full_disk_never_calls_them_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await journal_in(tmp_path).__aenter__()
    disk = Disk(monkeypatch)
    disk.is_full = True
    journal.append_verdict(PARTS[0], None)
    with pytest.raises(JournalFull):
        await journal.sync()
    (file,) = files(tmp_path)
    file.write_bytes(bytes(size(tmp_path)))  # the pages are gone
    disk.is_full = False
    for _ in range(2):
        with pytest.raises(StateUnusable, match="lost records"):
            await journal.sync()
    with pytest.raises(StateUnusable, match="lost records"):
        await journal.__aexit__()


async def test_journal_segment_that_was_sealed_on_a_full_disk_is_durable_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal_in(tmp_path, segment_bytes=1) as journal:
        disk = Disk(monkeypatch)
        disk.is_full = True
        for part in PARTS[:3]:
            journal.append_verdict(part, None)  # each into a file of its own
        with pytest.raises(JournalFull):
            await journal.sync()
        disk.is_full = False
        await journal.sync()
        assert all(part.result_id.encode() in disk.written_again for part in PARTS[:2])
    assert await left(tmp_path) == [part.result_id for part in PARTS[:3]]


async def test_journal_that_can_write_only_half_a_record_takes_the_half_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def half(file: int, data: bytes) -> int:
        return write(file, data[: len(data) // 2])

    async with journal_in(tmp_path) as journal:
        journal.append_verdict(PARTS[0], None)
        before = size(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr("inspector.store.journal.segments.os.write", half)
            with pytest.raises(JournalFull):
                journal.append_verdict(PARTS[1], None)
        assert size(tmp_path) == before
        journal.append_verdict(PARTS[2], None)
    assert await left(tmp_path) == [PARTS[0].result_id, PARTS[2].result_id]


async def test_journal_on_a_failing_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    async with journal_in(tmp_path) as journal:
        with monkeypatch.context() as patched:
            patched.setattr("inspector.store.journal.segments.os.write", broken)
            with pytest.raises(StateUnusable, match="check its owner and its disk"):
                journal.append_verdict(PARTS[0], None)
        journal.append_verdict(PARTS[1], None)
        with monkeypatch.context() as patched:
            patched.setattr("inspector.store.journal.segments.os.fsync", broken)
            with pytest.raises(StateUnusable, match="check its owner and its disk"):
                await journal.sync()


async def test_sync_of_many_at_once_shares_the_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    fsync = os.fsync

    def counted(file: int) -> None:
        calls.append(file)
        fsync(file)

    async with journal_in(tmp_path) as journal:
        for part in PARTS:
            journal.append_verdict(part, None)
        monkeypatch.setattr("inspector.store.journal.segments.os.fsync", counted)
        await asyncio.gather(*(journal.sync() for _ in range(50)))
        assert len(calls) <= 2  # the segment and its folder
        await journal.sync()
        assert len(calls) <= 2  # nothing was appended since


async def test_sync_whose_caller_is_cancelled_still_serves_the_others(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        journal.append_verdict(PARTS[0], None)
        impatient, patient = asyncio.create_task(journal.sync()), asyncio.create_task(journal.sync())
        await asyncio.sleep(0)
        impatient.cancel()
        await patient


def test_journal_of_a_process_killed_keeps_every_append_that_returned(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        from pathlib import Path
        from inspector.store.journal.journal import FileJournal
        from inspector.testing.samples import verdict_of_part

        async def main():
            async with FileJournal(Path(sys.argv[1]), max_bytes=1 << 24, segment_bytes=20_000) as journal:
                for number in range(100_000):
                    journal.append_verdict(verdict_of_part(number), None)
                    print(number, flush=True)

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        said = [int(agent.stdout.readline()) for _ in range(50)]
        agent.send_signal(signal.SIGKILL)
        said += [int(line) for line in agent.stdout if line.endswith("\n")]
    found = asyncio.run(left(tmp_path))
    assert found[: len(said)] == [verdict_of_part(number).result_id for number in said]
    assert len(found) <= len(said) + 1


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_log_whose_segment_lost_its_name_takes_no_more(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written into a removed file is lost with the process, and nobody would know."""
    monkeypatch.setattr(segment_log, "LOOK_S", 0.0)
    with SegmentLog(tmp_path / "journal", 1000) as log:
        log.append(b"one")
        (tmp_path / "journal").rename(tmp_path / "aside")
        if how == "replaced":
            shutil.copytree(tmp_path / "aside", tmp_path / "journal")
        with pytest.raises(StateUnusable, match=r"\.journal (can't be used \(No such|was replaced while)"):
            log.append(b"two")
