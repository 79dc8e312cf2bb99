"""Decides outcome, cause and action of one frame: the contract's table of causes as a function that never fails.

Pure. A score alone never makes a pass. The frame must also have sound metadata, be in time, come in a
mode that inspects, and show an allowed product. For all other frames the camera's policy sets the action
that is sent to the gate; the policy has no default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspector.config.line_sections import CameraSection
from inspector.domain import Action, Admitted, Cause, FrameFacts, GateMode, Outcome

OUTCOME_OF: dict[Cause, Outcome] = {
    Cause.OK: Outcome.PASS,
    Cause.ANOMALY: Outcome.REJECT,
    Cause.UNKNOWN_PRODUCT: Outcome.UNJUDGED,
    Cause.WRONG_PRODUCT: Outcome.REJECT,
    Cause.UNDECODABLE: Outcome.UNJUDGED,
    Cause.SCORER_ERROR: Outcome.UNJUDGED,
    Cause.NO_TRIGGER_ID: Outcome.UNJUDGED,
    Cause.NOT_RELEASED: Outcome.UNJUDGED,
    Cause.FRAME_HEALTH: Outcome.UNJUDGED,
    Cause.LATE: Outcome.UNJUDGED,
    Cause.OVERLOAD: Outcome.UNJUDGED,
    Cause.VIEW_MISSING: Outcome.UNJUDGED,
    Cause.NOT_RECEIVED: Outcome.UNINSPECTED,
    Cause.BYPASS: Outcome.UNINSPECTED,
}

UNINSPECTING_MODES = frozenset({GateMode.BYPASS, GateMode.SETUP, GateMode.CLEAN})


@dataclass(frozen=True, slots=True)
class Policy:
    """The actions that are sent to a gate for the causes other than a pass and an anomaly."""

    on_unjudged: Action
    on_late: Action
    on_wrong_product: Action
    on_frame_health: Action
    expected_product: str | None = None

    @classmethod
    def of(cls, camera: CameraSection) -> Policy:
        """The camera's settings, with the contract's defaults where it sets none."""
        return cls(
            on_unjudged=camera.on_unjudged,
            on_late=camera.on_late or camera.on_unjudged,
            on_wrong_product=camera.on_wrong_product or Action.REJECT,
            on_frame_health=camera.on_frame_health or camera.on_unjudged,
            expected_product=camera.product,
        )


@dataclass(frozen=True, slots=True)
class Ruling:
    """The recorded outcome and cause of a frame, and the action that is sent to the gate."""

    outcome: Outcome
    cause: Cause
    detail: str | None
    action: Action


def rule(cause: Cause, policy: Policy, detail: str | None = None) -> Ruling:
    """The outcome and action of a cause, by the contract's table and the camera's policy."""
    return Ruling(OUTCOME_OF[cause], cause, detail, _action(cause, policy))


def decide(facts: FrameFacts, policy: Policy, mode: GateMode, is_late: bool) -> Ruling:
    """The ruling of a frame. Never raises: a frame without a usable score gets the cause `scorer_error`."""
    cause, detail = _find_cause(facts, policy, mode, is_late)
    ruling = rule(cause, policy, detail)
    if mode is not GateMode.GOLDEN:
        return ruling
    # A reference part was not made by the line. The gate gets a decision only in a challenge, which tests the gate too.
    action = ruling.action if facts.admitted.standing.is_master else Action.NONE
    return replace(ruling, action=action, detail=f"golden: {detail}" if detail else "golden")


def _find_cause(facts: FrameFacts, policy: Policy, mode: GateMode, is_late: bool) -> tuple[Cause, str | None]:
    admitted, scored, failure = facts.admitted, facts.scored, facts.failure
    if mode in UNINSPECTING_MODES:
        return Cause.BYPASS, mode.value
    if admitted.fault is not None:
        return Cause.UNDECODABLE, admitted.fault
    if admitted.missing_trigger:
        return Cause.NO_TRIGGER_ID, "the frame carries no trigger-id, and its gate needs one"
    if failure is not None and failure.cause in (Cause.UNDECODABLE, Cause.OVERLOAD):
        return failure.cause, failure.detail
    if is_late:
        return Cause.LATE, _late_detail(facts)
    if failure is not None:
        return failure.cause, failure.detail
    if scored is None:
        return Cause.SCORER_ERROR, "no score was made"
    return _by_score(facts, policy)


def _by_score(facts: FrameFacts, policy: Policy) -> tuple[Cause, str | None]:
    scored, route = facts.scored, facts.route
    if scored is None or route is None:
        return Cause.SCORER_ERROR, "a score without a route"
    for expected in announced_products(facts.admitted, policy):
        if route.product != expected:
            return Cause.WRONG_PRODUCT, f"{expected} was announced, {route.product} is shown"
    # Strictly above: the threshold is the score of a good image, so a good part may reach it.
    if scored.score > scored.threshold:
        return Cause.ANOMALY, None
    if scored.score <= scored.threshold:
        return Cause.OK, None
    return Cause.SCORER_ERROR, "the score is not a number"


def announced_products(admitted: Admitted, policy: Policy) -> tuple[str, ...]:
    """The products that the frame was announced to show: by its camera's setting, its own claim, and the job."""
    job = admitted.standing.job
    claims = (policy.expected_product, admitted.claimed_product, job.product if job else None)
    return tuple(product for product in claims if product is not None)


def _late_detail(facts: FrameFacts) -> str:
    if facts.admitted.delivery.backlog:
        return "waited in the broker"
    if facts.admitted.is_late:
        return "arrived after its time"
    return "judged after its time"


def _action(cause: Cause, policy: Policy) -> Action:
    match cause:
        case Cause.OK:
            return Action.PASS
        case Cause.ANOMALY:
            return Action.REJECT
        case Cause.WRONG_PRODUCT:
            return policy.on_wrong_product
        case Cause.FRAME_HEALTH:
            return policy.on_frame_health
        case Cause.LATE | Cause.OVERLOAD | Cause.VIEW_MISSING:
            return policy.on_late
        case Cause.NOT_RECEIVED | Cause.BYPASS:
            return Action.NONE
        case _:
            return policy.on_unjudged
