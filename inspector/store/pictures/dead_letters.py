"""Keeps bytes that could not be read as an image, unchanged, with the reason beside them.

The files are `<folder>/<camera>/<result id>.bin` and `.json`. They are durable when `put` returns. At the bound the
oldest files are removed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from pathlib import Path
from typing import Self

import orjson

from inspector.domain import DeadLetter
from inspector.store.pictures.folders import BoundedFolder, Held, safe_name
from inspector.stream.verdict_record import format_time, plain


class FolderDeadLetters:
    """The port `DeadLetters` on a folder of at most `max_bytes`. Only letters under a hold may exceed this bound.

    Raises StateUnusable if the folder can't be written.
    """

    def __init__(self, folder: Path, *, max_bytes: int, held: Held | None = None) -> None:
        self._path = folder
        self._held = held or Held()
        self._max_bytes = max_bytes
        self._resources = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        self._folder = await asyncio.to_thread(BoundedFolder, self._path, self._max_bytes, held=self._held)
        # One thread, so that a letter whose caller was cancelled is finished before the next one begins.
        self._worker = self._resources.enter_context(concurrent.futures.ThreadPoolExecutor(1, "dead-letters"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self._resources.close)

    async def put(self, letter: DeadLetter) -> None:
        """Store a letter. Both files are whole and durable when this returns."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._write, letter)

    def _write(self, letter: DeadLetter) -> None:
        if letter.verdict is not None:
            self._held.note(letter.verdict)
        base = self._path / safe_name(letter.camera) / safe_name(letter.result_id)
        reason = {
            "result_id": letter.result_id,
            "camera": plain(letter.camera),
            "cause": letter.cause.value,
            "detail": plain(letter.detail),
            "properties": {plain(key): plain(value) for key, value in letter.properties.items()},
            "received_at": format_time(letter.received_at),
            "size_bytes": len(letter.payload),
        }
        # The reason is written last, so the bytes are there whenever the reason is.
        self._folder.add(base.with_name(base.name + ".bin"), letter.payload, durable=True)
        self._folder.add(
            base.with_name(base.name + ".json"), orjson.dumps(reason, option=orjson.OPT_INDENT_2), durable=True
        )
