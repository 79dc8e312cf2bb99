"""Computes when a frame was captured, by when it must be decided, and whether it is too late already. Pure.

At a gate no frame counts as younger than its source can prove (`Delivery.not_before_ns`). A frame without such a bound
is late, and so is a frame whose bound leaves no time within the window. A frame that its camera may have kept has a
bound only beside a trusted `captured-at` that is used (`Delivery.may_have_waited`). A trusted `captured-at` that is
older than the allowed skew makes a frame late as well. A `captured-at` later than the receipt is ignored. A frame that
a later part's frame has overtaken is as old as `overtaking` bounds it, unless its camera's clock says that it was taken
before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from inspector.config.line_sections import CameraSection, GateSection
from inspector.domain import Delivery, TimeSource
from inspector.stream.age import marker_period_ms

CLOCK_JITTER_MS: Final = 20.0
"""A camera's clock that is ahead by no more than this is ignored without an alarm."""

WITHOUT_TIME: Final = (
    "its frames carry no usable captured-at, although its clock is trusted: their time counts from receipt, as with an "
    'untrusted clock. Let the camera send captured-at, or set clock = "untrusted"'
)
AHEAD: Final = "it is ignored, and the time of its frames counts from receipt. Set the camera's clock right"
BEHIND: Final = (
    "more than max_skew_ms allows: such frames are late, and the gate is told nothing of them. Set the camera's clock "
    "right, or find out where its frames wait"
)

PERIODS_ON_TIME: Final = 4
"""Markers count as on time while the age of a frame is bounded by this many of their periods: one may be slow."""

PERIODS_OPEN: Final = 2
"""The bound of a frame that did not wait lies up to so many periods back."""


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """The times of one frame. `act_before` and `act_before_ns` are None without a window.

    `clock_fault` describes the fault of the camera's clock; None: no fault.
    """

    captured_at: datetime
    source: TimeSource
    act_before: datetime | None = None
    act_before_ns: int | None = None
    is_late: bool = False
    clock_fault: str | None = None


def times_of(
    delivery: Delivery, claimed: datetime | None, camera: CameraSection, gate: GateSection | None
) -> FrameTimes:
    """The times of a frame. `claimed`: its `captured-at`, which counts only if the camera's clock is trusted."""
    captured_at, clock_fault, is_behind = _captured_at(delivery, claimed, camera)
    source = TimeSource.RECEIVED if captured_at is None else TimeSource.CAMERA
    window_ms = gate.window_ms if gate else camera.window_ms
    if window_ms is None:
        return FrameTimes(captured_at or delivery.received_at, source, clock_fault=clock_fault)
    not_before_ns = delivery.proven_ns if captured_at is None else delivery.not_before_ns
    bound_ms = None if not_before_ns is None else (delivery.received_ns - not_before_ns) / 1e6
    age_ms = _age_ms(delivery, captured_at, gate, bound_ms)
    is_late = delivery.backlog or is_behind or (gate is not None and _is_beyond(bound_ms, gate))
    return FrameTimes(
        captured_at=captured_at or delivery.received_at,
        source=source,
        act_before=delivery.received_at + timedelta(milliseconds=window_ms - age_ms),
        act_before_ns=delivery.received_ns + int((window_ms - age_ms) * 1e6),
        is_late=is_late,
        clock_fault=clock_fault,
    )


def overtaken_times(times: FrameTimes, delivery: Delivery, gate: GateSection, not_before_ns: int | None) -> FrameTimes:
    """The times of a frame that came after the frame of a later part of its camera.

    `not_before_ns`: the receipt of the nearest earlier part's frame; None: no such frame is known, so nothing bounds
    the age.
    """
    if not_before_ns is None:
        return replace(times, is_late=True)
    left_ms = gate.window_ms - (delivery.received_ns - not_before_ns) / 1e6
    act_before_ns = delivery.received_ns + int(left_ms * 1e6)
    if times.act_before_ns is not None and times.act_before_ns <= act_before_ns:
        return times
    return replace(
        times,
        act_before=delivery.received_at + timedelta(milliseconds=left_ms),
        act_before_ns=act_before_ns,
        is_late=times.is_late or left_ms <= gate.window_ms - gate.judging_ms,
    )


def _captured_at(
    delivery: Delivery, claimed: datetime | None, camera: CameraSection
) -> tuple[datetime | None, str | None, bool]:
    """The time of capture if it is usable, a fault of the clock, and whether the frame is too old by that time."""
    if camera.clock != "trusted":
        return None, None, False
    if claimed is None:
        return None, WITHOUT_TIME, False
    behind_ms = (delivery.received_at - claimed).total_seconds() * 1000
    if behind_ms > camera.max_skew_ms:
        return None, f"captured-at of its frame lies {behind_ms / 1000:,.1f} s back, {BEHIND}", True
    if behind_ms >= 0:
        return claimed, None, False
    if -behind_ms <= CLOCK_JITTER_MS:
        return None, None, False
    return None, f"captured-at of its frame lies {-behind_ms / 1000:,.1f} s ahead: {AHEAD}", False


def _age_ms(
    delivery: Delivery, captured_at: datetime | None, gate: GateSection | None, bound_ms: float | None
) -> float:
    """The age from which the time left is counted: by the camera's clock, by the bound, or zero at receipt."""
    if captured_at is not None:
        return (delivery.received_at - captured_at).total_seconds() * 1000
    if gate is None or bound_ms is None:
        return 0.0
    if gate.match == "single_in_flight":
        return bound_ms
    period_ms = marker_period_ms(gate.window_ms)
    # When a decision comes too late, the slot of its trigger is already closed, so the decision hits no other part.
    # So what markers on time leave open need not count. What is more than that, the frame has waited for certain.
    return bound_ms if bound_ms > PERIODS_ON_TIME * period_ms else max(0.0, bound_ms - PERIODS_OPEN * period_ms)


def _is_beyond(bound_ms: float | None, gate: GateSection) -> bool:
    """Whether the frame can be so old that no time is left within the window. None: nothing bounds its age."""
    return bound_ms is None or bound_ms >= gate.judging_ms
