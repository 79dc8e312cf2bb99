"""Real agents for tests: `inspector` as a process of its own, on a state folder of its own.

Enrolling takes seconds, so it is done once in a session; each agent starts on a copy of that state.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.parts import encoded
from tests.shared import link_graphs, made_once

STARTED = "ready"


def inspector(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [sys.executable, "-m", "inspector", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, **(env or {})}, check=False
    )


class Agent:
    """One `inspector run`. `log` is what it wrote to standard error so far."""

    def __init__(self, folder: Path, config: str, state: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        shutil.copytree(state, self.state, dirs_exist_ok=True)
        self.config = folder / "inspector.toml"
        self.config.write_text(f'[agent]\nname = "agent"\nprefix = "t"\nstate_dir = "{self.state}"\n{config}')
        self._log = folder / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.runs_under: tuple[str, ...] = ()
        """A command before the agent's own, for example `setpriv`."""

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self, wait: bool = True, **env: str) -> Agent:
        """Taking frames when it returns, unless told not to wait."""
        began_at = len(self.log)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.runs_under, sys.executable, "-m", "inspector", "run", "--config", str(self.config)],
                stderr=log,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **env},
            )
        if wait:
            self.until(lambda: STARTED in self.log[began_at:], 90, "the agent starts")
        return self

    def until(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        """Fails with the end of the log when it does not come true."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {limit_s} s\n{self.log[-6000:]}")
            time.sleep(0.05)

    def has_ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait, longer than any drain here; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=120)

    def rows(self, table: str = "results") -> list[dict[str, Any]]:
        """All rows, oldest first."""
        return self.rows_of(self.state / "inspector.db", table)

    @staticmethod
    def rows_of(file: Path, table: str = "results") -> list[dict[str, Any]]:
        """The same of a database that stands elsewhere."""
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY rowid")]

    def has_rows(self, count: int, limit_s: float = 60) -> list[dict[str, Any]]:
        self.until(lambda: len(self.rows()) >= count, limit_s, f"{count} rows")
        return self.rows()

    def dead_letters(self) -> dict[str, bytes]:
        """Original bytes by result id."""
        return {file.stem: file.read_bytes() for file in (self.state / "dead-letters").rglob("*.bin")}

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def make_parts(root: Path) -> Path:
    """24 good parts of each of two products, as the cameras of the tests encode them; returns `root`."""
    for product in ("disc", "bar"):
        folder = root / product
        folder.mkdir(parents=True)
        for seed in range(24):
            (folder / f"{seed:03}.jpg").write_bytes(encoded(product, seed))
    return root


def enrol(
    folder: Path, parts: Path, products: Sequence[str] = ("disc", "bar"), engine_cache: Path | None = None
) -> Path:
    """A state folder within `folder` with these products live, enrolled by the command line.

    Exported graphs are taken from `engine_cache`, and those that it lacked are put there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    engines = folder / "state" / "engines"
    if engine_cache is not None:
        link_graphs(engine_cache, engines)
    config = folder / "inspector.toml"
    config.write_text(f'[agent]\nstate_dir = "{folder / "state"}"\n')
    for product in products:
        done = inspector(
            "enroll", product, parts / product, "--no-detectability", "--full-speed", "--config", config, "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["product"] == product
    if engine_cache is not None:
        link_graphs(engines, engine_cache)
    return folder / "state"


@pytest.fixture(scope="session")
def parts_folder(shared_folder: Path) -> Path:
    """24 good parts of each of two products."""
    folder = shared_folder / "parts"
    made_once(folder, lambda: make_parts(folder))
    return folder


@pytest.fixture(scope="session")
def enrolled_state(parts_folder: Path, shared_folder: Path, engine_cache: Path) -> Path:
    """A state folder with both products live. Never changed by a test."""
    folder = shared_folder / "enrolled"
    made_once(folder, lambda: enrol(folder, parts_folder, engine_cache=engine_cache))
    return folder / "state"


@pytest.fixture
def agent(tmp_path: Path, enrolled_state: Path) -> Iterator[Callable[[str], Agent]]:
    """Makes agents with this configuration added to the basics; none outlives the test."""
    made: list[Agent] = []

    def make(config: str) -> Agent:
        folder = tmp_path / f"agent{len(made)}"
        folder.mkdir()
        made.append(Agent(folder, config, enrolled_state))
        return made[-1]

    yield make
    for each in made:
        each.close()
