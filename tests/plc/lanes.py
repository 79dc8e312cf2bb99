"""The six gates of a plant: cameras on MQTT 5 and 3.1.1, with and without trigger ids, trusted clocks and a wrong one.

Pure, and the same for the same seed. All lanes run for the same time; each has its share of the parts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tests.plc.camera import CameraOptions
from tests.plc.gate import GateOptions
from tests.plc.plan import Burst, LineOptions, PlannedPart, plan_parts
from tests.plc.plant import Station
from tests.plc.wire import PASS, REJECT

FAULTS: Final = (
    "kill-agent",
    "stall-agent",
    "stall-broker",
    "restart-broker",
    "kill-broker",
    "bursts",
    "duplicates",
    "reordering",
    "blind",
    "clock",
    "acks",
    "no-trigger",
)

EXPOSURE_MS: Final = 10.0
MODULUS: Final = 65536
FIRST_TRIGGER: Final = 65500
AN_HOUR_S: Final = -3600.0
RUN_WITHOUT_TRIGGER: Final = 30
"""The alarm is due after 20, and some of these frames are blind, late or meet a fault."""
SHARE_DUPLICATED, SHARE_OVERTAKEN, SHARE_BLIND, SHARE_DISPUTED = 0.02, 0.02, 0.02, 0.03

MOMENTS: Final = {
    "kill-agent": ((0.14, 0.5), (0.54, 0.5)),
    "stall-agent": ((0.27, 0.7), (0.68, 1.3)),
    "stall-broker": ((0.34, 0.7), (0.75, 1.3)),
    "restart-broker": ((0.44, 0.5),),
    "kill-broker": ((0.83, 0.5),),
}
"""When each fault of a process begins, as a share of the run, and how many seconds it lasts."""

_OF_PROCESSES: Final = {"stall-agent": "stop-agent", "stall-broker": "stop-broker"}


@dataclass(frozen=True, slots=True)
class Lane:
    """One camera with its gate: what the agent is told of them, what they do, and the parts that come."""

    station: Station
    camera: CameraOptions
    gate: GateOptions
    parts: list[PlannedPart]

    @property
    def name(self) -> str:
        return self.station.name

    @property
    def is_tellable(self) -> bool:
        """Whether the agent can know the age of the frames in time; not so with a clock an hour off."""
        return self.camera.clock_off_s is None or self.camera.clock_off_s >= 0


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    share: float
    protocol: str
    trigger: str
    match: str
    clock: str
    clock_off_s: float | None = None
    default: int = REJECT


_KINDS: Final = (
    _Kind("five", 0.34, "5", "property", "trigger_id", "untrusted"),
    _Kind("three", 0.33, "3.1.1", "topic", "trigger_id", "untrusted"),
    _Kind("trusted", 0.17, "5", "property", "trigger_id", "trusted", 0.0, default=PASS),
    _Kind("single", 0.08, "3.1.1", "none", "single_in_flight", "untrusted"),
    _Kind("single-trusted", 0.04, "5", "none", "single_in_flight", "trusted", 0.0),
    _Kind("clock-off", 0.04, "5", "property", "trigger_id", "trusted", AN_HOUR_S),
)


@dataclass(frozen=True, slots=True)
class PlantPlan:
    """`parts` and `rate` are those of all lanes together; `faults` are names of `FAULTS`."""

    parts: int
    rate: float
    window_ms: float
    single_window_ms: float
    margin_ms: float
    faults: frozenset[str]
    seed: int = 1

    @property
    def lasts_s(self) -> float:
        return self.parts / self.rate

    def incidents(self) -> list[str]:
        """The faults of processes in the form of `faults.parse_fault`."""
        return [
            f"{_OF_PROCESSES.get(name, name)}@{share * self.lasts_s:.2f}:{lasts_s:g}"
            for name, moments in MOMENTS.items()
            if name in self.faults
            for share, lasts_s in moments
        ]


def plan_lanes(plan: PlantPlan) -> list[Lane]:
    """Every lane with its parts. Raises ValueError where parts would meet at a gate without trigger ids."""
    kinds = [kind for kind in _KINDS if kind.clock_off_s != AN_HOUR_S or "clock" in plan.faults]
    whole = sum(kind.share for kind in kinds)
    return [_lane(plan, kind, kind.share / whole, number) for number, kind in enumerate(kinds)]


def _lane(plan: PlantPlan, kind: _Kind, share: float, number: int) -> Lane:
    is_single = kind.match == "single_in_flight"
    window_ms = plan.single_window_ms if is_single else plan.window_ms
    rate, count = plan.rate * share, max(1, round(plan.parts * share))
    if is_single and window_ms >= 1000 / rate:
        raise ValueError(f"at the gate {kind.name} a part must have left before the next: lower --rate")
    chance = random.Random(f"{plan.seed} {kind.name}")
    disputed = _some(chance, count, SHARE_DISPUTED) if "acks" in plan.faults and not is_single else frozenset()
    options = LineOptions(
        parts=count,
        rate=rate,
        window_ms=window_ms,
        exposure_ms=EXPOSURE_MS,
        first_trigger=FIRST_TRIGGER,
        modulus=MODULUS,
        bad=0.25,
        blind=SHARE_BLIND if "blind" in plan.faults else 0.0,
        unnumbered_parts=_run_without_trigger(plan, kind, count),
        duplicated=SHARE_DUPLICATED if "duplicates" in plan.faults else 0.0,
        overtaken=SHARE_OVERTAKEN if "reordering" in plan.faults and not is_single else 0.0,
        bursts=_bursts(plan, count) if "bursts" in plan.faults and not is_single else (),
        seed=plan.seed * 100 + number,
    )
    station = Station(
        name=kind.name,
        match=kind.match,
        trigger_from="topic" if kind.trigger == "topic" else "property",
        clock=kind.clock,
        window_ms=window_ms - plan.margin_ms,
        modulus=MODULUS,
    )
    gate = GateOptions(
        name=kind.name,
        topic=station.gate_topic,
        default=kind.default,
        counts_parts=kind.trigger != "none",
        contrary=_some(chance, count, SHARE_DISPUTED * 3) if disputed else frozenset(),
        repeated=_some(chance, count, SHARE_DISPUTED) - disputed if disputed else frozenset(),
        doubted=disputed,
    )
    camera = CameraOptions(kind.name, kind.protocol, kind.trigger, kind.clock_off_s)
    return Lane(station, camera, gate, plan_parts(options))


def _some(chance: random.Random, count: int, share: float) -> frozenset[int]:
    return frozenset(number for number in range(1, count + 1) if chance.random() < share)


def _run_without_trigger(plan: PlantPlan, kind: _Kind, count: int) -> frozenset[int]:
    if kind.name != "five" or "no-trigger" not in plan.faults:
        return frozenset()
    first = max(1, min(round(count * 0.92), count - RUN_WITHOUT_TRIGGER))  # a short run has room for all of them
    return frozenset(range(first, min(count, first + RUN_WITHOUT_TRIGGER)))


def _bursts(plan: PlantPlan, count: int) -> tuple[Burst, ...]:
    """Two hurries of at most 10 parts, one of them soon after a fault."""
    size = max(1, min(10, count // 20))
    return Burst(plan.lasts_s * 0.08, size), Burst(plan.lasts_s * 0.62, size)
