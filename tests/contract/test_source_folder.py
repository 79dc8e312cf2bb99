"""The folder source passes the contract of all sources."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from connectors.folder import FolderSource
from inspector.config.line_sections import CameraSection
from inspector.domain import Action
from inspector.testing.source_contract import SourceContract
from tests.brokers import Notebook, RunningClock


class FolderRig:
    carries_properties = False
    marks_redelivery = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._sent = 0
        self.source = self._new_source()

    def _new_source(self) -> FolderSource:
        camera = CameraSection(
            name="cam1", source="folder", folder=self._folder, settle_ms=0, incomplete_ms=0, on_unjudged=Action.REJECT
        )
        return FolderSource(camera, RunningClock(), Notebook(), poll_s=0.01)

    async def send(self, payload: bytes, properties: Mapping[str, str]) -> None:
        self._sent += 1
        unfinished = self._folder / f"{self._sent}.png.part"
        unfinished.write_bytes(payload)
        # Names in an order of their own: the time counts.
        os.utime(unfinished, ns=(self._sent, self._sent))
        unfinished.rename(self._folder / f"{9 - self._sent}.png")

    async def restart(self) -> None:
        await self.source.__aexit__()
        self.source = self._new_source()
        await self.source.__aenter__()

    async def break_link(self) -> bool:
        return False


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[FolderRig]:
    rig = FolderRig(tmp_path / "frames")
    await rig.source.__aenter__()
    yield rig
    await rig.source.__aexit__()


class TestFolderSource(SourceContract):
    pass
