"""Commands run in this process, with the exit codes and the output that a shell would see."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.cli import app
from inspector.cli.terminal import console
from inspector.config.config import Config
from inspector.config.loading import load
from inspector.domain import Verdict
from inspector.operation.opening import database_of, registry_of
from inspector.store.ledger.ledger import SqlLedger
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from tests.unit.drawings import FakeEngine, good_images


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` printed: one document and nothing else."""
        return json.loads(self.out)


Shell = Callable[..., Answer]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """`shell("db", "check")` in an empty folder, without a configuration of this machine's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECTOR_CONFIG", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(console.options, "debug", False)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["inspector", *arguments])
        capsys.readouterr()
        try:
            code = console.guarded(app)
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture
def enrols_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enrolments in this process: one of its own would know nothing of an engine without a network."""

    async def here(work: Callable[[Any], Any], progress: Any) -> Any:
        return work(progress)

    monkeypatch.setattr("inspector.enrolment.enrol_product.run_at_low_priority", here)


@pytest.fixture
def line(shell: Shell) -> Config:
    """The configuration that `inspector init` writes, in the current folder."""
    assert shell("init").code == 0
    return load(Path("inspector.toml"))


@pytest.fixture
def record(line: Config) -> Callable[[Sequence[Verdict]], None]:
    """Puts verdicts into the configured store."""

    async def write(verdicts: Sequence[Verdict]) -> None:
        async with database_of(line, creates=True) as database, SqlLedger(database, SystemClock()) as ledger:
            await ledger.record(verdicts, [], [])

    return lambda verdicts: asyncio.run(write(verdicts))


@pytest.fixture
def enrolled(line: Config) -> Callable[[str], int]:
    """Adds a live version of a product whose artifact is of no use but its name; returns its number."""

    async def add(product: str) -> int:
        calibration = {"statement": "at most 1 in 20", "threshold": 2.5, "median": 1.0}
        manifest = {"head": "prototype", "threshold": 2.5, "calibration": calibration}
        async with registry_of(line, creates=True) as registry:
            version = await registry.add_version(product, b"artifact", manifest, by="ada", activate=True)
        return version.version

    return lambda product: asyncio.run(add(product))


@pytest.fixture(scope="session")
def enrolments() -> list[Enrolment]:
    """Of few and of many images, by heads that keep their scores. Never changed by a test."""
    engine = FakeEngine()
    return [enrol("disc", good_images("disc", count), EnrolmentOptions(profile="fast"), engine) for count in (6, 60)]


@pytest.fixture(scope="session")
def disc(enrolments: list[Enrolment]) -> Enrolment:
    return enrolments[0]


@pytest.fixture
def loadable(line: Config, disc: Enrolment) -> Callable[[str], int]:
    """Adds a live version of a product with an artifact that loads; returns its number."""

    async def add(product: str) -> int:
        async with registry_of(line, creates=True) as registry:
            version = await registry.add_version(product, disc.artifact, disc.manifest, by="ada", activate=True)
        return version.version

    return lambda product: asyncio.run(add(product))
