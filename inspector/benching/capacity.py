"""`inspector capacity`: the highest rate at which 99.9 % of parts are told in time on this machine.

Every camera stands at a gate whose window is the deadline, and the time of a part ends with its decision at the broker.
Each rate is tried by an open loop; `search` chooses the rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from inspector.benching.line import Line, Shown
from inspector.benching.machine import Machine, this_machine
from inspector.benching.open_loop import Part
from inspector.benching.pipeline import is_missed, waiting_frames
from inspector.benching.plant import Say, plant, running
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.quantiles import quantiles
from inspector.benching.schedule import Arrivals, schedule
from inspector.benching.search import MOST_FPS, Trial, highest_rate, least_in_time
from inspector.operation.capacity import Capacity, now_text
from inspector.operation.opening import registry_of

FIRST_WINDOW_S: Final = 3.0
START_LOAD: Final = 0.5
LONGEST_TRIAL_S: Final = 120.0
LEAST_DEADLINES: Final = 20
"""How many deadlines a trial lasts at least. A line that is too slow falls behind, which nobody sees within one
deadline: in so many, a rate that is a twentieth too high is late."""
LEAST_FRAMES: Final = 100
LOOK_EVERY_NS: Final = 250_000_000
"""How often a trial looks whether it is lost: a look goes over all its parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRequest:
    """`frames`: of each trial; at fewer than 1000, all of them have to be in time. `start_fps` None: half of what is
    decided with frames always waiting.
    """

    setting: PlantSetting
    deadline_ms: float
    frames: int = 2000
    arrivals: Arrivals = Arrivals.PERIODIC
    seed: int = 1
    start_fps: float | None = None
    tolerance: float = 0.05


@dataclass(slots=True)
class CapacityRun:
    request: CapacityRequest
    machine: Machine
    broker: str
    engine: str
    profile: str = ""
    head: str = ""
    best: Trial | None = None
    trials: list[Trial] = field(default_factory=list)

    @property
    def telling(self) -> Trial | None:
        """The trial whose percentiles are kept: the best one, else the one at the lowest rate."""
        return self.best or min(self.trials, key=lambda trial: trial.rate_fps, default=None)


async def run_capacity(request: CapacityRequest, say: Say) -> CapacityRun:
    """Raises UsageError, InspectorError."""
    machine = this_machine()
    setting = replace(request.setting, gate_window_ms=request.deadline_ms)
    async with plant(setting, say) as made, running(made, say) as line:
        async with registry_of(made.config) as registry:
            shown = (await registry.live()).versions[0]
        run = CapacityRun(
            request, machine, made.broker_name, made.config.engine.name, profile=shown.profile, head=shown.head
        )
        start_fps = request.start_fps
        if start_fps is None:
            start_fps = START_LOAD * (await line.saturate(FIRST_WINDOW_S, waiting_frames(machine.cores))).fps

        async def measure(rate_fps: float) -> Trial:
            say("rates", len(run.trials), len(run.trials) + 1)
            parts = (await shown_at(line, request, rate_fps)).parts
            run.trials.append(trial_of(rate_fps, frames_at(rate_fps, request), parts, request.deadline_ms))
            run.engine = next(filter(None, map(engine_of, parts)), run.engine)
            return run.trials[-1]

        run.best, _ = await highest_rate(measure, start_fps, request.tolerance)
    return run


def frames_at(rate_fps: float, request: CapacityRequest) -> int:
    """Frames of a trial: as requested, but those of `LEAST_DEADLINES`, and no more than fit into `LONGEST_TRIAL_S`."""
    least = round(rate_fps * LEAST_DEADLINES * request.deadline_ms / 1e3)
    return min(max(request.frames, least), max(LEAST_FRAMES, round(rate_fps * LONGEST_TRIAL_S)))


def too_high_by(deadline_ms: float) -> float:
    """The share by which the rate may be too high: in a short trial, a line may not fall behind by a deadline."""
    return max(1 / LEAST_DEADLINES, deadline_ms / 1e3 / LONGEST_TRIAL_S)


async def shown_at(line: Line, request: CapacityRequest, rate_fps: float) -> Shown:
    """The frames of one trial. It ends early when more parts are late for certain than a rate in time may have."""
    count = frames_at(rate_fps, request)
    plan = schedule(rate_fps, count, line.cameras, request.arrivals, request.seed)
    observed, allowed = line.observed, count - least_in_time(count)
    look_again_ns = 0

    def is_hopeless() -> bool:
        nonlocal look_again_ns
        now_ns = observed.clock.monotonic_ns()
        if now_ns < look_again_ns:
            return False
        look_again_ns = now_ns + LOOK_EVERY_NS
        return overdue(list(observed.parts.values()), now_ns, request.deadline_ms) > allowed

    shown = await line.follow(plan, is_hopeless)
    observed.parts.clear()
    return shown


def trial_of(rate_fps: float, frames: int, parts: Sequence[Part], deadline_ms: float) -> Trial:
    """The trial of these parts. Of `frames` that were planned, those not shown any more count as never answered."""
    told = [part.latency_ms for part in parts if part.latency_ms is not None]
    in_time = sum(not is_missed(part, deadline_ms) for part in parts)
    found = quantiles(told, frames - len(told))
    return Trial(rate_fps, frames, in_time, found["p50"], found["p99"], found["p999"])


def overdue(parts: Sequence[Part], now_ns: int, deadline_ms: float) -> int:
    """Parts that are late for certain by now: told too late, or not yet told and due longer ago than the deadline."""
    limit_ns = now_ns - round(deadline_ms * 1e6)
    return sum(is_missed(part, deadline_ms) and (part.is_told or part.due_ns < limit_ns) for part in parts)


def engine_of(part: Part) -> str | None:
    """The engine that scored the part, by its record; None if it was not scored."""
    return None if part.record is None else part.record.get("engine")


def kept(run: CapacityRun) -> Capacity:
    """What is kept in the state folder."""
    telling, request = run.telling, run.request
    return Capacity(
        deadline_ms=request.deadline_ms,
        rate_fps=None if run.best is None else round(run.best.rate_fps, 3),
        p999_ms=None if telling is None else telling.p999_ms,
        frames=request.frames if telling is None else telling.frames,
        cameras=request.setting.cameras,
        products=len(request.setting.copied) or request.setting.products,
        engine=run.engine,
        cores=run.machine.cores,
        software=run.machine.software,
        measured_at=now_text(),
        profile=run.profile,
        head=run.head,
    )


def document(run: CapacityRun, capacity: Capacity, kept_in: str | None) -> dict[str, Any]:
    """The JSON of the command."""
    best = run.best
    return {
        **asdict(capacity),
        "share_in_time": None if best is None else round(best.share, 6),
        "p50_ms": None if best is None else best.p50_ms,
        "p99_ms": None if best is None else best.p99_ms,
        "too_high_by": round(too_high_by(run.request.deadline_ms), 3),
        "is_bound_by_search": best is not None and best.rate_fps >= MOST_FPS,
        "trials": [
            {
                "rate_fps": round(trial.rate_fps, 3),
                "in_time": trial.in_time,
                "share_in_time": round(trial.share, 6),
                "is_in_time": trial.is_in_time,
                "p50_ms": trial.p50_ms,
                "p99_ms": trial.p99_ms,
                "p999_ms": trial.p999_ms,
            }
            for trial in run.trials
        ],
        "arrivals": run.request.arrivals.value,
        "broker": run.broker,
        "machine": asdict(run.machine),
        "kept_in": kept_in,
    }
