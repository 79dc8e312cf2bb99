"""Verdicts, decisions and other samples with a likely value in every field. A test changes the fields it is about."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from inspector.domain import (
    Action,
    Cause,
    Challenge,
    CommandName,
    CommandRecord,
    Decision,
    Event,
    FrameKey,
    GateAction,
    Identity,
    Master,
    Order,
    Outcome,
    Severity,
    ShadowResult,
    TimeSource,
    Verdict,
    missed_result_id,
)
from inspector.testing.clock import START


def challenge_of(challenge_id: str, **changes: Any) -> Challenge:
    """An open challenge of gate g1 with one good and one bad part, unless changed."""
    usual = Challenge(
        challenge_id=challenge_id,
        gate="g1",
        agent="agent1",
        by="ada",
        reason="shift",
        begun=START,
        within_s=60.0,
        expected=(Master(Outcome.PASS, "G1"), Master(Outcome.REJECT)),
        product="bolt",
    )
    return dataclasses.replace(usual, **changes)


def verdict_of_part(number: int, **changes: Any) -> Verdict:
    """The verdict of part `number` at camera `cam1`: a pass with strong identity, unless changed."""
    sha256 = hashlib.sha256(f"frame {number}".encode()).hexdigest()
    key = FrameKey(
        camera=changes.get("camera", "cam1"),
        view=changes.get("view", ""),
        epoch=changes.get("epoch", 1),
        frame_id=changes.get("frame_id", f"f{number}"),
        trigger_id=changes.get("trigger_id", number),
        part_id=changes.get("part_id"),
        sha256=sha256,
        nonce=f"n{number}" if changes.get("identity") is Identity.WEAK else "",
        lap=changes.get("lap", 0),
    )
    usual = Verdict(
        result_id=key.result_id,
        camera=key.camera,
        view=key.view,
        epoch=key.epoch,
        lap=key.lap,
        frame_id=key.frame_id,
        trigger_id=key.trigger_id,
        part_id=key.part_id,
        outcome=Outcome.PASS,
        cause=Cause.OK,
        cause_detail=None,
        action=Action.PASS,
        received_at=START,
        decided_at=START,
        identity=Identity.STRONG,
        agent="agent1",
        software="0.1.0",
        config_digest="c" * 64,
        captured_at=START,
        time_source=TimeSource.RECEIVED,
        product="bolt",
        product_version=1,
        level=0.5,
        score=1.5,
        threshold=3.0,
        total_ms=12.5,
        frame_sha256=sha256,
        registry_revision="r1",
    )
    return dataclasses.replace(usual, **changes)


def missed_verdict_of_part(number: int, epoch: int = 1, lap: int = 0, **changes: Any) -> Verdict:
    """The row of part `number` at gate `g1`, whose frame did not come."""
    return verdict_of_part(
        number,
        result_id=missed_result_id("g1", epoch, lap, number),
        gate="g1",
        epoch=epoch,
        lap=lap,
        outcome=Outcome.UNINSPECTED,
        cause=Cause.NOT_RECEIVED,
        action=Action.NONE,
        frame_id=None,
        frame_sha256=None,
        **changes,
    )


def decision_for(verdict: Verdict, action: Action = Action.PASS, **changes: Any) -> Decision:
    """The decision for gate `g1` on the verdict's part; trigger 0, in flight, if the verdict has no trigger."""
    usual = Decision(
        gate="g1",
        epoch=verdict.epoch,
        lap=verdict.lap,
        trigger_id=verdict.trigger_id or 0,
        action=action,
        cause=verdict.cause,
        result_id=verdict.result_id,
        act_before=START,
        act_before_ns=2_000_000_000,
        in_flight=verdict.trigger_id is None,
    )
    return dataclasses.replace(usual, **changes)


def event_of(kind: str = "link_down", **changes: Any) -> Event:
    """A warning about camera `cam1`."""
    return dataclasses.replace(Event(START, kind, Severity.WARNING, "cam1", "a test"), **changes)


def command_of(cmd_id: str, **changes: Any) -> CommandRecord:
    """A command by Ada that put gate `g1` into clean mode, obeyed by agent1."""
    usual = CommandRecord(
        cmd_id=cmd_id,
        name=CommandName.MODE,
        agent="agent1",
        by="ada",
        reason="belt is cleaned",
        sent_at=START,
        received_at=START,
        is_obeyed=True,
        detail="g1: mode clean",
        orders=(Order("g1", "mode", "auto", "clean"),),
    )
    return dataclasses.replace(usual, **changes)


def shadow_result_of(number: int, **changes: Any) -> ShadowResult:
    """Version 2 of `bolt` passes part `number` in shadow."""
    usual = ShadowResult(
        result_id=verdict_of_part(number).result_id,
        camera="cam1",
        product="bolt",
        product_version=2,
        outcome=Outcome.PASS,
        artifact_digest="d" * 64,
        decided_at=START,
        score_ms=1.5,
    )
    return dataclasses.replace(usual, **changes)


def gate_action_of(trigger_id: int, **changes: Any) -> GateAction:
    """A report that gate `g1` rejected the part as decided, seen by its sensor."""
    usual = GateAction("g1", 1, trigger_id, 2, 1, 1, START, report_id=f"r{trigger_id:06d}", agent="agent1")
    return dataclasses.replace(usual, **changes)
