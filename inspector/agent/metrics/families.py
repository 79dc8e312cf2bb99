"""All families of metrics: name, kind, labels, what they mean to an operator, and where their values come from.

`docs/metrics.md` is written from this table, and the exposition is made from it, so neither can lack one. Names carry
their unit. Labels are names from the configuration and the registry, and words from this code; never an id. A series
that an alert watches begins with 0, so that its first event is seen.
"""

from __future__ import annotations

from typing import Final

from inspector.agent.metrics.agent_families import AGENT, MACHINE, PRODUCTS, QUEUES
from inspector.agent.metrics.line_families import CAMERAS, FRAMES, GATES
from inspector.agent.metrics.trust_families import TRUST

PARTS: Final = (AGENT, FRAMES, CAMERAS, GATES, TRUST, QUEUES, PRODUCTS, MACHINE)
FAMILIES: Final = tuple(family for part in PARTS for family in part.families)

STANDARD: Final = {
    "process_cpu_seconds_total": "Processor time that the agent has used.",
    "process_resident_memory_bytes": "Memory that the agent holds. It does not grow from day to day.",
    "process_virtual_memory_bytes": "Address space of the agent; says little.",
    "process_start_time_seconds": "When the agent was started, in Unix time. It changes with each restart.",
    "process_open_fds": "Open files and sockets of the agent.",
    "process_max_fds": "Most files and sockets that it may open.",
}
"""Families that the client library adds under the names that all programs use for them, where there is a /proc."""

COVERED: Final = {
    "process_resident_mib": "process_resident_memory_bytes",
    "process_descriptors": "process_open_fds",
}
"""Gauges of the state topic that a standard family says already."""
