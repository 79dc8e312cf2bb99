"""The frozen types that travel on the road from frame to reject, and nothing else: no I/O, no torch, no SQL.

Each stage of the road hands one type to the next stage. Import the types from this package, not from its files.
"""

from inspector.domain.acks import AckContradiction, GateAction, GateReport
from inspector.domain.commands import CommandName, CommandRecord, CommandRequest, Order
from inspector.domain.events import Event, Severity
from inspector.domain.frames import (
    Admitted,
    Delivery,
    Frame,
    FrameKey,
    Identity,
    Position,
    ResultId,
    Route,
    Routed,
    RouteFacts,
    Sighting,
    TimeSource,
    part_result_id,
)
from inspector.domain.gates import NOTHING_TOLD, Action, GateMode, GateState, Job, Standing
from inspector.domain.parts import Ack, GateTerms, Part, PartClass, PartCount, PartFacts, PartSelection, Seen
from inspector.domain.printing import printable
from inspector.domain.products import LiveSet, ProductVersion
from inspector.domain.verdicts import (
    SCHEMA_VERSION,
    Cause,
    DeadLetter,
    Decision,
    Failure,
    FrameFacts,
    Outcome,
    Picture,
    Region,
    Scored,
    Verdict,
)

__all__ = [
    "NOTHING_TOLD",
    "SCHEMA_VERSION",
    "Ack",
    "AckContradiction",
    "Action",
    "Admitted",
    "Cause",
    "CommandName",
    "CommandRecord",
    "CommandRequest",
    "DeadLetter",
    "Decision",
    "Delivery",
    "Event",
    "Failure",
    "Frame",
    "FrameFacts",
    "FrameKey",
    "GateAction",
    "GateMode",
    "GateReport",
    "GateState",
    "GateTerms",
    "Identity",
    "Job",
    "LiveSet",
    "Order",
    "Outcome",
    "Part",
    "PartClass",
    "PartCount",
    "PartFacts",
    "PartSelection",
    "Picture",
    "Position",
    "ProductVersion",
    "Region",
    "ResultId",
    "Route",
    "RouteFacts",
    "Routed",
    "Scored",
    "Seen",
    "Severity",
    "Sighting",
    "Standing",
    "TimeSource",
    "Verdict",
    "part_result_id",
    "printable",
]
