"""`python -m tests.plc backlog`: frames wait in the broker while the agent is away, and the line does not wait for it.

The agent is started behind the waiting frames. Printed is how long the gate took, from the agent's first heartbeat, to
say ready and to be told of a live part in time, and what became of the live parts after that. Exits 1 where a frame has
no row, a waiting frame was told, or a part was passed by another part's frame.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.plc.account import Account, Evidence, settle_account
from tests.plc.camera import Camera, CameraOptions
from tests.plc.gate import Gate, GateOptions
from tests.plc.line import run_lines
from tests.plc.plan import LineOptions, PlannedPart, plan_parts
from tests.plc.plant import Plant, Station
from tests.plc.products import Pictures, enrolled_state, has_folder, pictures_of
from tests.plc.wire import REJECT

READY_S: Final = 120.0
SETTLE_S: Final = 300.0
AFTER_S: Final = 1.0
MARGIN_MS: Final = 40.0
LOOK_S: Final = 0.01
MODULUS: Final = 65536


@dataclass(frozen=True, slots=True)
class Restart:
    """What a restart behind waiting frames showed. Seconds count from the start of the process, `None`: it never came.

    `live_after_ready`: parts that came after the gate was ready first, and `told_after_ready`: those told in time.
    """

    waiting: int
    first_heartbeat_s: float | None
    ready_s: float | None
    first_told_s: float | None
    live: int
    live_after_ready: int
    told_after_ready: int
    waiting_recorded_late: int
    waiting_judged_since: int
    broken: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where everything that must hold does, 1 where not, 2 for options that can't be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="plc-"))
    try:
        pictures = pictures_of(options.product)
        enrolled = options.enrolled or enrolled_state(folder, options.product)
        restart = run_backlog(folder, options, pictures, enrolled)
    except ValueError as error:
        parser.error(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(asdict(restart), indent=1))
    else:
        Console().print(_table(restart))
    return 1 if restart.broken else 0


def run_backlog(folder: Path, options: argparse.Namespace, pictures: Pictures, enrolled: Path) -> Restart:
    """Let frames wait, start the agent behind them, and run the line from that moment on."""
    origin_s = time.monotonic()

    def now_s() -> float:
        return time.monotonic() - origin_s

    window_ms = options.window_ms
    station = Station("one", "trigger_id", "property", "untrusted", window_ms - MARGIN_MS, MODULUS)
    with Plant(folder, "5", [station], enrolled) as plant, ExitStack() as clients:
        gate = Gate(plant.address, GateOptions("one", station.gate_topic, REJECT, counts_parts=True), now_s)
        clients.callback(gate.close)
        camera = Camera(plant.address, station.frame_topic, CameraOptions("one", "5", "property"), pictures)
        clients.callback(camera.close)
        plant.agent.start()  # so that the broker keeps a session of the agent
        plant.agent.until(gate.look, READY_S, "the gate is ready")
        plant.agent.end()
        waiting = _let_wait(camera, options.frames)
        parts = plan_parts(
            LineOptions(
                parts=round(options.rate * options.seconds),
                rate=options.rate,
                window_ms=window_ms,
                first_trigger=options.frames + 1,
                seed=options.frames,
            )
        )
        began_s = now_s()
        line = threading.Thread(target=run_lines, args=([(parts, gate, camera)], now_s))
        line.start()
        plant.agent.start(wait=False)
        first_s = _first_heartbeat_s(gate, began_s, line)
        line.join()
        time.sleep(AFTER_S)
        plant.settle(set(camera.delivered), SETTLE_S)
        plant.agent.end()
        return _read(plant, gate, camera, waiting, parts, (began_s, first_s))


def _let_wait(camera: Camera, frames: int) -> set[str]:
    """The SHA-256 of the waiting frames, once the broker has all of them. Their parts have left long ago."""
    for number in range(1, frames + 1):
        camera.shoot(PlannedPart(-number, number, 0.0, 0.0, is_bad=False, frame_s=0.0))
    deadline = time.monotonic() + READY_S
    while len(camera.delivered) < frames:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the broker took {len(camera.delivered)} of {frames} frames within {READY_S:g} s")
        time.sleep(LOOK_S)
    return set(camera.delivered)


def _first_heartbeat_s(gate: Gate, began_s: float, line: threading.Thread) -> float | None:
    while line.is_alive():
        if gate.watch.changed_s > began_s:
            return gate.watch.changed_s
        time.sleep(LOOK_S)
    return None


def _read(
    plant: Plant,
    gate: Gate,
    camera: Camera,
    waiting: set[str],
    parts: list[PlannedPart],
    times_s: tuple[float, float | None],
) -> Restart:
    began_s, first_s = times_s
    rows = plant.agent.rows()
    live = {sha: part for sha, part in camera.sent.items() if sha not in waiting}
    account = settle_account(
        Evidence(
            planned=len(parts),
            done=gate.done,
            told=gate.told,
            frames=live,
            delivered=live,
            bad_messages=len(gate.bad_messages),
            rows=[row for row in rows if row["frame_sha256"] not in waiting],
            actions=plant.agent.rows("gate_actions"),
        )
    )
    of_waiting = [row for row in rows if row["frame_sha256"] in waiting]
    ready_s = next((edge.at_s for edge in gate.watch.edges if edge.is_ready and edge.at_s > began_s), None)
    triggered_s = {done.part.number: done.triggered_s for done in gate.done}
    after = [p for p in account.parts if ready_s is not None and triggered_s[p.number] > ready_s]
    told_s = [told.at_s for told in gate.told if told.slot_part is not None and told.at_s > began_s]
    return Restart(
        waiting=len(waiting),
        first_heartbeat_s=_since(began_s, first_s),
        ready_s=_since(began_s, ready_s),
        first_told_s=_since(began_s, min(told_s, default=None)),
        live=len(parts),
        live_after_ready=len(after),
        told_after_ready=sum(part.is_told_in_time for part in after),
        waiting_recorded_late=sum(row["cause"] == "late" for row in of_waiting),
        waiting_judged_since=sum(row["late_outcome"] is not None for row in of_waiting),
        broken=_broken(account, waiting, of_waiting),
    )


def _broken(account: Account, waiting: set[str], of_waiting: list[dict[str, object]]) -> list[str]:
    found = list(account.broken)
    if {row["frame_sha256"] for row in of_waiting} != waiting:
        found.append("waiting_frames_without_row")
    if any(row["published"] for row in of_waiting):
        found.append("waiting_frames_told")
    return found


def _since(began_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else round(at_s - began_s, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.plc backlog", description=__doc__)
    parser.add_argument("--frames", type=int, default=1500, metavar="N", help="frames that wait (1500)")
    parser.add_argument("--rate", type=float, default=5.0, metavar="R", help="parts a second of the line (5)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long the line runs (20)")
    parser.add_argument("--window-ms", type=float, default=150.0, metavar="W", help="travel time to the gate (150)")
    product = "bottle" if has_folder("bottle") else "disc"
    parser.add_argument("--product", default=product, help="a product below INSPECTOR_DATA, or disc, which is drawn")
    parser.add_argument("--enrolled", type=Path, help="a state folder in which the product is live, to save time")
    parser.add_argument("--json", action="store_true", help="the figures as JSON and nothing else")
    return parser


def _table(restart: Restart) -> Table:
    table = Table("what", "figure", title="A restart behind waiting frames")
    for name, value in asdict(restart).items():
        is_bad = name == "broken" and value
        table.add_row(name.replace("_", " "), str(value), style="bold red" if is_bad else None)
    return table
