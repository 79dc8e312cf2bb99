"""Which file a SQLite database is, and which write-ahead log belongs to it.

SQLite finds its log by its name alone. Whoever puts a backup in the place of the database, and leaves `-wal` where it
was, has SQLite write pages of the one into the other. A file that is moved away goes on being written wherever it lies,
and in its place SQLite would make an empty one. All of it is told here before a connection is made.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import orjson

from inspector.errors import DatabaseMoved, LedgerUnavailable
from inspector.files import read_regular, write_whole

Identity = tuple[int, int]
"""Device and number of a file: another file has another one, also under the same name."""

NOTE_ENDING: Final = "-files"
"""Of the file beside the database that says which log belongs to which database."""

NOTE_MODE: Final = 0o660
MOST_NOTE_BYTES: Final = 4096


class SqliteFile:
    """The database file of that path. Its note outlives a process, as a log does that was not closed in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.parent / f"{path.name}-wal"
        self._note = path.parent / f"{path.name}{NOTE_ENDING}"
        self._is_known = False
        self._noted: tuple[Identity, Identity] | None = None

    @property
    def identity(self) -> Identity | None:
        """The file that has the name now; None for none."""
        return _identity(self._path)

    def check(self) -> Identity | None:
        """The file that a connection would open; None where it would make one. Nothing is opened or changed.

        Raises LedgerUnavailable where the file has been there and is gone, or where its log belongs to another file.
        """
        found, log = self.identity, self.log
        has_log = log is not None and _size(self._log) > 0
        if found is None:
            if self._is_known:
                raise self.moved()
            if has_log:
                raise LedgerUnavailable(
                    f"The database file {self._path} is gone, and {self._log.name} beside it is still there; put the "
                    f"file back, or remove {self._log.name} and what was written last with it."
                )
        elif has_log and self._is_of_another(found, log):
            raise LedgerUnavailable(
                f"The database file {self._path} was replaced, and {self._log.name} belongs to the one before; put "
                f"that one back, or remove {self._log.name} and {self._path.name}-shm."
            )
        return found

    def opened(self, found: Identity) -> Identity | None:
        """Note that a connection has this file and the log beside it; returns the log."""
        self._is_known = True
        log = self.log
        if log is None or self._noted == (found, log):
            return log
        self._noted = (found, log)
        with contextlib.suppress(OSError):  # without a note a replaced file is found by this process alone
            content = orjson.dumps({"database": found, "log": log})
            if self._read() != content:
                write_whole(self._note, content, mode=NOTE_MODE)
        return log

    @property
    def log(self) -> Identity | None:
        """The log that has the name now; None for none."""
        return _identity(self._log)

    def moved(self) -> DatabaseMoved:
        return DatabaseMoved(
            f"The database file {self._path} was moved away or replaced while in use; put it back, or start this anew."
        )

    def log_moved(self) -> DatabaseMoved:
        return DatabaseMoved(
            f"{self._log} was moved away or replaced while in use; leave it where it is: it holds the last rows."
        )

    def _is_of_another(self, found: Identity, log: Identity | None) -> bool:
        """Whether this log was seen beside another database, and by nobody since beside this one.

        A log that was removed may leave its number to the next one, which another process has noted then.
        """
        noted = [each for each in (self._noted, self._stated()) if each is not None]
        return (found, log) not in noted and any(of_log == log for _, of_log in noted)

    def _stated(self) -> tuple[Identity, Identity] | None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            stated: dict[str, Any] = orjson.loads(self._read())
            (device, number), (log_device, log_number) = stated["database"], stated["log"]
            return (device, number), (log_device, log_number)
        return None

    def _read(self) -> bytes:
        with contextlib.suppress(OSError):
            return read_regular(self._note, MOST_NOTE_BYTES)
        return b""


def _identity(path: Path) -> Identity | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
