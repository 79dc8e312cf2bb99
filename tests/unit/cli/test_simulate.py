"""`inspector simulate` called wrongly, or with its broker away: one sentence and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


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


@pytest.mark.usefixtures("line")
def test_simulate_with_the_broker_away_exits_1_with_one_sentence(shell: Any, folder: Path) -> None:
    answer = shell("simulate", str(folder), "--camera", "cam1", "--rate", "5", "--to", "mqtt://127.0.0.1:1")
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.splitlines()) == 1
