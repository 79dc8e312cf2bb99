"""The figures of each bench as a page: facts, tables and notes, made from the JSON that the command prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from inspector.benching.machine import Machine
from inspector.reports.bench import BenchPage, FigureTable

Document = Mapping[str, Any]

_QUANTILES: Final = {"p50": "p50", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "largest"}
_STAGES: Final = {
    "decode": "decode",
    "route": "route and prepare",
    "embed": "pass",
    "score": "head",
    "total": "receipt to decision",
}
_ABSENT: Final = "-"
_FEW: Final = 1000
_SMALL_SHARE: Final = 0.05


def pipeline_page(found: Document, machine: Machine) -> BenchPage:
    tables = []
    if found["windows"]:
        tables.append(_throughput(found))
    if found["frames"]:
        tables.append(_latency(found))
    tables.append(_account(found))
    facts = [
        *machine.facts(),
        ("engine", f"{found['engine']} in {found['precision']}, profile {found['profile']}"),
        ("line", _line(found)),
        ("pass alone", _arranged(found["arrangement"])),
        (f"backbone alone ({found['reference_engine']})", _arranged(found["bare_arrangement"])),
    ]
    return BenchPage("Line and backbone", tuple(facts), tuple(tables), (*machine.notes(), *_pipeline_notes(found)))


def engine_page(found: Document, machine: Machine) -> BenchPage:
    tables = [_engine_table(name, engine) for name, engine in found["engines"].items()]
    head = found["head"]
    if head is not None:
        rows = (
            ("the product's own pass", _number(head["pass_ms"], 2)),
            ("head", _number(head["head_ms"], 2)),
            ("head with heat map and regions", _number(head["head_with_map_ms"], 2)),
        )
        title = f"One frame on one thread: {head['head']}, profile {head['profile']}"
        tables.append(FigureTable(title, ("", "median ms"), rows))
    notes = [f"{name} was not measured: {reason}" for name, reason in found["absent"].items()]
    return BenchPage("Engines", tuple(machine.facts()), tuple(tables), (*machine.notes(), *notes))


def products_page(found: Document, machine: Machine) -> BenchPage:
    counts = found["counts"]
    least = min(counts, key=int)
    rows = tuple(
        (
            count,
            _number(own["p50_ms"], 2),
            _ratio(own["p50_ms"], counts[least]["p50_ms"]),
            _number(own["p99_ms"], 2),
            _number(own["rss_mib"], 1),
            str(own["lost"]),
            str(own["unjudged"]),
        )
        for count, own in counts.items()
    )
    columns = ("products", "p50 ms", f"of that with {least}", "p99 ms", "memory MiB", "lost", "unjudged")
    facts = [
        *machine.facts(),
        ("line", f"{found['cameras']} cameras, {found['rate_fps']:g} frames a second, profile {found['profile']}"),
        ("frames", f"{found['frames']} for each count in each of {found['rounds']} rounds"),
        ("memory of one more product", f"{_number(found['mib_per_product'], 2)} MiB"),
    ]
    return BenchPage(
        "Many products", tuple(facts), (FigureTable("By products", columns, rows),), tuple(machine.notes())
    )


def capacity_page(found: Document, machine: Machine) -> BenchPage:
    columns = ("frames a second", "in time", "p50 ms", "p99 ms", "p99.9 ms", "")
    rows = tuple(
        (
            _number(trial["rate_fps"], 1),
            f"{100 * trial['share_in_time']:.2f} %",
            _number(trial["p50_ms"], 1),
            _number(trial["p99_ms"], 1),
            _number(trial["p999_ms"], 1),
            "in time" if trial["is_in_time"] else "too late",
        )
        for trial in sorted(found["trials"], key=lambda trial: float(trial["rate_fps"]))
    )
    rate = found["rate_fps"]
    facts = [
        *machine.facts(),
        ("engine", found["engine"]),
        ("product", f"{found['head']} head, profile {found['profile']}"),
        ("line", f"{found['cameras']} cameras at gates, {_products(found['products'])}, {found['arrivals']} arrivals"),
        ("deadline", f"{found['deadline_ms']:g} ms"),
        (
            "highest rate in time",
            "none" if rate is None else f"{_number(rate, 1)} frames a second, all cameras together",
        ),
        ("99.9 % of parts took at most", f"{_number(found['p999_ms'], 1)} ms at that rate"),
    ]
    notes = [*machine.notes()]
    if rate is None:
        notes.append(
            "No rate was in time. Allow a longer deadline, take a cheaper profile, or give the agent more cores."
        )
    if rate is not None and found["too_high_by"] > _SMALL_SHARE:
        notes.append(
            f"The rate may be up to {found['too_high_by']:.0%} too high: at so long a deadline, a trial is over before "
            "a line that is a little too slow has fallen behind by it."
        )
    if found["frames"] < _FEW:
        notes.append(
            f"The trial that tells had {found['frames']} frames. What happens once in {_FEW} frames can't be seen in "
            "so few; measure with --frames 2000 or more."
        )
    return BenchPage("Capacity", tuple(facts), (FigureTable("Rates tried", columns, rows),), tuple(notes))


def _throughput(found: Document) -> FigureTable:
    names = ("throughput_fps", "backbone_only_fps", "bare_backbone_fps")
    rows = [
        (f"window {number}", *(_number(window[name], 1) for name in names), *_ratios(window))
        for number, window in enumerate(found["windows"], 1)
    ]
    medians = (_number(found[name], 1) for name in names)
    rows.append(("median", *medians, _number(found["ratio"], 2), _number(found["bare_ratio"], 2)))
    columns = ("", "line", "its pass alone", "backbone alone", "line / pass", "line / backbone")
    return FigureTable("Frames a second at saturation", columns, tuple(rows))


def _ratios(window: Mapping[str, Any]) -> tuple[str, str]:
    line = window["throughput_fps"]
    return _ratio(line, window["backbone_only_fps"]), _ratio(line, window["bare_backbone_fps"])


def _latency(found: Document) -> FigureTable:
    rows = [_quantile_row("due to told", found["latency_ms"], 2)]
    in_p50 = found["latency_in_backbone_p50"]
    p50 = _number(found["backbone_p50_ms"], 2)
    rows.append(_quantile_row(f"in times of the backbone's p50 ({p50} ms)", in_p50, 1))
    rows += [_quantile_row(said, found["stages_ms"][stage], 2) for stage, said in _STAGES.items()]
    rows.append(_quantile_row("sent after it was due", found["sent_late_ms"], 2))
    rows.append(_quantile_row("due to told, after a pause of the line", found["after_pause"]["latency_ms"], 2))
    title = f"Milliseconds at {_number(found['offered_fps'], 1)} frames a second, {found['arrivals']}"
    return FigureTable(title, ("", *_QUANTILES.values()), tuple(rows))


def _quantile_row(name: str, values: Mapping[str, float | None], places: int) -> tuple[str, ...]:
    return (name, *(_number(values[key], places) for key in _QUANTILES))


def _account(found: Document) -> FigureTable:
    used = found["cpu_ms_per_frame"]
    missed = f"{found['deadline_missed']} over {found['deadline_ms']:g} ms, late or unanswered"
    rows = (
        ("frames by the schedule", str(found["frames"])),
        ("frames after a pause besides", str(found["after_pause"]["frames"])),
        ("without an answer", str(found["lost"])),
        ("late by the agent's own word", str(found["late"])),
        ("deadline missed", missed),
        ("unjudged", str(found["unjudged"])),
        ("told twice", str(found["repeated"])),
        ("processor ms of all agents a frame, saturation", _number(used["saturation"], 2)),
        ("processor ms of all agents a frame, schedule", _number(used["schedule"], 2)),
        ("resident memory of all agents, MiB", _number(found["resident_mib"], 1)),
    )
    return FigureTable("Account", ("", "figure"), rows)


def _pipeline_notes(found: Document) -> Sequence[str]:
    notes = []
    if found["without_bare"]:
        notes.append(f"The bare backbone was not measured: {found['without_bare']}")
    if found["unjudged"]:
        shown = found["frames"] + found["after_pause"]["frames"]
        notes.append(
            f"{found['unjudged']} of {shown} frames were not judged, so that rates and latencies are not "
            "those of inspection. `inspector run` with the same settings says why."
        )
    if 0 < found["frames"] < _FEW:
        notes.append(f"Of {found['frames']} frames, p99.9 is the slowest one; take --frames 10000 to say more of it.")
    late_ms = found["sent_late_ms"]["p99"]
    p50 = found["latency_ms"]["p50"]
    if late_ms is not None and p50 is not None and late_ms > p50 / 2:
        notes.append(
            "The cameras of the bench sent many frames late, because this machine had no time for them. Latencies "
            "include that, so the agent alone is faster than they say."
        )
    return notes


def _engine_table(name: str, engine: Mapping[str, Any]) -> FigureTable:
    rows = tuple(
        (
            f"{each['callers']} x {each['threads']} threads, batch {each['batch']}",
            _number(each["fps"], 1),
            _number(1e3 / each["fps"] if each["fps"] else None, 2),
            _number(each["call_p50_ms"], 2),
        )
        for each in engine["arrangements"]
    )
    alone = f"a frame by itself in {_number(engine['frame_p50_ms'], 2)} ms"
    title = f"{name} in {engine['precision']}: the backbone alone, {alone}"
    return FigureTable(title, ("callers x threads", "frames a second", "ms an image", "median ms a call"), rows)


def _line(found: Document) -> str:
    gates = "each at a gate" if found["gates"] else "without gates"
    cameras = f"{found['cameras']} camera{'s' if found['cameras'] != 1 else ''} {gates}"
    agents = found.get("agents", 1)
    if "agent_cores" in found:
        each = f"{found['agent_cores']} core{'' if found['agent_cores'] == 1 else 's'}"
        cameras += f", one agent with {each}" if agents == 1 else f", {agents} agents with {each} each and one store"
    return f"{cameras}, {_products(found['products'])}, {found['broker']}, {found['database']}"


def _products(count: int) -> str:
    return f"{count} product{'' if count == 1 else 's'}"


def _arranged(arrangement: Mapping[str, Any] | None) -> str:
    if arrangement is None:
        return _ABSENT
    return f"{arrangement['callers']} x {arrangement['threads']} threads, batch {arrangement['batch']}"


def _ratio(value: float | None, base: float | None) -> str:
    return _ABSENT if value is None or not base else f"{value / base:.2f}"


def _number(value: float | None, places: int) -> str:
    return _ABSENT if value is None else f"{value:.{places}f}"
