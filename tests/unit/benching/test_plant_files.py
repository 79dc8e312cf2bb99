"""The configurations of a bench's agents: they share cameras, cores and one store, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.benching.plant import check
from inspector.benching.plant_files import agent_files, written_configs
from inspector.benching.plant_setting import PlantSetting
from inspector.config.broker_sections import MqttSection
from inspector.config.config import Config
from inspector.config.loading import load, parse
from inspector.errors import UsageError


def written(folder: Path, cores: int | None = 4, **setting: Any) -> tuple[Config, ...]:
    engine = {} if cores is None else {"engine": {"threads": cores}}
    config = parse({"agent": {"state_dir": str(folder)}, **engine}, None)
    folder.mkdir(exist_ok=True)
    return written_configs(PlantSetting(config=config, state=folder, **setting), folder, MqttSection())


def test_agents_share_cameras_in_turn_cores_and_the_store(tmp_path: Path) -> None:
    first, second = written(tmp_path / "plant", cameras=5, agents=2)
    assert [camera.name for camera in first.camera] == ["cam1", "cam3", "cam5"]
    assert [camera.name for camera in second.camera] == ["cam2", "cam4"]
    assert (first.engine.threads, second.engine.threads) == (2, 2)
    assert first.store.url == second.store.url == f"sqlite:///{first.agent.state_dir / 'inspector.db'}"
    assert first.agent.prefix == second.agent.prefix
    assert first.agent.name != second.agent.name
    assert first.agent.state_dir != second.agent.state_dir
    assert first == load(agent_files(tmp_path / "plant", 2)[0])
    assert second == load(agent_files(tmp_path / "plant", 2)[1])


def test_a_gate_stays_with_the_agent_of_its_camera(tmp_path: Path) -> None:
    first, second = written(tmp_path / "plant", cameras=2, agents=2, gate_window_ms=50.0)
    assert [(gate.name, gate.cameras) for gate in first.gate] == [("gate1", ("cam1",))]
    assert [(gate.name, gate.cameras) for gate in second.gate] == [("gate2", ("cam2",))]


@pytest.mark.parametrize(
    ("configured", "asked", "each"),
    [(1, None, 1), (5, None, 2), (4, 3, 3)],
)
def test_each_agent_has_a_core_at_least_or_as_many_as_asked(
    tmp_path: Path, configured: int, asked: int | None, each: int
) -> None:
    agents = written(tmp_path / "plant", configured, agents=2, threads=asked)
    assert [agent.engine.cores for agent in agents] == [each, each]


def test_one_agent_has_the_store_and_the_cores_that_are_configured(tmp_path: Path) -> None:
    (agent,) = written(tmp_path / "plant", None)
    assert (agent.store.url, agent.engine.threads) == (None, 0)


def test_more_agents_than_cameras_are_refused() -> None:
    with pytest.raises(UsageError, match="3 agents need as many cameras"):
        check(PlantSetting(config=parse({}, None), agents=3, cameras=2))
