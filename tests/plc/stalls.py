"""`python -m tests.plc stalls`: agent or broker stand still at a gate without trigger ids, while the camera goes blind.

Each time, part A's frame comes during the standstill, A leaves, and part B follows of which no frame exists. B must not
get A's pass. A part C with a frame of its own then shows that the gate goes on. Exits 1 if a blind part passed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.plc.camera import Camera, CameraOptions
from tests.plc.faults import KINDS, Victims
from tests.plc.gate import Done, Gate, GateOptions
from tests.plc.plan import PlannedPart
from tests.plc.plant import Plant, Station
from tests.plc.products import Pictures, enrolled_state, pictures_of
from tests.plc.wire import BY_DECISION, PASS, REJECT

READY_S: Final = 120.0
TRAVEL_S: Final = 0.25
"""From trigger to gate: shorter than the shortest standstill, so that A has left when it ends."""

MARGIN_MS: Final = 20.0
CALM_S: Final = 0.3
VICTIMS: Final = ("agent", "broker")


@dataclass(slots=True)
class Standstill:
    """So many repeats of one standstill, and what became of them."""

    who: str
    lasts_s: float
    repeats: int = 0
    blind_parts_passed: int = 0
    decisions_on_blind_parts: int = 0
    later_parts_told: int = 0


class Trial:
    """A gate with one part at a time, its camera, and the processes that can stand still."""

    def __init__(self, plant: Plant, gate: Gate, camera: Camera, now_s: Callable[[], float]) -> None:
        self._plant = plant
        self._gate = gate
        self._camera = camera
        self._now_s = now_s
        self._number = 0

    def run(self, still: Standstill) -> None:
        """One repeat."""
        begin, end = KINDS[f"stop-{still.who}"]
        victims = Victims(self._plant.agent, self._plant.broker)
        self._plant.agent.until(self._gate.look, READY_S, "the gate is ready")
        self._wait(CALM_S)
        began_s = self._now_s()
        begin(victims)
        a, b, c = self._next(), self._next(has_frame=False), self._next()
        self._gate.trigger(a)
        self._camera.shoot(a)
        self._wait_until(began_s + TRAVEL_S)
        self._gate.reach(a)
        self._wait_until(began_s + max(still.lasts_s - 0.02, TRAVEL_S))
        self._gate.trigger(b)
        end(victims)
        self._wait(TRAVEL_S)
        self._gate.reach(b)
        self._wait(CALM_S)
        self._plant.agent.until(self._gate.look, READY_S, "the gate is ready again")
        self._wait(CALM_S)
        self._gate.trigger(c)
        self._camera.shoot(c)
        self._wait(TRAVEL_S)
        self._gate.reach(c)
        self._note(still, b.number, c.number)

    def _note(self, still: Standstill, blind: int, later: int) -> None:
        done = {each.part.number: each for each in self._gate.done}
        still.repeats += 1
        still.blind_parts_passed += _is_passed(done[blind])
        still.decisions_on_blind_parts += sum(told.slot_part == blind for told in self._gate.told)
        still.later_parts_told += any(told.slot_part == later for told in self._gate.told)

    def _next(self, *, has_frame: bool = True) -> PlannedPart:
        self._number += 1
        return PlannedPart(self._number, 0, 0.0, 0.0, is_bad=False, frame_s=0.0 if has_frame else None)

    def _wait(self, seconds: float) -> None:
        self._wait_until(self._now_s() + seconds)

    def _wait_until(self, at_s: float) -> None:
        while self._now_s() < at_s:
            time.sleep(max(0.0, min(0.02, at_s - self._now_s())))
            self._gate.look()


def _is_passed(done: Done) -> bool:
    return (done.action, done.source) == (PASS, BY_DECISION)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where no blind part passed, 1 where one did, 2 for options that can't be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    stills = [Standstill(who, float(s)) for who in options.who.split(",") for s in options.seconds.split(",")]
    if any(still.who not in VICTIMS or still.lasts_s < TRAVEL_S for still in stills):
        parser.error(f"--who takes {' and '.join(VICTIMS)}, --seconds numbers from {TRAVEL_S:g} on")
    folder = Path(tempfile.mkdtemp(prefix="plc-"))
    try:
        enrolled = options.enrolled or enrolled_state(folder, "disc")
        run_stalls(folder, stills, options.repeats, pictures_of("disc"), enrolled)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps([asdict(still) for still in stills], indent=1))
    else:
        Console().print(_table(stills))
    return 1 if any(still.blind_parts_passed or still.decisions_on_blind_parts for still in stills) else 0


def run_stalls(folder: Path, stills: Sequence[Standstill], repeats: int, pictures: Pictures, enrolled: Path) -> None:
    """Run each standstill so often. What became of it is in the standstill."""
    origin_s = time.monotonic()

    def now_s() -> float:
        return time.monotonic() - origin_s

    station = Station("one", "single_in_flight", "property", "untrusted", TRAVEL_S * 1000 - MARGIN_MS, 65536)
    with Plant(folder, "5", [station], enrolled) as plant, ExitStack() as clients:
        gate = Gate(plant.address, GateOptions("one", station.gate_topic, REJECT, counts_parts=False), now_s)
        clients.callback(gate.close)
        camera = Camera(plant.address, station.frame_topic, CameraOptions("one", "3.1.1", "none"), pictures)
        clients.callback(camera.close)
        plant.agent.start()
        trial = Trial(plant, gate, camera, now_s)
        for still in stills:
            for _ in range(repeats):
                trial.run(still)
        plant.agent.end()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.plc stalls", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="repeats of each standstill (20)")
    parser.add_argument("--seconds", default="0.3,0.7,1.3,2.5", metavar="LIST", help="how long (0.3,0.7,1.3,2.5)")
    parser.add_argument("--who", default="agent,broker", metavar="LIST", help="who stands still (agent,broker)")
    parser.add_argument("--enrolled", type=Path, help="a state folder in which the product disc is live, to save time")
    parser.add_argument("--json", action="store_true", help="the figures as JSON and nothing else")
    return parser


def _table(stills: Sequence[Standstill]) -> Table:
    table = Table("stands still", "s", "repeats", "blind parts passed", "decisions on blind parts", "next part told")
    for still in stills:
        is_bad = still.blind_parts_passed or still.decisions_on_blind_parts
        table.add_row(
            still.who,
            f"{still.lasts_s:g}",
            str(still.repeats),
            str(still.blind_parts_passed),
            str(still.decisions_on_blind_parts),
            str(still.later_parts_told),
            style="bold red" if is_bad else None,
        )
    return table
