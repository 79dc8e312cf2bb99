"""`inspector bench pipeline`: a whole line beside the backbone alone, in alternating windows of one run.

First at saturation: a window of frames that always wait, a window of the product's own pass alone, a window of the bare
backbone alone, and so on. Then by a schedule at a part of that rate, with the backbone's time for a frame between the
pieces. What disturbs the machine for a while disturbs both sides of a ratio. The line stands still while the backbone
is measured, so each piece has a lead-in: its latencies are those of a line after a pause, and are told apart.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from inspector.benching.alone import BATCHES, Alone, Arrangement, bare_backbone
from inspector.benching.line import Line, Saturated, Shown
from inspector.benching.machine import Machine, this_machine
from inspector.benching.open_loop import Part
from inspector.benching.plant import Plant, Say, plant, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.quantiles import quantiles
from inspector.benching.schedule import Arrivals, Due, schedule
from inspector.domain import printable
from inspector.errors import EngineError, UsageError
from inspector.operation.opening import registry_of
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import ENGINES, create_engine
from inspector.vision.engines.protocols import FLOAT32, Precision
from inspector.vision.networks.backbone import find_weights
from inspector.vision.networks.graphs import Graph

STAGES: Final = ("decode", "route", "embed", "score", "total")
WAITING_PER_CORE: Final = 8
LEAST_WAITING: Final = 16
MOST_PIECE_FRAMES: Final = 1000
LEAD_IN_S: Final = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRequest:
    """What is measured. `rate_fps`: of all cameras together; None is `load` times the rate at saturation.

    `frames`: of the schedule; 0 leaves it out. `windows`: at saturation, each `window_s` long; 0 leaves them out.
    `probe_s`: how long each arrangement of the backbone is tried. `reference`: engine of the bare backbone.
    """

    setting: PlantSetting
    windows: int = 5
    window_s: float = 5.0
    probe_s: float = 1.0
    rate_fps: float | None = None
    load: float = 0.5
    frames: int = 2000
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 1
    deadline_ms: float = 100.0
    reference: str = "onnxruntime"
    batches: tuple[int, ...] = BATCHES


@dataclass(slots=True)
class PipelineRun:
    """Everything that was measured. Lists have one entry a window, and belong together by position.

    `cores`: with which each agent inspects.
    """

    request: PipelineRequest
    machine: Machine
    broker: str
    engine: str = ""
    profile: str = ""
    precision: Precision = FLOAT32
    cores: int = 0
    without_bare: str = ""
    pass_arrangement: Arrangement | None = None
    backbone_arrangement: Arrangement | None = None
    saturated: list[Saturated] = field(default_factory=list)
    pass_fps: list[float] = field(default_factory=list)
    backbone_fps: list[float] = field(default_factory=list)
    backbone_p50_ms: list[float] = field(default_factory=list)
    offered_fps: float | None = None
    lead_ins: list[Shown] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)

    @property
    def parts(self) -> list[Part]:
        """Of the schedule, without lead-ins."""
        return [part for piece in self.shown for part in piece.parts]

    @property
    def after_pause(self) -> list[Part]:
        """Of the lead-ins."""
        return [part for piece in self.lead_ins for part in piece.parts]


async def run_pipeline(request: PipelineRequest, say: Say) -> PipelineRun:
    """Raises UsageError, InspectorError. Nothing is left of it but the figures."""
    if not request.windows and not request.frames:
        raise UsageError("With --windows 0 and --frames 0 there is nothing to measure.")
    if request.reference not in ("auto", *ENGINES):
        raise UsageError(f"There is no engine {printable(request.reference)}; choose one of {', '.join(ENGINES)}.")
    machine = this_machine()
    async with plant(request.setting, say) as made:
        graph, weights_file, profile, precision = await pass_of(made)
        engine = made.config.engine.name
        own = await in_thread(None, Alone, engine, made.engines, graph, weights_file, precision)
        cores = made.config.engine.cores
        run = PipelineRun(request, machine, made.broker_name, own.engine, profile, own.precision, cores)
        bare = await in_thread(None, _bare, run, made.engines)
        async with running(made, say) as line:
            if request.windows:
                await _saturation(run, line, own, bare, say)
            if request.frames:
                await _by_schedule(run, line, bare, say)
    return run


def _bare(run: PipelineRun, cache: Path) -> Alone | None:
    """The bare backbone alone. None, and why in `run.without_bare`, where its graph is not kept and can't be exported.

    An agent needs no torch, and no version needs this graph.
    """
    create_engine(run.request.reference, cache, 1)  # an engine that is not there is an error, not a figure left out
    try:
        alone = Alone(run.request.reference, cache, bare_backbone())
        alone.embedder(Arrangement(1, 1, 1), 0)
    except EngineError as error:
        run.without_bare = str(error)
        return None
    return alone


async def pass_of(made: Plant) -> tuple[Graph, Path | None, str, Precision]:
    """The pass of the first product, its weights file where they are not the default ones, profile and precision."""
    async with registry_of(made.config) as registry:
        version = (await registry.live()).versions[0]
        artifact = unpack(await registry.artifact(version.product, version.version), version.digest)
    weights_file = find_weights(artifact.manifest.get("weights_file"), made.config.engine.weights_dir)
    return artifact.graph, weights_file, version.profile, artifact.precision


async def in_thread(alone: Alone | None, work: Callable[..., Result], *arguments: Any) -> Result:
    """The result of `work` on another thread. Cancelled, it ends the window of `alone` that runs there."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except asyncio.CancelledError:
        if alone is not None:
            alone.stop.set()
        raise


def waiting_frames(cores: int) -> int:
    """Frames on their way at saturation: more than workers and batches hold, so that none of them ever waits."""
    return max(LEAST_WAITING, WAITING_PER_CORE * cores)


async def _saturation(run: PipelineRun, line: Line, own: Alone, bare: Alone | None, say: Say) -> None:
    request, cores = run.request, run.machine.cores
    say("backbone alone", 0, 2)
    run.pass_arrangement = next(iter(await in_thread(own, own.best, cores, request.probe_s, request.batches)))
    say("backbone alone", 1, 2)
    if bare is not None:
        run.backbone_arrangement = next(iter(await in_thread(bare, bare.best, cores, request.probe_s, request.batches)))
    say("backbone alone", 2, 2)
    for number in range(request.windows):
        say("at saturation", number, request.windows)
        run.saturated.append(await line.saturate(request.window_s, waiting_frames(cores)))
        for alone, arrangement, fps in (
            (own, run.pass_arrangement, run.pass_fps),
            (bare, run.backbone_arrangement, run.backbone_fps),
        ):
            if alone is not None:
                fps.append((await in_thread(alone, alone.window, arrangement, request.window_s)).fps)
    say("at saturation", request.windows, request.windows)


async def _by_schedule(run: PipelineRun, line: Line, bare: Alone | None, say: Say) -> None:
    request = run.request
    rate_fps = request.rate_fps
    if rate_fps is None:
        held = run.saturated or [await line.saturate(request.window_s, waiting_frames(run.machine.cores))]
        rate_fps = request.load * statistics.median(each.fps for each in held)
    run.offered_fps = max(rate_fps, 0.1)
    plan = schedule(run.offered_fps, request.frames, line.cameras, request.arrivals, request.seed)
    done = 0
    for piece in pieces(plan, MOST_PIECE_FRAMES):
        say("by schedule", done, len(plan))
        if bare is not None:
            run.backbone_p50_ms.append(
                await in_thread(bare, bare.frame_p50_ms, run.machine.cores, min(request.probe_s, 1.0))
            )
        run.lead_ins.append(await line.follow(_lead_in(run, len(piece), line.cameras)))
        run.shown.append(await line.follow(piece))
        done += len(piece)
    say("by schedule", done, len(plan))


def _lead_in(run: PipelineRun, most: int, cameras: int) -> list[Due]:
    """LEAD_IN_S of frames as in the schedule, at most `most`."""
    rate_fps = run.offered_fps or 0.0
    count = min(max(1, round(LEAD_IN_S * rate_fps)), most)
    return schedule(rate_fps, count, cameras, run.request.arrivals, run.request.seed)


def pieces(plan: Sequence[Due], most: int) -> list[list[Due]]:
    """The plan in equal pieces of at most `most` frames, at least three if it has six frames; each begins at 0 s."""
    count = max(-(-len(plan) // most), 3 if len(plan) >= 6 else 1)
    size = -(-len(plan) // count)
    cut = [plan[start : start + size] for start in range(0, len(plan), size)]
    return [[Due(due.at_s - piece[0].at_s, due.camera) for due in piece] for piece in cut]


def document(run: PipelineRun) -> dict[str, Any]:
    """The JSON of the command. Keys are only ever added."""
    parts, after_pause, request = run.parts, run.after_pause, run.request
    shown = [*after_pause, *parts]
    missed = sum(is_missed(part, request.deadline_ms) for part in parts)
    latency = _latency(parts)
    throughput = _median([each.fps for each in run.saturated]) or _paced_fps(run)
    backbone_p50 = _median(run.backbone_p50_ms)
    return {
        "offered_fps": _rounded(run.offered_fps),
        "throughput_fps": _rounded(throughput),
        "backbone_only_fps": _rounded(_median(run.pass_fps)),
        "bare_backbone_fps": _rounded(_median(run.backbone_fps)),
        "ratio": _rounded(_ratio([each.fps for each in run.saturated], run.pass_fps)),
        "bare_ratio": _rounded(_ratio([each.fps for each in run.saturated], run.backbone_fps)),
        "latency_ms": latency,
        "backbone_p50_ms": _rounded(backbone_p50),
        "latency_in_backbone_p50": {
            name: None if value is None or not backbone_p50 else _rounded(value / backbone_p50)
            for name, value in latency.items()
        },
        "stages_ms": {stage: quantiles(stage_ms(parts, stage)) for stage in STAGES},
        "deadline_ms": request.deadline_ms,
        "deadline_misses": round(missed / len(parts), 6) if parts else None,
        "deadline_missed": missed,
        "frames": len(parts),
        "after_pause": {"frames": len(after_pause), "latency_ms": _latency(after_pause)},
        "lost": sum(part.record is None and part.heard_ns is None for part in shown),
        "late": sum(part.is_shed for part in shown),
        "unjudged": sum((part.record or {}).get("outcome") == "unjudged" for part in shown),
        "repeated": sum(part.repeats for part in shown),
        "sent_late_ms": quantiles([(part.sent_ns - part.due_ns) / 1e6 for part in parts if part.sent_ns is not None]),
        "cpu": run.machine.cpu,
        "cpu_ms_per_frame": {
            "saturation": _rounded(_processor_ms(run.saturated, [each.frames for each in run.saturated])),
            "schedule": _rounded(_processor_ms(run.shown, [len(each.parts) for each in run.shown])),
        },
        "resident_mib": _rounded(_largest_mib(run)),
        "engine": run.engine,
        "precision": run.precision,
        "reference_engine": request.reference,
        "without_bare": run.without_bare or None,
        "arrangement": None if run.pass_arrangement is None else asdict(run.pass_arrangement),
        "bare_arrangement": None if run.backbone_arrangement is None else asdict(run.backbone_arrangement),
        "windows": _windows(run),
        "arrivals": request.arrivals.value,
        "seed": request.seed,
        "cameras": request.setting.cameras,
        "agents": request.setting.agents,
        "agent_cores": run.cores,
        "products": len(request.setting.copied) or request.setting.products,
        "profile": run.profile,
        "gates": request.setting.gate_window_ms is not None,
        "broker": run.broker,
        "database": "sqlite",
        "machine": asdict(run.machine),
    }


def _windows(run: PipelineRun) -> list[dict[str, float | None]]:
    keys = ("throughput_fps", "backbone_only_fps", "bare_backbone_fps")
    columns = [[each.fps for each in run.saturated], run.pass_fps, run.backbone_fps]  # the last may be empty
    return [dict(zip(keys, map(_rounded, row), strict=True)) for row in itertools.zip_longest(*columns)]


def is_missed(part: Part, deadline_ms: float) -> bool:
    """Whether the line was told too late about this part, or not at all, or that the agent was too late."""
    latency_ms = part.latency_ms
    return latency_ms is None or latency_ms > deadline_ms or part.is_shed


def _latency(parts: Sequence[Part]) -> dict[str, float | None]:
    told = [part.latency_ms for part in parts if part.latency_ms is not None]
    return quantiles(told, len(parts) - len(told))


def stage_ms(parts: Sequence[Part], stage: str) -> list[float]:
    """The times of one stage from the records of those parts that passed it."""
    found = [(part.record or {}).get(f"{stage}_ms") for part in parts]
    return [float(value) for value in found if value is not None]


def _largest_mib(run: PipelineRun) -> float | None:
    windows: list[Saturated | Shown] = [*run.saturated, *run.shown]
    return max((each.resident_mib for each in windows if each.resident_mib is not None), default=None)


def _told_after_s(parts: Sequence[Part]) -> float:
    """From the instant at which the first part was due to the last word on one of them."""
    last_ns = max((part.heard_ns for part in parts if part.heard_ns is not None), default=None)
    return 0.0 if last_ns is None else (last_ns - parts[0].due_ns) / 1e9


def _paced_fps(run: PipelineRun) -> float | None:
    """Frames told a second, from the first frame of the schedule to the last one that was sent or told."""
    seconds = sum(max(piece.seconds, _told_after_s(piece.parts)) for piece in run.shown)
    return sum(part.heard_ns is not None for part in run.parts) / seconds if seconds else None


def _processor_ms(windows: Sequence[Saturated | Shown], frames: Sequence[int]) -> float | None:
    used = [each.processor_s for each in windows]
    if not sum(frames) or any(value is None for value in used):
        return None
    return 1e3 * sum(value for value in used if value is not None) / sum(frames)


def _ratio(line: Sequence[float], alone: Sequence[float]) -> float | None:
    """The median of the ratios of windows that lie side by side."""
    return _median([own / other for own, other in zip(line, alone, strict=False) if other])


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
