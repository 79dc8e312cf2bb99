"""The families about the line: its frames, cameras and gates."""

from __future__ import annotations

import itertools
from typing import Final

from inspector.agent.metrics.family import Family, Kind, Part
from inspector.agent.metrics.readers import (
    ODD,
    age,
    at_odds,
    counted,
    gate_fault,
    gauged,
    of_cameras,
    of_gates,
    one_of,
    ready,
    tallied,
    timed,
)
from inspector.domain import Cause, FrameFault, GateMode, HeldFor, Outcome
from inspector.stream.pipeline.snapshot import UNKNOWN

TOLD: Final = ("in_time", "not_in_time", "withheld", "unknown")
RHYTHMS: Final = ("usual", "silent", "rate_off")
CHALLENGES: Final = ("none", "due", "under_way")
STANDING: Final = (
    (Outcome.PASS, Cause.OK),
    (Outcome.REJECT, Cause.ANOMALY),
    (Outcome.UNJUDGED, Cause.LATE),
    (Outcome.UNJUDGED, Cause.OVERLOAD),
    (Outcome.UNINSPECTED, Cause.NOT_RECEIVED),
)
"""Verdicts that each camera has a series of from the start. Others begin with the first of them."""

FRAMES: Final = Part(
    "Frames and verdicts",
    (
        Family(
            "inspector_deliveries_total",
            Kind.COUNTER,
            "Messages with a frame that came from a camera's broker or folder, redeliveries included.",
            counted("deliveries", "camera", zeros=lambda sources: ((name,) for name in sources.cameras)),
            ("camera",),
            ("deliveries",),
        ),
        Family(
            "inspector_redeliveries_total",
            Kind.COUNTER,
            "Messages that brought a frame which was known already. It is not judged again.",
            counted("redeliveries", "camera"),
            ("camera",),
            ("redeliveries",),
        ),
        Family(
            "inspector_verdicts_total",
            Kind.COUNTER,
            "Verdicts: one for each distinct frame, and one with the cause not_received for each part whose frame "
            "never came.",
            counted(
                "verdicts",
                "camera",
                "outcome",
                "cause",
                zeros=lambda sources: ((name, *map(str, pair)) for name in sources.cameras for pair in STANDING),
            ),
            ("camera", "outcome", "cause"),
            ("verdicts",),
        ),
        Family(
            "inspector_simulated_verdicts_total",
            Kind.COUNTER,
            "Verdicts on frames that are marked as simulated, among all verdicts. No gate is told of them.",
            counted("simulated", "camera"),
            ("camera",),
            ("simulated",),
        ),
        Family(
            "inspector_frame_latency_seconds",
            Kind.HISTOGRAM,
            "Time from the receipt of a frame to its verdict.",
            tallied("latency", "camera"),
            ("camera",),
        ),
        Family(
            "inspector_stage_seconds",
            Kind.HISTOGRAM,
            "Time that each stage took: decode, route, embed and score for a frame, publish from a decision to the "
            "broker's answer, record for a group of rows in the database.",
            tallied("stage", "stage"),
            ("stage",),
        ),
        Family(
            "inspector_level_ratio",
            Kind.HISTOGRAM,
            "How abnormal the parts of a product are, as a share of the threshold: above 1 a part is rejected. Without "
            "simulated frames and reference parts. A distribution that moves towards 1 is drift.",
            tallied("level", "product"),
            ("product",),
        ),
        Family(
            "inspector_late_frames_waiting",
            Kind.GAUGE,
            "Late frames of gates that wait to be judged when the line has time.",
            gauged("late_frames_waiting"),
            reads=("late_frames_waiting",),
        ),
        Family(
            "inspector_late_frames_bytes",
            Kind.GAUGE,
            "Size on disk of the late frames that wait to be judged; images.late_mib is the bound.",
            gauged("late_frames_bytes"),
            reads=("late_frames_bytes",),
        ),
        Family(
            "inspector_late_frames_judged_total",
            Kind.COUNTER,
            "Late frames that were judged afterwards, by what they showed.",
            counted("late_judged", "outcome"),
            ("outcome",),
            ("late_judged",),
        ),
        Family(
            "inspector_late_rejects_total",
            Kind.COUNTER,
            "Late frames that showed a bad part, which had left by the gate's default.",
            counted("late_rejects", "camera", zeros=lambda sources: ((name,) for name in sources.cameras)),
            ("camera",),
            ("late_rejects",),
        ),
        Family(
            "inspector_late_rejects_elsewhere_total",
            Kind.COUNTER,
            "Late frames that showed a bad part about which another agent had told the gate.",
            counted("late_rejects_elsewhere", "camera", zeros=lambda sources: ((name,) for name in sources.cameras)),
            ("camera",),
            ("late_rejects_elsewhere",),
        ),
    ),
)

CAMERAS: Final = Part(
    "Cameras",
    (
        Family(
            "inspector_camera_connected",
            Kind.GAUGE,
            "1 while the agent is connected to the source of the camera's frames.",
            of_cameras(lambda camera: {(): float(camera.is_connected)}),
            ("camera",),
        ),
        Family(
            "inspector_camera_rhythm",
            Kind.GAUGE,
            "1 for how the camera's frames come now: usual, silent (it sends none, though it should), rate_off.",
            of_cameras(lambda camera: one_of(RHYTHMS, camera.rhythm)),
            ("camera", "state"),
        ),
        Family(
            "inspector_camera_last_frame_timestamp_seconds",
            Kind.GAUGE,
            "When the camera's last new frame came, in Unix time.",
            timed("frame", "camera"),
            ("camera",),
        ),
        Family(
            "inspector_camera_frame_fault",
            Kind.GAUGE,
            "1 for the fault that keeps the camera's latest frames from being judged: dark, bright, blurred, moved, "
            "frozen or covered.",
            of_cameras(lambda camera: one_of(map(str, FrameFault), camera.frame_fault)),
            ("camera", "fault"),
        ),
        Family(
            "inspector_camera_clock_off",
            Kind.GAUGE,
            "1 while the camera's clock is trusted and its captured-at can't be right.",
            of_cameras(lambda camera: {(): float(camera.is_clock_off)}),
            ("camera",),
        ),
        Family(
            "inspector_camera_age_bound_seconds",
            Kind.GAUGE,
            "Greatest possible age of a frame of this gated camera that comes now: how far the agent may be behind the "
            "line. Missing while no age can be proved.",
            of_cameras(age),
            ("camera",),
        ),
    ),
)

GATES: Final = Part(
    "Gates",
    (
        Family(
            "inspector_gate_ready",
            Kind.GAUGE,
            "1 while the gate's heartbeat says ready.",
            ready,
            ("gate",),
        ),
        Family(
            "inspector_gate_fault",
            Kind.GAUGE,
            "1 for the first reason why the gate is not ready (docs/gate.md, heartbeat), or for none.",
            of_gates(gate_fault),
            ("gate", "fault"),
        ),
        Family(
            "inspector_gate_held",
            Kind.GAUGE,
            "1 for the reason why the gate is held until a person releases it; all 0: it is not held.",
            of_gates(lambda gate: one_of((*map(str, HeldFor), UNKNOWN), gate.held_for)),
            ("gate", "reason"),
        ),
        Family(
            "inspector_gate_owned",
            Kind.GAUGE,
            "1 while this agent decides about the gate's parts, and no other agent does.",
            of_gates(lambda gate: {(): float(gate.is_owned)}),
            ("gate",),
        ),
        Family(
            "inspector_gate_mode",
            Kind.GAUGE,
            "1 for the mode of the line at this gate. Parts are judged in auto and in golden only.",
            of_gates(lambda gate: one_of(map(str, GateMode), gate.mode)),
            ("gate", "mode"),
        ),
        Family(
            "inspector_gate_challenge",
            Kind.GAUGE,
            "1 for the state of the golden challenge with reference parts: none, due or under_way.",
            of_gates(lambda gate: one_of(CHALLENGES, gate.challenge)),
            ("gate", "state"),
        ),
        Family(
            "inspector_gate_window_seconds",
            Kind.GAUGE,
            "Time from capture until the part reaches the gate, as configured.",
            of_gates(lambda gate: {(): gate.window_s}),
            ("gate",),
        ),
        Family(
            "inspector_decisions_total",
            Kind.COUNTER,
            "Decisions about parts, by action and by whether the gate was told: in_time; not_in_time (its time was "
            "over, the link was down, or another agent owns the gate); withheld (held gate, or a part before a "
            "resync); unknown (sent, and the broker's answer was lost).",
            counted(
                "decisions",
                "gate",
                "action",
                "told",
                zeros=lambda sources: itertools.product(sources.gates, ("pass", "reject"), TOLD),
            ),
            ("gate", "action", "told"),
            ("decisions",),
        ),
        Family(
            "inspector_unjudged_passes_total",
            Kind.COUNTER,
            "Decisions that let a part pass although it was not judged, by the policy of its camera (on_unjudged).",
            counted("unjudged_passes", "gate", zeros=lambda sources: ((name,) for name in sources.gates)),
            ("gate",),
            ("unjudged_passes",),
        ),
        Family(
            "inspector_parts_at_odds_total",
            Kind.COUNTER,
            "Parts whose end, by the PLC's acknowledgement, does not fit what the gate was told: done_otherwise, "
            "default_though_told, passed_unjudged, passed_without_frame, never_acknowledged.",
            at_odds,
            ("gate", "found"),
            tuple(ODD),
        ),
        Family(
            "inspector_misses_corrected_total",
            Kind.COUNTER,
            "Parts that were recorded as missed and whose frame came after all.",
            counted("misses_corrected", "gate"),
            ("gate",),
            ("misses_corrected",),
        ),
        Family(
            "inspector_decisions_foreign_total",
            Kind.COUNTER,
            "Messages that somebody else published on the decision topic of a gate while this agent owned it (MQTT 5). "
            "After 20 in a minute the rest of that minute is not counted.",
            counted("decisions_foreign", "gate", zeros=lambda sources: ((name,) for name in sources.gates)),
            ("gate",),
            ("decisions_foreign",),
        ),
        Family(
            "inspector_acks_contradicting_total",
            Kind.COUNTER,
            "Acknowledgements of a PLC that contradict an earlier one about the same part.",
            counted("acks_contradicting", "gate", zeros=lambda sources: ((name,) for name in sources.gates)),
            ("gate",),
            ("acks_contradicting",),
        ),
    ),
)
