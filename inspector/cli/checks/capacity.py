"""The last measured capacity of this machine beside the windows of the gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inspector.cli.checks.finding import Finding, ok, warning
from inspector.cli.checks.line import GATES
from inspector.config.config import Config
from inspector.errors import StateUnusable
from inspector.operation.capacity import kept_capacity, narrow_gates, said

SUBJECT: Final = "capacity"


def check(config: Config) -> Iterator[Finding]:
    """A warning for each gate whose window is under the measured p99.9; nothing without gates."""
    if not config.gate:
        return
    try:
        capacity = kept_capacity(config.agent.state_dir)
    except StateUnusable as error:
        yield warning(GATES, SUBJECT, str(error))
        return
    if capacity is None:
        shortest_ms = min(gate.window_ms for gate in config.gate)
        yield ok(GATES, SUBJECT, f"not measured here; `inspector capacity --deadline-ms {shortest_ms:g}` does it")
        return
    yield ok(GATES, SUBJECT, said(capacity))
    for gate in narrow_gates(config, capacity):
        yield warning(GATES, f"{gate.gate} capacity", f"{gate.detail}.")
