"""Frames from a running camera: different ones only, kept in a folder, and a clear end where none come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.enrolment.camera_frames import FrameRequest, collect_frames, folder_for
from inspector.errors import EnrolmentError, UsageError
from tests.unit.drawings import draw, encode


class FakeTap:
    """Gives these payloads, then stays silent."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = payloads

    @property
    def name(self) -> str:
        return "a wire"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def frames(self) -> AsyncIterator[bytes]:
        for payload in self._payloads:
            yield payload
        await asyncio.Event().wait()


def config(tmp_path: Path) -> Config:
    watched = {"name": "shelf", "source": "folder", "folder": str(tmp_path), "on_unjudged": "pass"}
    return parse({"camera": [{"name": "cam1", "on_unjudged": "reject"}, watched]}, None)


def give(monkeypatch: pytest.MonkeyPatch, payloads: Sequence[bytes]) -> None:
    monkeypatch.setattr("inspector.enrolment.camera_frames.tap_of", lambda *_: FakeTap(payloads))


PICTURES = [encode(draw("disc", seed, size=(24, 24))) for seed in range(4)]


async def test_collect_keeps_each_different_readable_frame_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    give(monkeypatch, [PICTURES[0], PICTURES[0], b"noise", *PICTURES[1:]])
    seen: list[tuple[int, int]] = []
    request = FrameRequest("cam1", 3, tmp_path / "kept")
    files = await collect_frames(config(tmp_path), request, lambda _, done, total: seen.append((done, total)))
    assert [file.read_bytes() for file in files] == PICTURES[:3]
    assert [file.name for file in files] == ["00001.png", "00002.png", "00003.png"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


async def test_collect_of_a_silent_camera_says_what_came_and_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    give(monkeypatch, [PICTURES[0], PICTURES[0], b"noise"])
    with pytest.raises(EnrolmentError) as told:
        await collect_frames(config(tmp_path), FrameRequest("cam1", 3, tmp_path / "kept", idle_s=0.2), lambda *_: None)
    assert "No new frame came from cam1 on a wire for 0.2 s: 1 of 3" in str(told.value)
    assert "1 came again" in str(told.value)
    assert "1 could not be read" in str(told.value)
    assert len(list((tmp_path / "kept").iterdir())) == 1


async def test_collect_from_a_folder_or_an_unknown_camera_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"naming {tmp_path}"):
        await collect_frames(config(tmp_path), FrameRequest("shelf", 3, tmp_path / "kept"), lambda *_: None)
    with pytest.raises(UsageError, match="configured: cam1, shelf"):
        await collect_frames(config(tmp_path), FrameRequest("cam9", 3, tmp_path / "kept"), lambda *_: None)
    assert not (tmp_path / "kept").exists()


def test_folder_for_names_camera_and_time(tmp_path: Path) -> None:
    assert folder_for(tmp_path, "cam1").name.startswith("cam1-2")
