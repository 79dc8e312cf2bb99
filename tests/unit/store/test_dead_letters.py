"""Dead letters: the bytes as they came and the reason, durable, bounded, in their folder."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
from pathlib import Path

import pytest

from inspector.domain import Cause, DeadLetter, ResultId
from inspector.errors import StateUnusable
from inspector.store.pictures.dead_letters import FolderDeadLetters
from inspector.store.pictures.folders import Held
from inspector.testing.clock import START
from inspector.testing.samples import verdict_of_part


def letter(number: int, *, camera: str = "cam1", payload: bytes = b"\xff\xd8 cut off") -> DeadLetter:
    return DeadLetter(
        ResultId(f"r-{number}"), camera, payload, {"frame-id": "f1"}, Cause.UNDECODABLE, "it is cut off", START
    )


async def test_put_writes_the_bytes_and_the_reason(tmp_path: Path) -> None:
    async with FolderDeadLetters(tmp_path / "dead", max_bytes=10_000) as letters:
        await letters.put(letter(1))
        assert (tmp_path / "dead" / "cam1" / "r-1.bin").read_bytes() == b"\xff\xd8 cut off"
    reason = json.loads((tmp_path / "dead" / "cam1" / "r-1.json").read_text())
    assert reason == {
        "result_id": "r-1",
        "camera": "cam1",
        "cause": "undecodable",
        "detail": "it is cut off",
        "properties": {"frame-id": "f1"},
        "received_at": "2025-01-01T00:00:00.000Z",
        "size_bytes": 10,
    }


async def test_put_of_odd_names_stays_in_the_folder(tmp_path: Path) -> None:
    async with FolderDeadLetters(tmp_path / "dead", max_bytes=10_000) as letters:
        await letters.put(letter(1, camera="../\ud800/x"))
    assert [path.name for path in tmp_path.iterdir()] == ["dead"]
    assert len(list((tmp_path / "dead").rglob("*.json"))) == 1


async def test_put_beyond_the_bound_removes_the_oldest(tmp_path: Path) -> None:
    async with FolderDeadLetters(tmp_path, max_bytes=4000) as letters:
        await asyncio.gather(*(letters.put(letter(number, payload=bytes(1000))) for number in range(10)))
    assert sorted(path.name for path in tmp_path.rglob("*.bin"))[-1] == "r-9.bin"
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 4000


async def test_put_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with FolderDeadLetters(tmp_path, max_bytes=4000) as letters:
        with monkeypatch.context() as patched:
            patched.setattr("inspector.store.pictures.folders.os.fsync", full)
            with pytest.raises(StateUnusable, match="No space left"):
                await letters.put(letter(1))
        await letters.put(letter(2))
    assert sorted(path.name for path in (tmp_path / "cam1").iterdir()) == ["r-2.bin", "r-2.json"]


async def test_put_beyond_the_bound_keeps_what_a_hold_names(tmp_path: Path) -> None:
    held = Held()
    held.renew(lambda verdict: verdict.lot == "L1", is_any=True)
    async with FolderDeadLetters(tmp_path, max_bytes=4000, held=held) as letters:
        for number in range(40):
            verdict = verdict_of_part(number, lot="L1" if number % 2 else "L2")
            letter_of_it = dataclasses.replace(letter(number), result_id=verdict.result_id, verdict=verdict)
            await letters.put(dataclasses.replace(letter_of_it, payload=bytes(500)))
    kept = {path.stem for path in tmp_path.rglob("*.bin")}
    assert kept >= {verdict_of_part(number).result_id for number in range(1, 40, 2)}
    assert verdict_of_part(0).result_id not in kept


async def test_put_beyond_the_bound_removes_nothing_before_holds_are_known(tmp_path: Path) -> None:
    held = Held(is_known=False)
    async with FolderDeadLetters(tmp_path, max_bytes=1000, held=held) as letters:
        for number in range(5):
            await letters.put(letter(number, payload=bytes(500)))
        assert len(list(tmp_path.rglob("*.bin"))) == 5
        held.found([])
        await letters.put(letter(5, payload=bytes(500)))
    assert [path.name for path in tmp_path.rglob("*.bin")] == ["r-5.bin"]
