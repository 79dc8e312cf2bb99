"""Warnings and alarms that the database does not have yet, in a file of the state folder, so that no kill loses them.

A line is written when an event is told, or when it begins to wait to be told together with others of its kind. The
lines are dropped once the database has the events. What an earlier run left is read at the start and stored then. An
event that was stored in the very moment of the end may be stored twice.

The file stands a kill of the process. It is not synced, so the end of the machine may take its last lines.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson

from inspector.domain import Event, Severity
from inspector.errors import StateUnusable
from inspector.files import NotOpened, make_folder, open_kept, read_regular, write_whole

FILE: Final = "events-unstored"
MOST_LINES: Final = 20_000
"""Lines beyond this are not written: the database has been away for long, and the log has the rest."""

MOST_BYTES: Final = 64 * 1024 * 1024
BEFORE: Final = "before the agent ended: "

_Key = tuple[str, str]


class EventNotes:
    """One agent's file. Entered means read. Its methods may be called on any thread."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self._lock = threading.Lock()
        self._waiting: dict[_Key, Event] = {}
        self._file: int | None = None
        self._lines = 0
        self.left: list[Event] = []
        """What an earlier run left, oldest first: what was told, and what waited to be told."""

    def __enter__(self) -> Self:
        """Raises StateUnusable if the folder can't be made, or the file can't be opened."""
        folder = self._path.parent
        try:
            make_folder(folder)
        except OSError as error:
            why = error.strerror or error
            raise StateUnusable(f"The folder {folder} can't be made ({why}); correct agent.state_dir.") from None
        try:
            self.left = self._read()
            self._rewrite(self.left)
        except OSError as error:
            raise StateUnusable(f"The file {self._path} can't be used ({error.strerror or error}).") from None
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._close()

    def told(self, event: Event) -> None:
        """Note an event that is told now. What waited of its kind and subject is told with it."""
        if event.severity is Severity.INFO:
            return
        with self._lock:
            self._waiting.pop((event.kind, event.subject), None)
            self._append("told", event)

    def waits(self, event: Event) -> None:
        """Note an event that will be told later, in place of the one of its kind and subject that waited before."""
        with self._lock:
            self._waiting[event.kind, event.subject] = event
            self._append("waits", event)

    def keep(self, unstored: Iterable[Event]) -> None:
        """Drop all events but these and those that wait: the database has the others."""
        with self._lock:
            if self._lines:
                with contextlib.suppress(OSError):  # the lines stay; an event stored twice is better than none
                    self._rewrite([event for event in unstored if event.severity is not Severity.INFO])

    def _append(self, state: str, event: Event) -> None:
        if self._file is None or self._lines >= MOST_LINES:
            return
        with contextlib.suppress(OSError):  # a full disk is told by others; the log has the event
            os.write(self._file, _line(state, event))
            self._lines += 1

    def _rewrite(self, told: list[Event]) -> None:
        lines = [_line("told", event) for event in told]
        lines += [_line("waits", event) for event in self._waiting.values()]
        self._close()
        if lines or self._path.exists():
            write_whole(self._path, b"".join(lines))
        self._file = open_kept(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._lines = len(lines)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self) -> list[Event]:
        try:
            content = read_regular(self._path, MOST_BYTES)
        except FileNotFoundError:
            return []
        except NotOpened as error:
            raise OSError(error.errno, str(error)) from None
        told: list[Event] = []
        waiting: dict[_Key, Event] = {}
        for state, event in _parsed(content):
            if state == "waits":
                waiting[event.kind, event.subject] = event
            else:
                waiting.pop((event.kind, event.subject), None)
                told.append(event)
        late = [replace(event, detail=f"{BEFORE}{event.detail}") for event in waiting.values()]
        return sorted([*told, *late], key=lambda event: event.at)


def _line(state: str, event: Event) -> bytes:
    said = [state, event.at.isoformat(), event.kind, event.severity.value, event.subject, event.detail]
    return orjson.dumps(said) + b"\n"


def _parsed(content: bytes) -> Iterator[tuple[str, Event]]:
    """The lines that can be read. The last one of a run that was killed may be half a line."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            words: list[Any] = orjson.loads(line)
            state, at, kind, severity, subject, detail = words
            yield state, Event(datetime.fromisoformat(at), kind, Severity(severity), subject, detail)
