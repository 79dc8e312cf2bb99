"""`inspector simulate` called wrongly, or with its broker away: one sentence and an exit code."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inspector.config.loading import load
from inspector.demo.simulated_camera import _shot
from inspector.demo.simulation import SimulationRequest, plan_simulation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, name in enumerate(("a.jpg", "b.png", "c.jpeg")):
        (pictures / name).write_bytes(b"image %d" % number)
    return pictures


@pytest.mark.usefixtures("line")
def test_simulate_called_wrongly_exits_2_with_one_sentence(shell: Any, folder: Path) -> None:
    common = ("simulate", str(folder), "--camera", "cam1", "--rate", "5")
    for wrong in (
        ("--count", "4"),
        ("--no-triggers", "--trigger-start", "3"),
        ("--to", "kafka://127.0.0.1:99999"),
        ("--to", "mqtt://[::1"),
        ("--to", "mqtt://a b"),
        ("--topic", "line/+/frame"),
    ):
        answer = shell(*common, *wrong)
        assert (answer.code, answer.out) == (2, "")
        assert len(answer.err.splitlines()) == 1


def test_simulate_on_mqtt_3_1_1_without_as_live_exits_2(shell: Any, folder: Path) -> None:
    Path("inspector.toml").write_text('[mqtt]\nprotocol = "3.1.1"\n')
    answer = shell("simulate", str(folder), "--camera", "cam1", "--rate", "5")
    assert answer.code == 2
    assert "--as-live" in answer.err


AT_GATE = """
[[camera]]
name = "cam1"
on_unjudged = "reject"
[[camera]]
name = "plant"
source = "kafka"
on_unjudged = "reject"
[[gate]]
name = "g1"
cameras = ["cam1"]
window_ms = 100
trigger_modulus = 1000
"""


@pytest.mark.parametrize(("start", "first"), [(5, 5), (999, 999), (1000, 0), (70_123, 123), (None, None)])
def test_simulation_first_trigger_is_the_one_that_the_first_frame_carries(
    tmp_path: Path, folder: Path, start: int | None, first: int | None
) -> None:
    (tmp_path / "gate.toml").write_text(AT_GATE)
    request = SimulationRequest(folder=folder, camera="cam1", rate_fps=5, trigger_start=start)
    shooting = plan_simulation(load(tmp_path / "gate.toml"), request).shooting
    shown = shooting.trigger_start
    sent = _shot(shooting, 0, b"image", datetime.now(UTC)).properties["trigger-id"]
    assert str(shown) == sent
    assert first is None or shown == first


@pytest.mark.parametrize(
    ("camera", "to", "warned"),
    [
        ("cam1", None, ""),
        ("cam2", None, "The configuration has no camera 'cam2' (cam1, plant)"),
        ("plant", "mqtt://127.0.0.1", "Camera plant takes its frames from kafka, these go to mqtt"),
    ],
)
def test_simulate_to_a_camera_that_no_agent_takes_warns_and_goes_on(
    tmp_path: Path, shell: Any, folder: Path, camera: str, to: str | None, warned: str
) -> None:
    Path("inspector.toml").write_text(AT_GATE)
    where = ("--to", f"{to}:1") if to else ("--to", "mqtt://127.0.0.1:1")
    answer = shell("simulate", str(folder), "--camera", camera, "--rate", "5", *where)
    assert answer.code == 1, "the broker is away, which is another matter"
    assert answer.err.startswith(warned)
    assert len(answer.err.splitlines()) == (2 if warned else 1)


@pytest.mark.usefixtures("line")
def test_simulate_with_the_broker_away_exits_1_with_one_sentence(shell: Any, folder: Path) -> None:
    answer = shell("simulate", str(folder), "--camera", "cam1", "--rate", "5", "--to", "mqtt://127.0.0.1:1")
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.splitlines()) == 1
