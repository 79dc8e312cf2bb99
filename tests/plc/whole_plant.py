"""`python -m tests.plc`: six gates at one agent and one broker, every fault, and the account of every part.

Exits 1 where a number is not 0 that must be: decisions that left after their part, passes by another frame, parts
without action, acknowledgements that were not stored, false `uninspected`, contradictions without an event.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.plc.account import BROKEN, Account, Evidence, PartAccount, settle_account
from tests.plc.camera import Camera
from tests.plc.contradictions import CLOCK_OFF, NO_TRIGGER_ID, PASSED_UNSEEN, Contradiction, answered
from tests.plc.faults import FaultRunner, Incident, Victims, parse_fault
from tests.plc.gate import Gate
from tests.plc.lanes import FAULTS, Lane, PlantPlan, plan_lanes
from tests.plc.line import run_lines
from tests.plc.plant import Plant
from tests.plc.products import Pictures, enrolled_state, has_folder, pictures_of
from tests.plc.report import is_noteworthy, lines_of_parts
from tests.plc.watch import ReadyEdge
from tests.plc.wire import BY_DEFAULT, PASS

READY_S: Final = 120.0
SETTLE_S: Final = 120.0
LOOK_S: Final = 0.5
AFTER_S: Final = 1.5
"""Time after the last part in which what comes too late still comes."""

UNSAVED_S: Final = 2.0
"""mosquitto acknowledges a message before it has saved it, so a kill -9 loses the latest ones."""

ANSWERED_S: Final = 30.0
"""Longest wait for the events about contradictions: the agent looks at a part `ack_within_s` (10 s) after its ack."""

UNANSWERED: Final = "contradictions_without_event"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a run showed."""

    accounts: Mapping[str, Account]
    contradictions: list[Contradiction]
    incidents: list[Incident]
    events: Mapping[str, int]
    tellable: frozenset[str]
    edges: Mapping[str, Sequence[ReadyEdge]]
    """By gate, in seconds from the first trigger."""

    @property
    def totals(self) -> dict[str, int]:
        """The sums over all gates."""
        summed: Counter[str] = Counter()
        for account in self.accounts.values():
            summed.update(account.totals)
        unanswered = sum(1 for each in self.contradictions if not each.seen_as)
        return {**{name: summed[name] for name in next(iter(self.accounts.values())).totals}, UNANSWERED: unanswered}

    @property
    def in_time_share(self) -> float:
        """Of the parts that could be told: those whose own decision came in time."""
        return self._share(lambda part: part.is_told_in_time)

    @property
    def done_share(self) -> float:
        """Of the parts that could be told: those whose own decision was carried out, so the gate was ready."""
        return self._share(lambda part: part.source == "decision" and part.decided_by == part.number)

    def _share(self, holds: Callable[[PartAccount], bool]) -> float:
        parts = [part for name in self.tellable for part in self.accounts[name].parts]
        parts = [part for part in parts if part.is_seen and part.is_numbered]
        return sum(map(holds, parts)) / len(parts) if parts else 1.0

    @property
    def broken(self) -> list[str]:
        return [name for name, number in self.totals.items() if number and name in (*BROKEN, UNANSWERED)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where everything that must be 0 is, 1 where not, 2 for options that can't be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan = _plan(options)
        lanes = plan_lanes(plan)
        pictures = pictures_of(options.product)
    except ValueError as error:
        parser.error(str(error))
    folder = Path(tempfile.mkdtemp(prefix="plc-"))
    try:
        enrolled = options.enrolled or enrolled_state(folder, options.product)
        outcome = run_plant(folder, lanes, plan.incidents(), pictures, enrolled)
    finally:
        if options.keep:
            print(f"what the run left is in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(record(outcome, with_parts=options.all), indent=1))
    else:
        _show(outcome, is_all=options.all)
    return 1 if outcome.broken or any(incident.failure for incident in outcome.incidents) else 0


def run_plant(
    folder: Path, lanes: Sequence[Lane], faults: Sequence[str], pictures: Pictures, enrolled: Path
) -> Outcome:
    """Start, run, settle, end the agent by SIGTERM, and read its database."""
    origin_s = time.monotonic()

    def now_s() -> float:
        return time.monotonic() - origin_s

    stations = [lane.station for lane in lanes]
    with Plant(folder, "5", stations, enrolled) as plant, ExitStack() as clients:
        lines: list[tuple[Lane, Gate, Camera]] = []
        for lane in lanes:
            gate = Gate(plant.address, lane.gate, now_s)
            clients.callback(gate.close)
            camera = Camera(plant.address, lane.station.frame_topic, lane.camera, pictures)
            clients.callback(camera.close)
            lines.append((lane, gate, camera))
        plant.agent.start()
        # A gate whose camera's clock is off is as ready as any other: only its frames are late.
        plant.agent.until(lambda: all(gate.look() for _, gate, _ in lines), READY_S, "all gates are ready")
        runner = FaultRunner([parse_fault(text) for text in faults], Victims(plant.agent, plant.broker), now_s)
        run_lines([(lane.parts, gate, camera) for lane, gate, camera in lines], now_s)
        incidents = runner.join()
        time.sleep(AFTER_S)
        plant.settle({sha for _, _, camera in lines for sha in _kept(camera, incidents, origin_s)}, SETTLE_S)
        caused = _all_caused(lines)
        until_answered(caused, lambda: plant.agent.rows("events"), ANSWERED_S)
        plant.agent.end()
        return _read(plant, lines, incidents, origin_s)


def until_answered(
    caused: Sequence[tuple[str, str, str, int]],
    events: Callable[[], Sequence[Mapping[str, Any]]],
    limit_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when each contradiction has its event, but after `limit_s` in any case."""
    for _ in range(int(limit_s / LOOK_S)):
        if all(each.seen_as for each in answered(caused, events())):
            return
        sleep(LOOK_S)


def _all_caused(lines: Sequence[tuple[Lane, Gate, Camera]]) -> list[tuple[str, str, str, int]]:
    """Gate, camera, contradiction and how often it was caused."""
    return [
        (lane.station.gate, lane.station.camera, what, count)
        for lane, gate, camera in lines
        for what, count in _caused(lane, gate, camera).items()
    ]


def _kept(camera: Camera, incidents: Sequence[Incident], origin_s: float) -> dict[str, int]:
    """The delivered frames without those that a broker had hardly taken when it died: it may not have saved them."""
    deaths_s = [origin_s + each.began_s for each in incidents if each.kind == "kill-broker"]
    return {
        sha: part
        for sha, part in camera.delivered.items()
        if not any(death_s - UNSAVED_S <= camera.delivered_s[sha] <= death_s + UNSAVED_S for death_s in deaths_s)
    }


def _read(
    plant: Plant, lines: Sequence[tuple[Lane, Gate, Camera]], incidents: list[Incident], origin_s: float
) -> Outcome:
    rows, actions, events = (plant.agent.rows(table) for table in ("results", "gate_actions", "events"))
    accounts = {}
    for lane, gate, camera in lines:
        station = lane.station
        evidence = Evidence(
            planned=len(lane.parts),
            done=gate.done,
            told=gate.told,
            frames=camera.sent,
            delivered=_kept(camera, incidents, origin_s),
            bad_messages=len(gate.bad_messages),
            rows=[row for row in rows if row["camera"] == station.camera],
            actions=[action for action in actions if action["gate"] == station.gate],
        )
        accounts[lane.name] = settle_account(evidence)
    began_s = min(account.began_s for account in accounts.values())
    moved = [Incident(i.kind, i.began_s - began_s, i.ended_s - began_s, i.failure) for i in incidents]
    tellable = frozenset(lane.name for lane, _, _ in lines if lane.is_tellable)
    kinds = Counter(event["kind"] for event in events)
    edges = {
        lane.name: [ReadyEdge(edge.at_s - began_s, edge.is_ready, edge.why) for edge in gate.watch.edges]
        for lane, gate, _ in lines
    }
    return Outcome(accounts, answered(_all_caused(lines), events), moved, kinds, tellable, edges)


def _caused(lane: Lane, gate: Gate, camera: Camera) -> dict[str, int]:
    """How often each contradiction was really caused: a fault may have kept a frame or a decision from coming."""
    unnumbered = {part.number for part in lane.parts if not part.is_numbered}
    unseen = [
        done for done in gate.done if done.part.frame_s is None and (done.action, done.source) == (PASS, BY_DEFAULT)
    ]
    return {
        **gate.contradicted,
        NO_TRIGGER_ID: len(unnumbered & set(camera.delivered.values())),
        PASSED_UNSEEN: len(unseen),
        CLOCK_OFF: 0 if lane.is_tellable else len(camera.delivered),
    }


def record(outcome: Outcome, *, with_parts: bool = False) -> dict[str, Any]:
    """The outcome as JSON."""
    return {
        "totals": outcome.totals,
        "broken": outcome.broken,
        "in_time_share": round(outcome.in_time_share, 5),
        "done_share": round(outcome.done_share, 5),
        "gates": {name: {"totals": a.totals, "broken": a.broken} for name, a in outcome.accounts.items()},
        "contradictions": [asdict(each) for each in outcome.contradictions],
        "faults": [asdict(each) for each in outcome.incidents],
        "events": dict(outcome.events),
        "ready": {name: [asdict(edge) for edge in edges] for name, edges in outcome.edges.items()},
        "parts": {
            name: [part.record() for part in account.parts if with_parts or is_noteworthy(part)]
            for name, account in outcome.accounts.items()
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.plc",
        description=__doc__,
        epilog="example: python -m tests.plc --parts 300 --faults kill-agent,stall-agent,acks. "
        "Three smaller runs: `python -m tests.plc line --help`, `stalls --help` and `backlog --help`.",
    )
    parser.add_argument("--parts", type=int, default=2000, metavar="P", help="parts at all gates together (2000)")
    parser.add_argument("--rate", type=float, default=12.0, metavar="R", help="parts a second, all together (12)")
    parser.add_argument(
        "--faults", default="all", metavar="LIST", help=f"all, none, or some of {','.join(FAULTS)} (all)"
    )
    parser.add_argument("--window-ms", type=float, default=150.0, metavar="W", help="travel time to the gates (150)")
    parser.add_argument(
        "--single-window-ms", type=float, default=400.0, metavar="W", help="the same without trigger ids (400)"
    )
    parser.add_argument(
        "--margin-ms",
        type=float,
        default=40.0,
        metavar="M",
        help="window_ms of the agent is the travel time less this: exposure and all transport (40)",
    )
    parser.add_argument("--product", help="a product below INSPECTOR_DATA, or disc, which is drawn (bottle, else disc)")
    parser.add_argument("--enrolled", type=Path, help="a state folder in which the product is live, to save time")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn by chance (1)")
    parser.add_argument("--json", action="store_true", help="the account as JSON and nothing else")
    parser.add_argument("--all", action="store_true", help="list every part, not only those worth a look")
    parser.add_argument("--keep", action="store_true", help="keep the folder with database and logs")
    return parser


def _plan(options: argparse.Namespace) -> PlantPlan:
    """Raises ValueError for options that can't be."""
    options.product = options.product or ("bottle" if has_folder("bottle") else "disc")
    names = {"all": FAULTS, "none": ()}.get(options.faults, tuple(options.faults.split(",")))
    unknown = sorted(set(names) - set(FAULTS))
    if unknown:
        raise ValueError(f"there is no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    if options.parts < 6 or options.rate <= 0:
        raise ValueError("--parts must be at least 6 and --rate more than 0")
    return PlantPlan(
        options.parts,
        options.rate,
        options.window_ms,
        options.single_window_ms,
        options.margin_ms,
        frozenset(names),
        options.seed,
    )


def _show(outcome: Outcome, *, is_all: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    for name, account in outcome.accounts.items():
        listed = [part for part in account.parts if is_all or is_noteworthy(part)]
        console.print(f"\n[bold]{name}[/]: parts{'' if is_all else ' worth a look'}", highlight=False)
        for line in lines_of_parts(listed):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        _table_of_times(outcome),
        _table_of_readiness(outcome),
        _table_of_contradictions(outcome),
        _table_of_totals(outcome),
    )
    console.print(f"events: {', '.join(f'{kind} {number}' for kind, number in sorted(outcome.events.items()))}")
    console.print(f"told in time: {outcome.in_time_share:.2%} of the parts that were seen")
    console.print(f"done as told by their own decision: {outcome.done_share:.2%} of them")
    console.print(f"broken: {', '.join(outcome.broken) or 'nothing'}", style="bold red" if outcome.broken else "green")


def _table_of_totals(outcome: Outcome) -> Table:
    table = Table("", *outcome.accounts, "all", title="account")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, number in outcome.totals.items():
        must_be_0 = name in BROKEN or name == UNANSWERED
        style = None if not must_be_0 else "bold red" if number else "green"
        numbers = [str(account.totals.get(name, "")) for account in outcome.accounts.values()]
        title = f"{name.replace('_', ' ')}{' (must be 0)' if must_be_0 else ''}"
        table.add_row(title, *numbers, str(number), style=style)
    return table


def _table_of_times(outcome: Outcome) -> Table:
    table = Table("fault", "from s", "to s", "failure", title="faults of processes")
    for each in outcome.incidents:
        table.add_row(each.kind, f"{each.began_s:.1f}", f"{each.ended_s:.1f}", each.failure or "")
    return table


def _table_of_readiness(outcome: Outcome) -> Table:
    table = Table("gate", "not ready from s", "to s", "why", title="gates that were not ready")
    for name, edges in outcome.edges.items():
        for edge, after in zip(edges, [*edges[1:], None], strict=True):
            if not edge.is_ready and (after is None or after.at_s > 0):
                table.add_row(name, f"{edge.at_s:.2f}", "" if after is None else f"{after.at_s:.2f}", edge.why)
    return table


def _table_of_contradictions(outcome: Outcome) -> Table:
    table = Table("gate", "contradiction", "times", "event", title="contradictions")
    for each in outcome.contradictions:
        style = None if each.seen_as else "bold red"
        table.add_row(each.gate, each.what, str(each.count), ", ".join(each.seen_as) or "none", style=style)
    return table
