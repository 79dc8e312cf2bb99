"""`inspector bench engine`: the backbone alone in each arrangement that keeps the cores busy, and what a head costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from inspector.benching.alone import BATCHES, Alone, Arrangement, Passed, bare_backbone
from inspector.benching.machine import Machine, this_machine
from inspector.benching.pipeline import in_thread
from inspector.benching.plant import Plant, Say, bench_folder, check, prepared
from inspector.benching.plant_setting import PlantSetting
from inspector.errors import EngineError, TorchMissing, UsageError
from inspector.operation.opening import registry_of
from inspector.vision.artifacts.format import Artifact, unpack
from inspector.vision.engines.factory import ENGINES, create_engine
from inspector.vision.engines.protocols import FLOAT32, Precision
from inspector.vision.networks.backbone import find_weights
from inspector.vision.networks.torch_extra import INSTALL_TORCH
from inspector.vision.serving.product_inspector import ProductInspector

WARM_UP: Final = 3
_NEEDS_TORCH: Final = f"It needs torch and timm, which are not usable here. Run `{INSTALL_TORCH}`."


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """`names`: engines to measure; empty for all that can be made here. `rounds`: of the head's parts; 0: no head."""

    setting: PlantSetting
    names: tuple[str, ...] = ()
    window_s: float = 2.0
    batches: tuple[int, ...] = BATCHES
    rounds: int = 60


@dataclass(frozen=True, slots=True)
class HeadCost:
    """Median milliseconds of one frame on one thread: the product's own pass, its head, the head with a heat map."""

    product: str
    head: str
    profile: str
    pass_ms: float
    head_ms: float
    head_with_map_ms: float


@dataclass(slots=True)
class EngineRun:
    """`tried`: by engine, the fastest arrangement first. `absent`: by engine, why it can't be measured here."""

    machine: Machine
    tried: dict[str, dict[Arrangement, Passed]] = field(default_factory=dict)
    frame_p50_ms: dict[str, float] = field(default_factory=dict)
    precision: dict[str, Precision] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    head: HeadCost | None = None


async def run_engines(request: EngineRequest, say: Say) -> EngineRun:
    """Raises UsageError for an unknown engine, EngineError where a named one or none at all can be made."""
    check(request.setting)
    if unknown := [name for name in request.names if name not in ENGINES]:
        raise UsageError(f"There is no engine {unknown[0]!r}; choose one of {', '.join(ENGINES)}.")
    for name in request.names:  # before minutes of work
        await asyncio.to_thread(create_engine, name, request.setting.base / "engines", 1)
    run = EngineRun(this_machine())
    names = request.names or ENGINES
    with bench_folder(request.setting.base) as folder:
        made = await prepared(request.setting, folder, say) if request.rounds else None
        cache = request.setting.base / "engines"
        for number, name in enumerate(names):
            say("engines", number, len(names))
            try:
                await _measure(run, request, name, cache)
            except (EngineError, ImportError) as error:
                if request.names:
                    raise
                run.absent[name] = _NEEDS_TORCH if isinstance(error, TorchMissing) else str(error)
        say("engines", len(names), len(names))
        if not run.tried:
            raise EngineError("No engine can be measured here: " + " ".join(dict.fromkeys(run.absent.values())))
        if made is not None:
            run.head = await _head(request, made, cache)
    return run


async def _measure(run: EngineRun, request: EngineRequest, name: str, cache: Path) -> None:
    cores = run.machine.cores
    section = request.setting.config.engine
    precision: Precision = cast(Precision, section.precision) if name == section.name else FLOAT32
    alone = await in_thread(None, lambda: Alone(name, cache, bare_backbone(), precision=precision))
    tried = await in_thread(alone, alone.best, cores, request.window_s, request.batches)
    run.frame_p50_ms[alone.engine] = await in_thread(alone, alone.frame_p50_ms, cores, request.window_s)
    run.tried[alone.engine] = tried
    run.precision[alone.engine] = precision


async def _head(request: EngineRequest, made: Plant, cache: Path) -> HeadCost:
    async with registry_of(made.config) as registry:
        version = (await registry.live()).versions[0]
        artifact = unpack(await registry.artifact(version.product, version.version), version.digest)
    engine = request.names[0] if request.names else made.config.engine.name
    times = await asyncio.to_thread(_times, artifact, engine, cache, request.rounds, made.config.engine.weights_dir)
    medians = {name: round(statistics.median(own), 3) for name, own in times.items()}
    return HeadCost(
        version.product, version.head, version.profile, *(medians[name] for name in ("pass", "head", "map"))
    )


def _times(
    artifact: Artifact, engine_name: str, cache: Path, rounds: int, weights_dir: Path | None
) -> dict[str, Sequence[float]]:
    """Milliseconds of each part, one after the other in each round."""
    engine = create_engine(engine_name, cache, 1)
    weights_file = find_weights(artifact.manifest.get("weights_file"), weights_dir)
    embedder = engine.embedder(artifact.graph, weights_file, small=True, precision=artifact.precision)
    inspector = ProductInspector(artifact, engine)
    frame = artifact.probes[0].prepared[None]
    embedded = embedder(frame)
    size = artifact.preparation.canvas
    work: dict[str, Callable[[], object]] = {
        "pass": lambda: embedder(frame),
        "head": lambda: inspector.judge(embedded),
        "map": lambda: inspector.scored(inspector.judge(embedded)[0], size, always_map=True),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + WARM_UP):
        for name, do in work.items():
            began = time.perf_counter()
            do()
            if turn >= WARM_UP:
                times[name].append((time.perf_counter() - began) * 1e3)
    return dict(times)


def document(run: EngineRun) -> dict[str, Any]:
    """The JSON of the command. `batch`: milliseconds an image, in the fastest arrangement of that batch."""
    return {
        "engines": {name: _engine(run, name) for name in run.tried},
        "absent": run.absent,
        "head": None if run.head is None else asdict(run.head),
        "machine": asdict(run.machine),
    }


def _engine(run: EngineRun, name: str) -> dict[str, Any]:
    tried = run.tried[name]
    fastest: dict[int, float] = {}
    for arrangement, passed in tried.items():  # the fastest one first
        fastest.setdefault(arrangement.batch, round(1e3 / passed.fps, 4))
    return {
        "precision": run.precision[name],
        "batch": {str(batch): fastest[batch] for batch in sorted(fastest)},
        "best": _arranged(*next(iter(tried.items()))),
        "frame_p50_ms": round(run.frame_p50_ms[name], 3),
        "arrangements": [_arranged(*each) for each in tried.items()],
    }


def _arranged(arrangement: Arrangement, passed: Passed) -> dict[str, Any]:
    call = passed.call_p50_ms
    return {
        **asdict(arrangement),
        "fps": round(passed.fps, 3),
        "call_p50_ms": None if call is None else round(call, 3),
    }
