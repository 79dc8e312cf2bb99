"""The connections to one SQLite file: how each is prepared, and which of them still belong to the file of that name.

WAL with synchronous FULL makes a commit durable. Write transactions begin IMMEDIATE, so that a reader never has to
become a writer half-way (SQLite refuses that without waiting). Another file under the same name, and a file that has
become writable again, need new connections: what an old one wrote, nobody would read.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from inspector.errors import DatabaseUnusable
from inspector.files import NotOpened, allow_as_much, ensure_no_strangers_link
from inspector.store.sqlite_file import Identity, SqliteFile

BUSY_TIMEOUT_MS: Final = 5000
"""Longest wait of SQLite for another process's transaction."""

WRITES: Final = "inspector_writes"
"""Execution option: the transaction takes SQLite's one lock at its beginning."""

ALONE: Final = "inspector_reads_once"
"""Execution option: one statement reads, without a transaction around it."""

WAL_TRIES: Final = 50
WAL_RETRY_MS: Final = 20

_RENEWALS: Final = "inspector_renewals"
_FILE: Final = "inspector_file"
_LOG: Final = "inspector_log"


def connect_arguments() -> dict[str, Any]:
    """The driver's arguments beside the file."""
    return {"timeout": BUSY_TIMEOUT_MS / 1000}


class SqliteConnections:
    """Listens to an engine's pool from its beginning. `path`: the file that the engine's connections open."""

    def __init__(self, engine: sa.Engine, path: Path) -> None:
        self._path = path
        self._file = SqliteFile(path)
        self._renewals = 0
        for moment, listener in (
            ("do_connect", self._ensure_own),
            ("do_connect", self._mend_rights),
            ("do_connect", self._note_file),
            ("connect", _prepare),
            ("connect", self._note_opened),
            ("checkout", self._ensure_same_file),
            ("checkin", self._note_log),
            ("checkin", self._close_outdated),
            ("begin", _begin),
            ("handle_error", _keep_cancelled),
        ):
            sa.event.listen(engine, moment, listener)

    def check(self) -> None:
        """Raises LedgerUnavailable where a log without its database, or of another one, lies beside the file."""
        self._file.check()

    def renew(self) -> None:
        """From now on no connection that is open is used again. Whoever renews closes those that are in the pool."""
        self._renewals += 1

    @staticmethod
    def file_of(info: dict[Any, Any]) -> Identity | None:
        """The file that a connection with this `info` writes."""
        found: Identity | None = info.get(_FILE)
        return found

    def ensure_found(self, written: Identity | None) -> None:
        """Raises DatabaseMoved where a transaction was committed to a file that nobody finds under its name."""
        if written != self._file.identity:
            raise self._file.moved()

    def _ensure_own(self, *_: Any) -> None:
        """SQLite follows links. Raises DatabaseUnusable for another user's, who would choose what is written to."""
        try:
            ensure_no_strangers_link(self._path)
        except NotOpened as error:
            raise DatabaseUnusable(
                f"The database {self._path} is not opened: {error.strerror}; remove the link."
            ) from None
        except OSError:
            return  # SQLite's own message says what is wrong

    def _mend_rights(self, *_: Any) -> None:
        """SQLite makes the files beside a read-only one read-only too, and they stay so when its rights are mended."""
        for ending in ("-wal", "-shm"):
            with contextlib.suppress(OSError):  # SQLite's own message says what is wrong
                allow_as_much(self._path.parent / f"{self._path.name}{ending}", self._path)

    def _note_file(self, _dialect: Any, record: Any, *_: Any) -> None:
        record.info[_FILE] = self._file.check()

    def _note_opened(self, _connection: Any, record: Any) -> None:
        record.info[_RENEWALS] = self._renewals
        if record.info[_FILE] is None:  # it is made by this connection
            record.info[_FILE] = self._file.identity
        record.info[_LOG] = None  # SQLite opens it for the first transaction

    def _ensure_same_file(self, _connection: Any, record: Any, _proxy: Any) -> None:
        """Have the connection made anew if another file has its file's name now: what it wrote, nobody would read."""
        if record.info[_FILE] != self._file.identity:
            raise sa.exc.DisconnectionError
        if record.info[_LOG] not in (None, self._file.log):
            raise self._file.log_moved()

    def _note_log(self, connection: Any, record: Any) -> None:
        info = record.info
        if connection is None or info.get(_FILE) is None or info[_LOG] is not None:
            return
        if info[_FILE] == self._file.identity:  # opening may give it another number, as in a layer of a container
            info[_LOG] = self._file.opened(info[_FILE])

    def _close_outdated(self, connection: Any, record: Any) -> None:
        """Close a connection that was in use when all others were closed; its old pool would keep it open."""
        if connection is not None and record.info.get(_RENEWALS) != self._renewals:
            record.invalidate()


def _prepare(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late and never IMMEDIATE
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "wal_autocheckpoint=4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Switch a new file to WAL. SQLite ignores its timeout while another process switches the same file."""
    for _ in range(WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(WAL_RETRY_MS / 1000)
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get(ALONE, False):
        return
    is_writing = options.get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _keep_cancelled(context: sa.engine.ExceptionContext) -> None:
    """A cancelled transaction is rolled back on its own connection.

    SQLAlchemy would throw the connection away. Its statement may still run on the driver's thread then, and a closed
    connection keeps SQLite's lock until garbage is collected: for so long nobody could write.
    """
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False
