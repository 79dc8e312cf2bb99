"""The units are ones that systemd takes without a warning, and keep their programs away from what they don't need."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from inspector.config.sections import AgentSection

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "inspector.service"
UNITS = sorted((ROOT / "systemd").glob("*.service"))
MOST_EXPOSURE = "20"
"""In tenths, of 100: what systemd itself calls OK ends at 4.0."""


@pytest.fixture
def analyze() -> str:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("systemd-analyze is not installed (Debian package: systemd)")
    return command


@pytest.fixture(params=UNITS, ids=lambda unit: unit.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each unit with a program that is there: systemd looks for the one of ExecStart."""
    path = tmp_path / request.param.name
    path.write_text(request.param.read_text().replace("ExecStart=/usr/bin/inspector", "ExecStart=/bin/true"))
    return path


def test_unit_is_verified_without_a_word(analyze: str, unit: Path) -> None:
    done = subprocess.run(
        [analyze, "--recursive-errors=no", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_is_hardened(analyze: str, unit: Path) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_unit_waits_longer_for_the_drain_than_the_drain_takes() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "inspector" in project["project"]["scripts"]
    assert float(lines["TimeoutStopSec"]) > 2 * AgentSection(name="a").drain_s
    assert lines["Type"] == "notify"
    assert float(lines["WatchdogSec"]) > 0
    assert lines["StateDirectory"] == "inspector"
