"""`python -m tests.plc line`: one line of parts, a simulated PLC at its gate, faults, and the account of every part.

It starts a mosquitto and an agent of its own. It exits 1 where a number is not 0 that must be.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.plc.account import Account, Evidence, settle_account
from tests.plc.camera import Camera, CameraOptions
from tests.plc.faults import Fault, FaultRunner, Incident, Victims, parse_fault
from tests.plc.gate import Gate, GateOptions
from tests.plc.line import run_lines
from tests.plc.plan import Burst, LineOptions, PlannedPart, plan_parts
from tests.plc.plant import Plant, Station
from tests.plc.products import Pictures, enrolled_state, pictures_of
from tests.plc.report import is_noteworthy, lines_of_events, lines_of_parts, lines_of_times, lines_of_totals
from tests.plc.watch import ReadyEdge
from tests.plc.wire import PASS, QUARANTINE, REJECT

READY_S = 60.0
SETTLE_S = 60.0
AFTER_S = 1.0
"""Time after the last part in which what comes too late still comes."""

NAME = "one"

DEFAULTS = {"pass": PASS, "reject": REJECT, "quarantine": QUARANTINE}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where everything that must be 0 is, 1 where not, 2 for options that can't be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _complete(options)
        parts = plan_parts(_line(options))
        faults = [parse_fault(text) for text in options.fault]
    except ValueError as error:
        parser.error(str(error))
    folder = Path(tempfile.mkdtemp(prefix="plc-"))
    try:
        pictures = pictures_of(options.product)
        enrolled = options.enrolled or enrolled_state(folder, options.product)
        with Plant(folder, options.agent_mqtt, [_station(options)], enrolled) as plant:
            run = _Run(plant, options, parts, pictures)
            account, events, incidents = run.execute(faults)
    finally:
        if options.keep:
            print(f"what the run left is in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(_record(options, account, run, events, incidents), indent=1))
    else:
        _show(options, account, run, events, incidents)
    return 1 if account.broken or any(incident.failure for incident in incidents) else 0


class _Run:
    """One run over a plant. What it leaves in `edges` and `epochs` counts from the first trigger."""

    def __init__(self, plant: Plant, options: argparse.Namespace, parts: list[PlannedPart], pictures: Pictures) -> None:
        self._plant = plant
        self._parts = parts
        self._origin_s = time.monotonic()
        self._station = _station(options)
        self._pictures = pictures
        counts_parts = options.trigger != "none"
        self._gate_options = GateOptions(NAME, self._station.gate_topic, DEFAULTS[options.default], counts_parts)
        self._camera_options = CameraOptions(NAME, options.camera_mqtt, options.trigger, options.camera_clock_off)
        self.edges: list[ReadyEdge] = []
        self.epochs: list[tuple[float, int]] = []

    def _now_s(self) -> float:
        return time.monotonic() - self._origin_s

    def execute(self, faults: list[Fault]) -> tuple[Account, dict[str, int], list[Incident]]:
        """Start, run, settle, end the agent by SIGTERM, and read its database."""
        plant = self._plant
        with ExitStack() as clients:
            gate = Gate(plant.address, self._gate_options, self._now_s)
            clients.callback(gate.close)
            camera = Camera(plant.address, self._station.frame_topic, self._camera_options, self._pictures)
            clients.callback(camera.close)
            plant.agent.start()
            plant.agent.until(gate.look, READY_S, "the gate's heartbeat says ready")
            runner = FaultRunner(faults, Victims(plant.agent, plant.broker), self._now_s)
            run_lines([(self._parts, gate, camera)], self._now_s)
            incidents = runner.join()
            self._rest(gate.look)
            plant.settle(set(camera.delivered), SETTLE_S)
            plant.agent.end()
        evidence = Evidence(
            planned=len(self._parts),
            done=gate.done,
            told=gate.told,
            frames=camera.sent,
            delivered=camera.delivered,
            bad_messages=len(gate.bad_messages),
            rows=plant.agent.rows(),
            actions=plant.agent.rows("gate_actions"),
        )
        events = Counter(row["kind"] for row in plant.agent.rows("events"))
        account = settle_account(evidence)
        began_s = account.began_s
        self.edges = [replace(edge, at_s=edge.at_s - began_s) for edge in gate.watch.edges]
        self.epochs = [(at_s - began_s, epoch) for at_s, epoch in gate.watch.epochs]
        moved = [replace(i, began_s=i.began_s - began_s, ended_s=i.ended_s - began_s) for i in incidents]
        return account, dict(events), moved

    def _rest(self, look: Callable[[], bool]) -> None:
        until_s = self._now_s() + AFTER_S
        while self._now_s() < until_s:
            time.sleep(0.05)
            look()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.plc line",
        description=__doc__,
        epilog="example: python -m tests.plc line --parts 120 --match single_in_flight --fault stop-agent@4:0.7",
    )
    line = parser.add_argument_group("the line")
    line.add_argument("--parts", type=int, default=60, metavar="P", help="how many parts (60)")
    line.add_argument("--rate", type=float, default=6.0, metavar="R", help="parts a second (6)")
    line.add_argument("--window-ms", type=float, default=150.0, metavar="W", help="travel time to the gate (150)")
    line.add_argument("--exposure-ms", type=float, default=10.0, help="from the trigger until the frame leaves (10)")
    line.add_argument("--margin-ms", type=float, default=20.0, help="window_ms of the agent is W less this (20)")
    line.add_argument("--default", choices=DEFAULTS, default="reject", help="the gate's own default (reject)")
    line.add_argument("--bad", type=float, default=0.25, metavar="SHARE", help="share of defective parts (0.25)")
    line.add_argument("--first-trigger", type=int, default=65500, help="trigger id of the first part (65500)")
    line.add_argument("--modulus", type=int, default=65536, help="where the trigger counter wraps (65536)")
    line.add_argument("--seed", type=int, default=1, help="of everything that is drawn by chance (1)")
    wire = parser.add_argument_group("cameras and agent")
    wire.add_argument("--match", choices=("trigger_id", "single_in_flight"), default="trigger_id")
    wire.add_argument("--camera-mqtt", choices=("5", "3.1.1"), default="5", help="protocol of the camera (5)")
    wire.add_argument(
        "--trigger",
        choices=("property", "topic", "none"),
        help="where frames carry the trigger id; unset: none at single_in_flight, else property on MQTT 5, else topic",
    )
    wire.add_argument("--agent-mqtt", choices=("5", "3.1.1"), default="5", help="protocol of the agent (5)")
    wire.add_argument("--clock", choices=("untrusted", "trusted"), default="untrusted", help="of the camera's section")
    wire.add_argument("--camera-clock-off", type=float, metavar="S", help="frames carry captured-at, off by S seconds")
    wire.add_argument("--product", default="disc", help="disc (drawn), or a product below INSPECTOR_DATA (disc)")
    wire.add_argument("--enrolled", type=Path, help="a state folder in which the product is live, to save time")
    fault = parser.add_argument_group("faults")
    fault.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND@AT[:S]",
        help="kill-agent, restart-agent, stop-agent, kill-broker, restart-broker or stop-broker, AT seconds after the "
        "first trigger and for S seconds (0.5); may be repeated",
    )
    fault.add_argument("--burst", action="append", default=[], metavar="AT:N", help="N parts at ten times the rate")
    fault.add_argument("--blind", type=float, default=0.0, metavar="SHARE", help="share of parts without a frame")
    fault.add_argument("--blind-part", type=int, action="append", default=[], metavar="N", help="no frame of part N")
    fault.add_argument("--duplicates", type=float, default=0.0, metavar="SHARE", help="share of frames sent twice")
    fault.add_argument(
        "--reordered", type=float, default=0.0, metavar="SHARE", help="share of frames sent after the next part's"
    )
    out = parser.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="the whole account as JSON and nothing else")
    out.add_argument("--all", action="store_true", help="every part in the table, not only those worth a look")
    out.add_argument("--keep", action="store_true", help="keep the folder with database and logs")
    return parser


def _complete(options: argparse.Namespace) -> None:
    """Fill in what is unset. Raises ValueError for options that contradict each other."""
    if options.trigger is None:
        by_protocol = "property" if options.camera_mqtt == "5" else "topic"
        options.trigger = "none" if options.match == "single_in_flight" else by_protocol
    if options.trigger == "none" and options.match == "trigger_id":
        raise ValueError("with --match trigger_id each frame needs a trigger id")
    if options.trigger == "property" and "3.1.1" in (options.camera_mqtt, options.agent_mqtt):
        raise ValueError("MQTT 3.1.1 has no properties; use --trigger topic")
    if options.clock == "trusted" and options.agent_mqtt != "5":
        raise ValueError("captured-at is a property, so --clock trusted needs --agent-mqtt 5")
    if options.camera_clock_off is not None and options.camera_mqtt != "5":
        raise ValueError("captured-at is a property, so --camera-clock-off needs --camera-mqtt 5")
    if options.match == "single_in_flight" and (options.window_ms >= 1000 / options.rate or options.burst):
        raise ValueError("at single_in_flight a part must have left before the next: lower --rate or --window-ms")
    if options.window_ms <= options.margin_ms + options.exposure_ms:
        raise ValueError("--window-ms must be more than --margin-ms and --exposure-ms together")


def _line(options: argparse.Namespace) -> LineOptions:
    bursts = [text.partition(":") for text in options.burst]
    return LineOptions(
        parts=options.parts,
        rate=options.rate,
        window_ms=options.window_ms,
        exposure_ms=options.exposure_ms,
        first_trigger=options.first_trigger,
        modulus=options.modulus,
        bad=options.bad,
        blind=options.blind,
        blind_parts=frozenset(options.blind_part),
        duplicated=options.duplicates,
        overtaken=options.reordered,
        bursts=tuple(Burst(float(at), int(parts)) for at, _, parts in bursts),
        seed=options.seed,
    )


def _station(options: argparse.Namespace) -> Station:
    return Station(
        name=NAME,
        match=options.match,
        trigger_from="topic" if options.trigger == "topic" else "property",
        clock=options.clock,
        window_ms=options.window_ms - options.margin_ms,
        modulus=options.modulus,
    )


def _record(
    options: argparse.Namespace, account: Account, run: _Run, events: dict[str, int], incidents: list[Incident]
) -> dict[str, Any]:
    return {
        "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path)},
        "totals": account.totals,
        "broken": account.broken,
        "ready": [{"at_s": round(e.at_s, 3), "is_ready": e.is_ready, "why": e.why} for e in run.edges],
        "epochs": [{"at_s": round(at_s, 3), "epoch": epoch} for at_s, epoch in run.epochs],
        "faults": [
            {"kind": i.kind, "began_s": round(i.began_s, 3), "ended_s": round(i.ended_s, 3), "failure": i.failure}
            for i in incidents
        ],
        "events": events,
        "parts": [part.record() for part in account.parts],
    }


def _show(
    options: argparse.Namespace, account: Account, run: _Run, events: dict[str, int], incidents: list[Incident]
) -> None:
    listed = account.parts if options.all else [part for part in account.parts if is_noteworthy(part)]
    for heading, lines in (
        ("parts" if options.all else "parts worth a look", lines_of_parts(listed)),
        ("faults and readiness", lines_of_times(run.edges, incidents)),
        ("events", lines_of_events(events)),
        ("totals", lines_of_totals(account)),
    ):
        print(f"\n{heading}\n{'-' * len(heading)}")
        print("\n".join(lines))
    print(f"\nbroken: {', '.join(account.broken) or 'nothing'}")
