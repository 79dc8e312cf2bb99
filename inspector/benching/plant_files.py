"""The files of a bench's agents: configuration, state folder, and the exported graphs that are kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import uuid
from pathlib import Path
from typing import Any, Final

from inspector.benching.plant_setting import PlantSetting
from inspector.config.broker_sections import MqttSection
from inspector.config.config import Config
from inspector.config.loading import load
from inspector.errors import ConfigError, UsageError
from inspector.files import entries, make_folder

AGENT: Final = "bench"


def agent_files(folder: Path, agents: int) -> list[Path]:
    """inspector.toml, and of further agents inspector-2.toml and so on."""
    return [
        folder / ("inspector.toml" if number == 1 else f"inspector-{number}.toml") for number in range(1, agents + 1)
    ]


def camera_names(cameras: int) -> list[str]:
    return [f"cam{number}" for number in range(1, cameras + 1)]


def written_configs(setting: PlantSetting, folder: Path, broker: MqttSection) -> tuple[Config, ...]:
    """The configuration of each agent, written to the bench's folder and read back as the agent reads it.

    Raises UsageError where the setting makes no valid one.
    """
    engines = setting.base / "engines"
    make_folder(engines)
    _take_over(setting.config.agent.state_dir / "engines", engines)
    name = f"{AGENT}-{uuid.uuid4().hex[:8]}"  # another bench may use the same broker
    names = [name, *(f"{name}-{number}" for number in range(2, setting.agents + 1))]
    return tuple(
        _written(file, _tables(setting, folder, broker, names, number), engines)
        for number, file in enumerate(agent_files(folder, setting.agents))
    )


def _written(path: Path, tables: list[tuple[str, dict[str, Any]]], engines: Path) -> Config:
    lines: list[str] = []
    for header, keys in tables:
        lines.append(header)
        lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        config = load(path)
    except ConfigError as error:
        raise UsageError(f"A line can't be made with these options: {'; '.join(error.faults)}.") from None
    config.agent.state_dir.mkdir(parents=True, exist_ok=True)
    link = config.agent.state_dir / "engines"
    if not link.is_symlink():
        link.symlink_to(engines.resolve(), target_is_directory=True)
    return config


def _tables(
    setting: PlantSetting, folder: Path, broker: MqttSection, names: list[str], number: int
) -> list[tuple[str, dict[str, Any]]]:
    """The tables of agent `number`, from 0, of those with these names. Cameras are dealt out in turn."""
    engine = setting.config.engine.model_dump(exclude_unset=True)
    engine |= {"name": setting.engine} if setting.engine is not None else {}
    engine |= {"threads": setting.threads} if setting.threads is not None else {}
    if len(names) > 1 and setting.threads is None:
        engine["threads"] = max(1, setting.config.engine.cores // len(names))
    mqtt = broker.model_dump(exclude_unset=True, exclude_none=True) | {"session_expiry_s": 60}
    state = (folder / "state").absolute()
    agent = {
        "name": names[number],
        "prefix": f"inspector-bench/{names[0]}",
        "state_dir": state if number == 0 else state.with_name(f"state-{number + 1}"),
        "drain_s": 2.0,
    }
    tables: list[tuple[str, dict[str, Any]]] = [("[agent]", agent), ("[mqtt]", mqtt), ("[engine]", engine)]
    if len(names) > 1:
        tables.append(("[store]", {"url": f"sqlite:///{state / 'inspector.db'}"}))
    own = list(enumerate(camera_names(setting.cameras), 1))[number :: len(names)]
    for _, name in own:
        tables.append(("[[camera]]", {"name": name, "on_unjudged": "quarantine", "trigger_from": "topic"}))
    window_ms = setting.gate_window_ms
    for camera, name in own if window_ms is not None else ():
        gate = {"name": f"gate{camera}", "cameras": [name], "window_ms": window_ms, "trigger_source": "camera"}
        tables.append(("[[gate]]", gate | {"reserve_ms": min(5.0, (window_ms or 0) / 10)}))
    return tables


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, os.PathLike) else value)  # TOML's own form of these kinds


def _take_over(source: Path, target: Path) -> None:
    """Copy exported graphs of the person's plant, so that they need not be exported again. Each carries its digest."""
    with contextlib.suppress(OSError):
        kept = [file for file, status in entries(source) if stat.S_ISREG(status.st_mode) and file.suffix]
        for file in kept:
            if not file.name.startswith(".") and not (target / file.name).exists():
                partial = target / f".{file.name}.{os.getpid()}"
                shutil.copyfile(file, partial)
                partial.replace(target / file.name)
