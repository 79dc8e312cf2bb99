"""The units are ones that systemd takes without a warning, and keep their programs away from what they don't need."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from inspector.config.broker_sections import KafkaSection
from inspector.config.line_sections import CameraSection
from inspector.config.sections import AgentSection

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "inspector.service"
UNITS = sorted((ROOT / "systemd").glob("*.service"))
MOST_EXPOSURE = "14"
"""In tenths, of 100: what systemd itself calls OK ends at 4.0."""

MIB = 1 << 20
WORKERS = 4
BYTES_A_PIXEL = 12
"""Of a frame while it is decoded and prepared: the pixels, a copy of them, and the tensor of a smaller one."""


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


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_unit_has_an_end_of_its_memory_and_reaches_no_address_of_the_internet(path: Path) -> None:
    lines = path.read_text().splitlines()
    (most,) = (line.partition("=")[2] for line in lines if line.startswith("MemoryMax="))
    assert most.endswith(("G", "%"))
    assert "IPAddressDeny=any" in lines
    (allowed,) = (line.partition("=")[2].split() for line in lines if line.startswith("IPAddressAllow="))
    networks = [ipaddress.ip_network(each) for each in allowed if each != "localhost"]
    assert "localhost" in allowed
    assert all(network.is_private or network.is_link_local for network in networks)


def test_agent_has_the_memory_that_its_keys_allow_it() -> None:
    """The sum in the unit's comment."""
    (most,) = re.findall(r"^MemoryMax=(\d+)G$", UNIT.read_text(), re.MULTILINE)
    camera = CameraSection(name="a", on_unjudged="reject")
    needed = 1024 * MIB + AgentSection(name="a").frames_mib * MIB + 256 * MIB + int(KafkaSection().buffer_mib * MIB)
    needed += WORKERS * int(camera.max_mpx * 1e6) * BYTES_A_PIXEL
    assert needed <= int(most) * 1024 * MIB
    assert f"{needed / 1024 / MIB:.1f} GiB with the defaults and four workers" in UNIT.read_text()


def test_unit_waits_longer_for_the_drain_than_the_drain_takes() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "inspector" in project["project"]["scripts"]
    assert float(lines["TimeoutStopSec"]) > 2 * AgentSection(name="a").drain_s
    assert lines["Type"] == "notify"
    assert float(lines["WatchdogSec"]) > 0
    assert lines["StateDirectory"] == "inspector"


def test_unit_of_a_second_agent_is_made_as_the_document_says(tmp_path: Path) -> None:
    (command,) = re.findall(r"^sed -e .*?inspector-2\.service$", (ROOT / "docs" / "fleet.md").read_text(), re.M | re.S)
    shutil.copy(UNIT, tmp_path)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=60)
    first, second = (set(path.read_text().splitlines()) for path in (UNIT, tmp_path / "inspector-2.service"))
    assert second - first == {
        "ExecStart=/usr/bin/inspector run --config /etc/inspector/agent-2.toml --log-json",
        "StateDirectory=inspector inspector-2",
    }
    assert len(first - second) == 2
