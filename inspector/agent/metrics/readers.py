"""How the families of metrics read their values from what was counted and from the view of the agent."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from inspector.agent.metrics.sources import Sources
from inspector.agent.tallies import Reading
from inspector.agent.telemetry import MOST_PRODUCTS
from inspector.domain import ProductVersion
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline.accounts import EVENTS as CONTRADICTIONS
from inspector.stream.pipeline.snapshot import CameraSnapshot, GateSnapshot, Snapshot

Values = Mapping[Any, float | Reading]
"""By tuples of the labels' values, in their order. Any, because a Mapping's key can't be a tuple of any length."""

Reader = Callable[[Sources], Values]
"""What a family has now."""

DROPS: Final[dict[str, tuple[str, str]]] = {
    "records": ("records_dropped", "verdict records for dashboards, because the broker was away or slow"),
    "records_refused": ("records_refused", "verdict records that the broker refuses (its access list)"),
    "commands": ("commands_lost", "commands that came faster than they can be obeyed"),
    "command_replies": ("command_replies_lost", "replies to commands, because the link was down or jammed"),
    "retained_frames": ("retained_dropped", "frames that a camera publishes as retained"),
    "frames_of_unknown_cameras": ("unknown_camera", "records on Kafka of a camera that is not configured"),
    "frames_removed": ("frames_removed", "records on Kafka whose retention ended before this agent read them"),
    "dead_letters": ("dead_letters_lost", "original bytes of unreadable frames, which could not be kept"),
    "late_pictures": ("late_given_up", "late frames that were never judged afterwards, as their picture is gone"),
    "shadow_results": ("shadow_results_lost", "results of shadow versions, as the database was away for long"),
    "acks_bad": ("gate_actions_bad", "acknowledgements of a PLC that can't be read"),
    "acks_of_no_part": ("acks_of_no_part", "acknowledgements of a PLC about no part of its gate"),
    "acks_of_another_agent": ("acks_of_another_agent", "acknowledgements about parts of another agent, which has them"),
}
"""What `inspector_dropped_total` counts: the value of `what`, the counter's name, and what it is."""

PICTURES: Final = "pictures"

ODD: Final = {kind: part_class for part_class, (kind, _, _) in CONTRADICTIONS.items()}


def counted(name: str, *labels: str, zeros: Callable[[Sources], Iterable[tuple[str, ...]]] | None = None) -> Reader:
    """The counter of this name by these labels. `zeros`: the series that are there before they count anything."""

    def read(sources: Sources) -> Values:
        known = dict.fromkeys(zeros(sources) if zeros else (), 0.0)
        return known | sources.counters.by(name, labels)

    return read


def gauged(name: str, *labels: str, unit: float = 1.0) -> Reader:
    """The gauge of this name by these labels, in another unit that is so many times its own."""
    return lambda sources: {key: value * unit for key, value in sources.gauges.by(name, labels).items()}


def tallied(name: str, label: str) -> Reader:
    """The histogram of this name by this label."""
    return lambda sources: sources.tallies.by(name, (label,))


def timed(name: str, label: str) -> Reader:
    """When something of this name was last, by this label, in Unix time."""
    return lambda sources: sources.times.by(name, (label,))


def shown(look: Callable[[Snapshot], float]) -> Reader:
    """One value of the agent as a whole; none before it has come so far."""
    return lambda sources: {} if sources.view is None else {(): float(look(sources.view.snapshot))}


def of_cameras(look: Callable[[CameraSnapshot], Mapping[tuple[str, ...], float]]) -> Reader:
    """The values that `look` finds at each camera of this agent, by its name and the labels of `look`."""

    def read(sources: Sources) -> Values:
        cameras = sources.view.snapshot.cameras if sources.view else ()
        return {(camera.name, *rest): value for camera in cameras for rest, value in look(camera).items()}

    return read


def of_gates(look: Callable[[GateSnapshot], Mapping[tuple[str, ...], float]]) -> Reader:
    """The values that `look` finds at each gate of this agent, by its name and the labels of `look`."""

    def read(sources: Sources) -> Values:
        gates = sources.view.snapshot.gates if sources.view else ()
        return {(gate.name, *rest): value for gate in gates for rest, value in look(gate).items()}

    return read


def one_of(words: Iterable[str], current: str | None) -> dict[tuple[str, ...], float]:
    """1 for the current word and 0 for all others."""
    return {(word,): float(word == current) for word in words}


def versions(pick: Callable[[Snapshot], Iterable[ProductVersion]]) -> Reader:
    """1 for each of the picked versions, of the first `MOST_PRODUCTS` products."""

    def read(sources: Sources) -> Values:
        versions = sorted(pick(sources.view.snapshot), key=lambda each: each.product) if sources.view else []
        return {(each.product, str(each.version)): 1.0 for each in versions[:MOST_PRODUCTS]}

    return read


def dropped(sources: Sources) -> Values:
    values = {(what,): sum(value for _, value in sources.counters.get(name, ())) for what, (name, _) in DROPS.items()}
    values[PICTURES,] = float(sources.view.pictures_skipped) if sources.view else 0.0
    return values


def at_odds(sources: Sources) -> Values:
    """Parts by gate and by how their end contradicts what the gate was told. Each is counted under its event's kind."""
    values = dict.fromkeys(itertools.product(sources.gates, map(str, ODD.values())), 0.0)
    for kind, part_class in ODD.items():
        values |= {(gate, str(part_class)): value for (gate,), value in sources.counters.by(kind, ("gate",)).items()}
    return values


def drifts(sources: Sources) -> Values:
    return dict.fromkeys(sources.view.drifts[:MOST_PRODUCTS], 1.0) if sources.view else {}


def links(sources: Sources) -> Values:
    return {(name,): float(is_up) for name, is_up in sources.view.links.items()} if sources.view else {}


def gate_fault(gate: GateSnapshot) -> Mapping[tuple[str, ...], float]:
    return one_of((fault.name.lower() for fault in Fault), gate.fault.name.lower())


def ready(sources: Sources) -> Values:
    view = sources.view
    if view is None:
        return {}
    is_running = view.snapshot.is_taking_frames
    return {(gate.name,): float(is_running and gate.fault is Fault.NONE) for gate in view.snapshot.gates}


def age(camera: CameraSnapshot) -> Mapping[tuple[str, ...], float]:
    return {} if camera.age_bound_s is None else {(): camera.age_bound_s}


def build(sources: Sources) -> Values:
    return {(sources.config.agent.name, sources.software): 1.0}
