"""What activating a version costs the frames that come meanwhile: none may be lost, and none wait long.

    python -m benchmarks.activation [--activations 10] [--load 0.3] [--images FOLDER] [--profile standard]

Parts, broker and agent are those of `inspector bench pipeline`. Frames come at even distances at `--load` of the rate
at saturation, so that hardly any waits for another one. In every second window a version is activated that the agent
has not loaded before: the same head with another threshold, which is fetched, opened and checked by its probes while
frames come. Latencies count from the instant at which a frame was due. A batch is one frame's time on its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inspector.agent.telemetry import configure_logging
from inspector.benching.line import Line
from inspector.benching.machine import this_machine
from inspector.benching.open_loop import Part
from inspector.benching.pipeline import waiting_frames
from inspector.benching.plant import BY, Plant, plant, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.quantiles import quantiles
from inspector.benching.schedule import Arrivals, schedule
from inspector.config.loading import load
from inspector.lifetime import run_to_end
from inspector.operation.opening import registry_of
from inspector.vision.artifacts.format import pack, unpack

ON_WORKER = ("decode_ms", "route_ms", "embed_ms", "score_ms")
SECONDS = 6.0
AT_S = 1.5
"""When a version is activated within its window."""


@dataclass
class Measured:
    """The parts of the windows, and the versions that judged in each."""

    quiet: list[Part] = field(default_factory=list)
    beside: list[Part] = field(default_factory=list)
    switched: int = 0


def main() -> None:
    """Prints one row for windows without and with an activation."""
    options = _options()
    configure_logging("warning")
    found = run_to_end(_measured(options))
    batch_ms = statistics.median(_on_worker_ms(found.quiet))
    print(
        f"{options.activations} activations, {found.switched} seen in verdicts; one batch: {batch_ms:.1f} ms (median)"
    )
    print("\n| windows | parts | lost | unjudged | p50 ms | p99 | largest | largest over p50, in batches |")
    print("|---|---|---|---|---|---|---|---|")
    for name, parts in (("without", found.quiet), ("with an activation", found.beside)):
        print(_row(name, parts, batch_ms))


def _row(name: str, parts: Sequence[Part], batch_ms: float) -> str:
    told = [part.latency_ms for part in parts if part.latency_ms is not None]
    unjudged = sum((part.record or {}).get("outcome") == "unjudged" for part in parts)
    at = quantiles(told)
    over = (max(told) - statistics.median(told)) / batch_ms
    counts = f"{len(parts)} | {len(parts) - len(told)} | {unjudged}"
    return f"| {name} | {counts} | {at['p50']:.1f} | {at['p99']:.1f} | {at['max']:.1f} | {over:.1f} |"


def _on_worker_ms(parts: Sequence[Part]) -> list[float]:
    records = [part.record for part in parts if part.record is not None]
    return [sum(float(record[key]) for key in ON_WORKER) for record in records if record.get("score_ms") is not None]


async def _measured(options: argparse.Namespace) -> Measured:
    setting = PlantSetting(
        config=load(None), cameras=options.cameras, profile=options.profile, images=options.images, state=options.state
    )
    async with plant(setting, _say) as made:
        versions = await _versions(made, options.activations)
        async with running(made, _say) as line:
            full = await line.saturate(5.0, waiting_frames(this_machine().cores))
            return await _windows(made, line, full.fps * options.load, versions)


async def _windows(made: Plant, line: Line, rate_fps: float, versions: Sequence[int]) -> Measured:
    found = Measured()
    for seed, version in enumerate(versions):
        plan = schedule(rate_fps, round(rate_fps * SECONDS), line.cameras, Arrivals.PERIODIC, seed)
        found.quiet += (await line.follow(plan)).parts
        shown, _ = await asyncio.gather(line.follow(plan), _activate(made, version))
        found.beside += shown.parts
        found.switched += any((part.record or {}).get("product_version") == version for part in shown.parts)
    return found


async def _activate(made: Plant, version: int) -> None:
    await asyncio.sleep(AT_S)
    async with registry_of(made.config) as registry:
        (live,) = (await registry.live()).versions
        await registry.activate(live.product, version, by=BY, reason="measured")


async def _versions(made: Plant, count: int) -> list[int]:
    """Numbers of new versions of the product: its own head, each with a threshold of its own, as bytes that differ."""
    async with registry_of(made.config) as registry:
        (live,) = (await registry.live()).versions
        artifact = unpack(await registry.artifact(live.product, live.version), live.digest)
        numbers = []
        for number in range(1, count + 1):
            raised = artifact.calibration.threshold * (1 + number / 1e4)
            content, manifest = pack(replace(artifact, calibration=replace(artifact.calibration, threshold=raised)))
            added = await registry.add_version(live.product, content, manifest, by=BY, activate=False)
            numbers.append(added.version)
    return numbers


def _say(_phase: str, _done: int, _total: int) -> None:
    return


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--activations", type=int, default=10)
    parser.add_argument("--load", type=float, default=0.3, help="part of the rate at saturation")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--images", type=Path, help="folder of good images; drawn parts otherwise")
    parser.add_argument("--state", type=Path, help="folder for the bench's own state")
    return parser.parse_args()


if __name__ == "__main__":
    main()
