"""The SQLite database is locked, its disk is full, its file can't be written, or is away. Verdicts go on; rows wait."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.outcome import fault
from tests.faults.people import as_ordinary_user, small_disk
from tests.faults.scene import Line, Scene

STORE = '[store]\nurl = "sqlite+aiosqlite:///{file}"\n'


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another writer's transaction, held open."""
    with contextlib.closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield
        writer.execute("ROLLBACK")


def is_away(line: Line) -> None:
    line.agent.until(lambda: "event=ledger_down " in line.agent.log, 60, "the agent sees that the ledger is away")


def _goes_on_meanwhile(line: Line) -> None:
    """Frames that come while the ledger is away are told to the gate."""
    account = line.scene.account
    told = len(account.heard("gate1/decision"))
    line.camera.shoot(20)
    line.agent.until(lambda: len(account.heard("gate1/decision")) >= told + 20, 60, "the gate is told meanwhile")


def _end(line: Line, since: float) -> None:
    line.recover(since)
    line.agent.until(lambda: "event=ledger_up " in line.agent.log, 60, "the return is told")
    line.scene.check_edges(line.agent, ledger_down=1, ledger_up=1)
    rows = line.scene.rows()
    sequence = [int(row["frame_id"][1:]) for row in rows]
    line.scene.check(sequence == sorted(sequence), "rows are not in the order of their frames")
    line.finish()


@fault("SQLite locked by another writer", is_fast=True)
def sqlite_locked(scene: Scene) -> None:
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    with locked(line.agent.state / "inspector.db"):
        line.camera.shoot(5)
        is_away(line)
        _goes_on_meanwhile(line)
    _end(line, time.monotonic())


@fault("SQLite disk full")
def disk_full(scene: Scene) -> None:
    """The database alone is on a small tmpfs, and the agent is an ordinary user."""
    disk = small_disk(scene, scene.folder / "disk", mib=24)
    line = scene.line(more=STORE.format(file=disk / "inspector.db"))
    shutil.move(line.agent.state / "inspector.db", disk / "inspector.db")
    scene.read_rows_by(lambda: line.agent.rows_of(disk / "inspector.db"))
    as_ordinary_user(line.agent, disk)
    line.start()
    line.camera.shoot(20)
    line.settle()
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    line.camera.shoot(100)
    is_away(line)
    _goes_on_meanwhile(line)
    filler.unlink()
    _end(line, time.monotonic())


@fault("SQLite file read-only")
def read_only(scene: Scene) -> None:
    """The file belongs to somebody else, as after `sudo inspector enroll`: found at the start, mended while it runs."""
    line = scene.line()
    as_ordinary_user(line.agent)
    line.start()
    line.camera.shoot(20)
    line.settle()
    line.finish()
    files = list(line.agent.state.glob("inspector.db*"))
    modes = {file: file.stat().st_mode for file in files}
    for file in files:
        file.chmod(0o444)
    line.camera.shoot(20)
    line.agent.start(wait=False)
    line.agent.until(
        lambda: line.agent.has_ended() or "can't be written" in line.agent.log, 60, "the agent says what is wrong"
    )
    scene.check("can't be written" in line.agent.log, "nobody is told that the file can't be written")
    for file, mode in modes.items():
        file.chmod(mode)
    since = time.monotonic()
    if line.agent.has_ended():
        line.start()
    line.recover(since)
    line.finish()


def _with_copy(scene: Scene) -> Line:
    """A line that runs, and beside its database a whole copy of it, `copy.db`."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    with (
        contextlib.closing(sqlite3.connect(line.agent.state / "copy.db")) as copy,
        contextlib.closing(sqlite3.connect(line.agent.state / "inspector.db")) as now,
    ):
        now.backup(copy)
    return line


def _check_whole(scene: Scene, state: Path) -> None:
    with contextlib.closing(sqlite3.connect(state / "inspector.db")) as found:
        scene.check(found.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the database is damaged")


def _moved(folder: Path, source: str, target: str) -> None:
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{source}{ending}").rename(folder / f"{target}{ending}")


@fault("SQLite file moved away and back")
def moved_away(scene: Scene) -> None:
    """SQLite itself goes on writing into the file wherever it lies, and nobody would find the rows."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    _moved(line.agent.state, "inspector.db", "aside.db")
    line.camera.shoot(20)
    is_away(line)
    _goes_on_meanwhile(line)
    scene.check(not (line.agent.state / "inspector.db").exists(), "an empty database stands in its place")
    _moved(line.agent.state, "aside.db", "inspector.db")
    _end(line, time.monotonic())


@fault("SQLite file replaced by a copy")
def replaced(scene: Scene) -> None:
    """A backup is put in its place while the agent runs. It has all rows that were there when frames went on coming."""
    line = _with_copy(scene)
    state = line.agent.state
    _moved(state, "inspector.db", "aside.db")
    line.camera.shoot(20)
    is_away(line)
    _moved(state, "copy.db", "inspector.db")
    line.camera.shoot(20)
    _end(line, time.monotonic())


@fault("SQLite file replaced beside its log")
def replaced_alone(scene: Scene) -> None:
    """As a person restores a backup who forgets `-wal`: SQLite would write its pages into the backup."""
    line = _with_copy(scene)
    state = line.agent.state
    (state / "copy.db").rename(state / "inspector.db")
    line.camera.shoot(20)
    is_away(line)
    _goes_on_meanwhile(line)
    scene.check("inspector.db-wal belongs to the one before" in line.agent.log, "nobody is told what is wrong")
    for ending in ("-wal", "-shm"):
        (state / f"inspector.db{ending}").unlink()
    _end(line, time.monotonic())
    _check_whole(scene, state)


@fault("SQLite file moved away without its log, 25 frames a second")
def moved_away_alone(scene: Scene) -> None:
    """Under load the agent opens more connections: each would make an empty file, and take the log away."""
    line = scene.line(window_ms=5000).start()
    line.camera.shoot(20)
    line.settle()
    state = line.agent.state
    (state / "inspector.db").rename(state / "aside.db")
    for _ in range(20):
        line.camera.shoot(10)
        time.sleep(0.4)
    is_away(line)
    scene.check(not (state / "inspector.db").exists(), "an empty database stands in its place")
    (state / "aside.db").rename(state / "inspector.db")
    _end(line, time.monotonic())
    _check_whole(scene, state)
