"""`inspector bench products`: what more products cost a frame, and how much memory each of them takes.

One product is enrolled. The others are copies of it under other names, whose anchors are turned away from its own: the
registry, the vote and the memory are as large as with as many real products, and every frame still goes to the real
one. The counts take turns, each with an agent that is started for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from inspector.benching.line import Shown
from inspector.benching.machine import Machine, this_machine
from inspector.benching.plant import BY, Plant, Say, plant, reconfigured, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.quantiles import quantiles
from inspector.benching.schedule import Arrivals, schedule
from inspector.operation.opening import registry_of
from inspector.vision.artifacts.format import Artifact, pack, unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import unit_length
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.routing_pass import RoutingPass

COUNTS: Final = (1, 10, 50, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductsRequest:
    """`frames`: for each count in each round, at `rate_fps` of all cameras together."""

    setting: PlantSetting
    counts: tuple[int, ...] = COUNTS
    rounds: int = 3
    frames: int = 300
    rate_fps: float = 10.0
    arrivals: Arrivals = Arrivals.PERIODIC
    seed: int = 1


@dataclass(slots=True)
class ProductsRun:
    """What was shown to the agent with so many products, one entry a round."""

    request: ProductsRequest
    machine: Machine
    broker: str
    shown: dict[int, list[Shown]] = field(default_factory=dict)
    profile: str = ""


async def run_products(request: ProductsRequest, say: Say) -> ProductsRun:
    """Raises UsageError, InspectorError."""
    machine = this_machine()
    async with plant(replace(request.setting, products=1), say) as first:
        run = ProductsRun(request, machine, first.broker_name, {count: [] for count in request.counts})
        async with registry_of(first.config) as registry:
            run.profile = (await registry.live()).versions[0].profile
        plants = {count: await _with_copies(request.setting, first, count, say) for count in request.counts}
        turns = [(count, number) for number in range(request.rounds) for count in request.counts]
        for done, (count, number) in enumerate(turns):
            say("products", done, len(turns))
            plan = schedule(
                request.rate_fps, request.frames, request.setting.cameras, request.arrivals, request.seed + number
            )
            async with running(plants[count], lambda *_: None) as line:
                run.shown[count].append(await line.follow(plan))
        say("products", len(turns), len(turns))
    return run


async def _with_copies(setting: PlantSetting, first: Plant, count: int, say: Say) -> Plant:
    """A plant beside the first one, with its product and `count` - 1 copies."""
    folder = first.folder / f"with-{count}"
    made = await asyncio.to_thread(_beside, setting, first, folder)
    async with _registry(made) as (registry, artifact):
        if count == 1:
            return made
        engine = await asyncio.to_thread(create_engine, made.config.engine.name, made.engines, 1)
        see = await asyncio.to_thread(RoutingPass.on, engine)
        for number, (content, manifest) in enumerate(copies(artifact, count - 1, see), 1):
            if number % 10 == 0:
                say(f"copies for {count}", number, count)
            await registry.add_version(f"copy-{number}", content, manifest, by=BY, activate=True)
    return made


def _beside(setting: PlantSetting, first: Plant, folder: Path) -> Plant:
    folder.mkdir()
    shutil.copytree(first.config.agent.state_dir, folder / "state", symlinks=True)
    return reconfigured(setting, first, folder)


@contextlib.asynccontextmanager
async def _registry(made: Plant) -> AsyncIterator[tuple[Any, Artifact]]:
    async with registry_of(made.config) as registry:
        version = (await registry.live()).versions[0]
        yield registry, unpack(await registry.artifact(version.product, version.version), version.digest)


def copies(artifact: Artifact, count: int, see: RoutingPass) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Bytes and manifest of `count` products like this one. Their anchors lie elsewhere, so that no frame is theirs.

    The channels of anchors and descriptors are shuffled and half of them negated, alike for all of a product, so that
    its anchors lie to each other as before. Probes get the distance that they have from these anchors.
    """
    own = artifact.anchors
    for number in range(1, count + 1):
        rng = np.random.default_rng([7, number])
        order = rng.permutation(own.anchors.shape[1])
        signs = rng.choice(np.array([-1, 1], np.float32), own.anchors.shape[1])
        name = f"copy-{number}"
        anchors = ProductAnchors(
            name, unit_length(own.anchors[:, order] * signs), unit_length(own.descriptors[:, order] * signs), own.bound
        )
        probes = tuple(
            replace(probe, routing_distance=anchors.distance(see.patches_of_copy(probe.routing)))
            for probe in artifact.probes
        )
        yield pack(replace(artifact, product=name, anchors=anchors, probes=probes))


def document(run: ProductsRun) -> dict[str, Any]:
    """The JSON of the command."""
    counts = {str(count): _figures(pieces) for count, pieces in run.shown.items()}
    return {
        "counts": counts,
        "mib_per_product": _mib_per_product({count: counts[str(count)]["rss_mib"] for count in run.shown}),
        "rate_fps": run.request.rate_fps,
        "frames": run.request.frames,
        "rounds": run.request.rounds,
        "cameras": run.request.setting.cameras,
        "profile": run.profile,
        "broker": run.broker,
        "machine": asdict(run.machine),
    }


def _figures(pieces: list[Shown]) -> dict[str, Any]:
    parts = [part for piece in pieces for part in piece.parts]
    told = [part.latency_ms for part in parts if part.latency_ms is not None]
    found = quantiles(told, len(parts) - len(told))
    resident = [piece.resident_mib for piece in pieces if piece.resident_mib is not None]
    return {
        "p50_ms": found["p50"],
        "p99_ms": found["p99"],
        "rss_mib": round(statistics.median(resident), 2) if resident else None,
        "frames": len(parts),
        "lost": len(parts) - len(told),
        "unjudged": sum((part.record or {}).get("outcome") == "unjudged" for part in parts),
    }


def _mib_per_product(resident: dict[int, float | None]) -> float | None:
    """Memory of one more product, between the fewest and the most; None with a single count."""
    least, most = min(resident), max(resident)
    low, high = resident[least], resident[most]
    if least == most or low is None or high is None:
        return None
    return round((high - low) / (most - least), 3)
