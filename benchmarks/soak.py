"""Does an agent grow? A line runs for a long time at a part of its highest rate; what its process holds is read often.

    python -m benchmarks.soak [--minutes 30] [--load 0.7] [--cameras 4] [--profile standard] [--json]

Parts, broker and agent are those of `inspector bench pipeline`. The rate is `--load` times what the line does at
saturation, or `--rate-fps`. Each reading comes from the agent's own state topic: resident memory, descriptors, threads,
and tasks of its event loop. The first `--settle-minutes` do not count. The command ends with 1 where something grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from connectors.mqtt.listener import MqttListener
from inspector.agent.telemetry import configure_logging
from inspector.benching.line import Line
from inspector.benching.machine import this_machine
from inspector.benching.pipeline import waiting_frames
from inspector.benching.plant import Plant, plant, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.schedule import Arrivals, schedule
from inspector.config.loading import load
from inspector.lifetime import run_to_end

FIGURES = ("process_resident_mib", "process_descriptors", "process_threads", "process_tasks")
MEMORY_SHARE = 0.02
SPARE = 2
"""Descriptors, threads and tasks may differ by this many: a picture is being written, a connection renewed."""

PIECE_S = 30.0


@dataclass(slots=True)
class Soak:
    """What was read. `readings`: minutes since the start, and each figure then."""

    rate_fps: float = 0.0
    frames: int = 0
    lost: int = 0
    readings: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def grown(self, settle_minutes: float, memory_share: float = MEMORY_SHARE) -> list[str]:
        """What grew after that time: the medians of its first and last third differ by more than allowed."""
        counted = [figures for minutes, figures in self.readings if minutes >= settle_minutes]
        third = max(1, len(counted) // 3)
        found = []
        for name in FIGURES:
            values = [figures[name] for figures in counted]
            if not values:
                found.append(f"{name} was never read")
                continue
            first, last = statistics.median(values[:third]), statistics.median(values[-third:])
            allowed = memory_share * first if name == "process_resident_mib" else SPARE
            if last - first > allowed:
                found.append(f"{name} from {first:g} to {last:g}")
        return found


def main() -> int:
    options = _options()
    configure_logging("warning")  # to standard error: standard output is the result's
    soak = run_to_end(_soaked(options))
    print(json.dumps(_document(soak, options)) if options.json else _table(soak, options))
    return 1 if soak.lost or soak.grown(options.settle_minutes, options.memory_share) else 0


async def _soaked(options: argparse.Namespace) -> Soak:
    setting = PlantSetting(
        config=load(options.config),
        cameras=options.cameras,
        profile=options.profile,
        images=options.images,
        copied=tuple(options.product),
    )
    async with plant(setting, _say) as made, running(made, _say) as line:
        return await _watched(made, line, options)


async def _watched(made: Plant, line: Line, options: argparse.Namespace) -> Soak:
    soak = Soak(options.rate_fps or options.load * await _saturation_fps(line))
    loop = asyncio.get_running_loop()
    began = loop.time()

    def read(_topic: str, payload: bytes) -> None:
        gauges = orjson.loads(payload).get("gauges", {})
        if all(name in gauges for name in FIGURES):
            soak.readings.append(((loop.time() - began) / 60, {name: gauges[name] for name in FIGURES}))

    agent = made.config.agent
    topic = f"{agent.prefix}/agent/{agent.name}/state"
    async with MqttListener(made.broker, f"{agent.name}:soak", [topic], read, hears_retained=True):
        seed = 0
        while (minutes := (loop.time() - began) / 60) < options.minutes:
            piece_s = min(PIECE_S, (options.minutes - minutes) * 60)
            plan = schedule(soak.rate_fps, max(1, round(soak.rate_fps * piece_s)), line.cameras, Arrivals.POISSON, seed)
            shown = await line.follow(plan)
            soak.frames += len(shown.parts)
            soak.lost += sum(part.record is None for part in shown.parts)
            line.observed.parts.clear()
            seed += 1
            _say("soaking", round((loop.time() - began) / 60), round(options.minutes))
    return soak


async def _saturation_fps(line: Line) -> float:
    windows = [await line.saturate(5.0, waiting_frames(this_machine().cores)) for _ in range(3)]
    return statistics.median(window.fps for window in windows)


def _document(soak: Soak, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "rate_fps": round(soak.rate_fps, 1),
        "minutes": options.minutes,
        "frames": soak.frames,
        "lost": soak.lost,
        "grown": soak.grown(options.settle_minutes, options.memory_share),
        "readings": [{"minute": round(minute, 2), **figures} for minute, figures in soak.readings],
    }


def _table(soak: Soak, options: argparse.Namespace) -> str:
    """Markdown: the readings by tenths of the time, then what grew."""
    lines = ["| minutes | MiB | descriptors | threads | tasks |", "|---|---|---|---|---|"]
    for tenth in range(10):
        within = [
            figures
            for minute, figures in soak.readings
            if tenth <= 10 * minute / max(options.minutes, 1e-9) < tenth + 1
        ]
        medians = (
            [statistics.median(each[name] for each in within if name in each) for name in FIGURES] if within else []
        )
        if medians:
            until = (tenth + 1) * options.minutes / 10
            lines.append(
                f"| to {until:g} | {medians[0]:.1f} | " + " | ".join(f"{each:g}" for each in medians[1:]) + " |"
            )
    grown = ", ".join(soak.grown(options.settle_minutes, options.memory_share)) or "nothing"
    lines += [
        "",
        f"{soak.frames} frames at {soak.rate_fps:.1f} a second, {soak.lost} without a verdict; grown: {grown}",
    ]
    return "\n".join(lines)


def _say(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done} of {total}", file=sys.stderr, flush=True)


def _options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Watches what an agent holds, for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--settle-minutes", type=float, default=5.0, help="readings before do not count")
    parser.add_argument("--memory-share", type=float, default=MEMORY_SHARE, help="growth of memory that is allowed")
    parser.add_argument("--load", type=float, default=0.7, help="part of the rate at saturation")
    parser.add_argument("--rate-fps", type=float, help="a rate in place of --load")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--images", type=Path, help="folder of good images; drawn parts otherwise")
    parser.add_argument("--product", action="append", default=[], help="live product to copy; --images shows it")
    parser.add_argument("--config", type=Path, help="configuration whose engine section is used")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
