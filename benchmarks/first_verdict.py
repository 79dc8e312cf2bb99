"""How long an agent takes from its start to its first verdict, in times of what loading its engine alone takes.

    python -m benchmarks.first_verdict [--rounds 5] [--profile fast]

Parts, broker and agent are those of `inspector bench pipeline`; the exported graph is there already. In each round a
process loads the engine and passes one square, and then an agent is started behind a frame that waits at the broker.
Both count from the start of their process, imports included. Modules are compiled already, as those of an installed
package are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from connectors.mqtt.listener import MqttListener
from connectors.mqtt.publisher import MqttPublisher
from inspector.agent.telemetry import configure_logging
from inspector.benching.children import child, last_line
from inspector.benching.plant import Plant, plant, running
from inspector.benching.plant_setting import PlantSetting
from inspector.config.loading import load
from inspector.lifetime import run_to_end

PASS = """
import sys
from pathlib import Path
import numpy as np
from inspector.benching.alone import bare_backbone
from inspector.vision.engines.factory import create_engine
graph = bare_backbone()
embedder = create_engine("onnxruntime", Path(sys.argv[1])).embedder(graph)
embedder(np.zeros((1, graph.size_px, graph.size_px, 3), np.uint8))
"""
PATIENCE_S = 120.0


def main() -> None:
    """Prints one row per round, and the medians."""
    options = _options()
    configure_logging("warning")
    with tempfile.TemporaryDirectory() as compiled:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled  # filled by the start before the first round
        rounds = run_to_end(_measured(options))
    print("| round | engine alone, s | first verdict, s | ratio |\n|---|---|---|---|")
    for number, (engine_s, verdict_s) in enumerate(rounds, 1):
        print(f"| {number} | {engine_s:.2f} | {verdict_s:.2f} | {verdict_s / engine_s:.2f} |")
    engine_s, verdict_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(verdict / engine for engine, verdict in rounds)
    print(f"| median | {engine_s:.2f} | {verdict_s:.2f} | {ratio:.2f} |")


async def _measured(options: argparse.Namespace) -> list[tuple[float, float]]:
    setting = PlantSetting(config=load(None), cameras=1, profile=options.profile)
    async with plant(setting, _say) as made:
        async with running(made, _say):
            pass  # the broker knows the agent's session now, and keeps its frames
        await _engine_s(made)
        return [(await _engine_s(made), await _verdict_s(made, number)) for number in range(1, options.rounds + 1)]


async def _engine_s(made: Plant) -> float:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PASS, str(made.engines))
    if await process.wait() != 0:
        raise SystemExit("The engine could not be loaded; its error stands above.")
    return time.monotonic() - began


async def _verdict_s(made: Plant, number: int) -> float:
    agent, log = made.config.agent, Path(made.folder / "agent.log")
    has_verdict = asyncio.Event()
    topic = f"{agent.prefix}/cam1/frame/{100_000 + number}"
    async with (
        MqttPublisher(made.broker, f"{agent.name}:first") as publisher,
        MqttListener(made.broker, f"{agent.name}:heard", [f"{agent.prefix}/+/verdict"], lambda *_: has_verdict.set()),
    ):
        await publisher.publish(topic, made.films[0].shown[number % len(made.films[0].shown)])
        began = time.monotonic()
        async with child(("run", "--config", str(made.config_file)), log):
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await has_verdict.wait()
            except TimeoutError:
                raise SystemExit(
                    f"No verdict within {PATIENCE_S:g} s; the agent's log ends: {last_line(log)}"
                ) from None
            return time.monotonic() - began


def _say(_phase: str, _done: int, _total: int) -> None:
    return


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="fast")
    return parser.parse_args()


if __name__ == "__main__":
    main()
