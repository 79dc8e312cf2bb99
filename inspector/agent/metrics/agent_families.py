"""The families about the agent: its faults, queues and links, its products, its process."""

from __future__ import annotations

from typing import Final

from inspector.agent.garbage import GAUGE as GC_GAUGE
from inspector.agent.metrics.family import Family, Kind, Part
from inspector.agent.metrics.readers import (
    DROPS,
    build,
    counted,
    drifts,
    dropped,
    gauged,
    links,
    one_of,
    shown,
    timed,
    versions,
)
from inspector.stream.gate_fault import Fault

LINKS: Final = {
    "records": "verdict records and states on MQTT",
    "records_kafka": "verdict records on Kafka",
    "gates": "decisions and heartbeats",
    "acks": "acknowledgements of PLCs",
    "commands": "commands to the line",
}
"""The connections besides those of the cameras."""

AGENT_FAULTS: Final = (Fault.NONE, Fault.NO_PRODUCT, Fault.CANARY, Fault.JOURNAL_FULL)

AGENT: Final = Part(
    "The agent",
    (
        Family(
            "inspector_build_info",
            Kind.GAUGE,
            "Always 1; its labels name the agent and its software.",
            build,
            ("agent", "software"),
        ),
        Family(
            "inspector_agent_taking_frames",
            Kind.GAUGE,
            "1 while the agent takes frames; 0 while it starts (it waits for the database, loads products) or ends.",
            lambda sources: {(): float(sources.view is not None and sources.view.snapshot.is_taking_frames)},
        ),
        Family(
            "inspector_agent_silent_seconds",
            Kind.GAUGE,
            "Time since the agent's event loop gave a sign. More than a few seconds: it stands, and all other gauges "
            "are old.",
            lambda sources: {(): sources.silent_s},
        ),
        Family(
            "inspector_agent_fault",
            Kind.GAUGE,
            "1 for what makes verdicts of this agent untrustworthy now: no_product (none is live), canary (the engine "
            "does not reproduce stored scores), journal_full; or for none.",
            lambda sources: (
                one_of((each.name.lower() for each in AGENT_FAULTS), sources.view.snapshot.fault.name.lower())
                if sources.view
                else {}
            ),
            ("fault",),
        ),
        Family(
            "inspector_events_total",
            Kind.COUNTER,
            "Events by kind and severity (info, warning, alarm), as in the log and in the table events.",
            counted("events", "kind", "severity"),
            ("kind", "severity"),
            ("events",),
        ),
        Family(
            "inspector_event_last_timestamp_seconds",
            Kind.GAUGE,
            "When the last event of this kind was, in Unix time.",
            timed("event", "kind"),
            ("kind",),
        ),
    ),
)

QUEUES: Final = Part(
    "Queues, journal and links",
    (
        Family(
            "inspector_frames_in_flight",
            Kind.GAUGE,
            "Frames taken from a broker that have no row or journal entry yet.",
            gauged("frames_in_flight"),
            reads=("frames_in_flight",),
        ),
        Family(
            "inspector_frames_bytes",
            Kind.GAUGE,
            "Encoded frames in memory, in bytes. Near the limit for long: this machine is too slow for its frames.",
            gauged("frames_bytes"),
            reads=("frames_bytes",),
        ),
        Family(
            "inspector_frames_limit_bytes",
            Kind.GAUGE,
            "Most bytes of encoded frames in memory (agent.frames_mib).",
            gauged("frames_limit_bytes"),
            reads=("frames_limit_bytes",),
        ),
        Family(
            "inspector_frames_waiting",
            Kind.GAUGE,
            "Frames that wait to be decoded. More than a few for long: this machine is too slow.",
            gauged("frames_waiting"),
            reads=("frames_waiting",),
        ),
        Family(
            "inspector_frames_decoding",
            Kind.GAUGE,
            "Frames that a worker decodes, routes or scores now.",
            shown(lambda snapshot: snapshot.frames_decoding),
        ),
        Family(
            "inspector_journal_bytes",
            Kind.GAUGE,
            "Size of the journal, where rows wait while the database is away.",
            gauged("journal_bytes"),
            reads=("journal_bytes",),
        ),
        Family(
            "inspector_journal_limit_bytes",
            Kind.GAUGE,
            "Bound of the journal (journal.max_mib). When it is full, gates are not ready.",
            gauged("journal_limit_bytes"),
            reads=("journal_limit_bytes",),
        ),
        Family(
            "inspector_rows_spooled",
            Kind.GAUGE,
            "Rows that only the journal has, because the database does not take them.",
            gauged("rows_spooled"),
            reads=("rows_spooled",),
        ),
        Family(
            "inspector_records_unsent",
            Kind.GAUGE,
            "Verdict records for dashboards that wait for their broker.",
            lambda sources: {(): float(sources.view.records_unsent)} if sources.view else {},
        ),
        Family(
            "inspector_database_up",
            Kind.GAUGE,
            "1 while the database takes rows.",
            lambda sources: {(): float(sources.view is not None and sources.view.snapshot.is_database_up)},
            reads=("ledger_away",),
        ),
        Family(
            "inspector_link_up",
            Kind.GAUGE,
            "1 while this connection to a broker stands: "
            + ", ".join(f"{name} ({what})" for name, what in LINKS.items())
            + ".",
            links,
            ("link",),
        ),
        Family(
            "inspector_kafka_lag_frames",
            Kind.GAUGE,
            "Frames of this partition that are not acknowledged yet.",
            gauged("kafka_lag_frames", "partition"),
            ("partition",),
            ("kafka_lag_frames",),
        ),
        Family(
            "inspector_camera_lag_frames",
            Kind.GAUGE,
            "Frames that are not acknowledged yet, of the partition that this camera's frames are in (Kafka).",
            gauged("kafka_lag_frames", "camera"),
            ("camera",),
            ("kafka_lag_frames",),
        ),
        Family(
            "inspector_dropped_total",
            Kind.COUNTER,
            "What was given up, by what it was. Never a verdict, a decision or a row: those are not dropped.",
            dropped,
            ("what",),
            tuple(name for name, _ in DROPS.values()),
        ),
    ),
)

PRODUCTS: Final = Part(
    "Products and shadow versions",
    (
        Family(
            "inspector_products_live",
            Kind.GAUGE,
            "Number of products that are recognised and judged.",
            shown(lambda snapshot: len(snapshot.live)),
        ),
        Family(
            "inspector_product_live",
            Kind.GAUGE,
            "1 for the version of each product that judges now.",
            versions(lambda snapshot: snapshot.live),
            ("product", "version"),
        ),
        Family(
            "inspector_product_shadow",
            Kind.GAUGE,
            "1 for the version of each product that is scored beside the live one and decides nothing.",
            versions(lambda snapshot: snapshot.shadows),
            ("product", "version"),
        ),
        Family(
            "inspector_product_drift",
            Kind.GAUGE,
            "1 while the accepted parts of a product at a camera do not look as its good images did: up (nearer to the "
            "threshold), down or shape. Its event drift has the likely cause (docs/drift.md).",
            drifts,
            ("product", "camera", "direction"),
        ),
        Family(
            "inspector_shadow_results_total",
            Kind.COUNTER,
            "Frames that a shadow version has scored, by its outcome.",
            counted("shadow_results", "product", "outcome"),
            ("product", "outcome"),
            ("shadow_results",),
        ),
        Family(
            "inspector_shadow_frames_left_out_total",
            Kind.COUNTER,
            "Frames that a shadow version did not score, because live frames left no time.",
            counted("shadow_frames_left_out", "product"),
            ("product",),
            ("shadow_frames_left_out",),
        ),
    ),
)

MACHINE: Final = Part(
    "The process and its disk",
    (
        Family(
            "inspector_state_disk_free_bytes",
            Kind.GAUGE,
            "Free space on the disk of the state folder: database, journal and pictures.",
            gauged("state_disk_free_bytes"),
            reads=("state_disk_free_bytes",),
        ),
        Family(
            "inspector_state_disk_bytes",
            Kind.GAUGE,
            "Size of the disk of the state folder.",
            gauged("state_disk_bytes"),
            reads=("state_disk_bytes",),
        ),
        Family(
            "inspector_threads",
            Kind.GAUGE,
            "Python threads of the agent.",
            gauged("process_threads"),
            reads=("process_threads",),
        ),
        Family(
            "inspector_event_loop_tasks",
            Kind.GAUGE,
            "Tasks of the agent's event loop. Their number does not grow from day to day.",
            gauged("process_tasks"),
            reads=("process_tasks",),
        ),
        Family(
            "inspector_gc_pause_seconds",
            Kind.GAUGE,
            "Longest time for which Python's garbage collector stopped the agent, in the last one to two minutes.",
            gauged(GC_GAUGE, unit=1e-3),
            reads=(GC_GAUGE,),
        ),
    ),
)
