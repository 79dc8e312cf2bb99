"""A line's store as its agent leaves it: drawn parts, routed and scored by real versions, with their pictures.

No agent and no broker run. Rows come from `SqlLedger`, pictures from `FolderImages`, verdicts from a real lineup.
"""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.sections import EngineSection
from inspector.domain import (
    Action,
    Admitted,
    AgentPresence,
    Cause,
    Decision,
    Delivery,
    Failure,
    Frame,
    FrameKey,
    GateAction,
    GateState,
    Identity,
    Outcome,
    Picture,
    Position,
    ResultId,
    TimeSource,
    Verdict,
)
from inspector.ports import Lineup
from inspector.store.console.agents import SeenAgent, note_alive, note_ended
from inspector.store.database import Database, configured, ensure_schema
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.pictures.images import FolderImages
from inspector.store.registry.registry import SqlRegistry
from inspector.stream.decode import DecodeLimits, EncodedImage
from inspector.vision.serving.lineup import VisionLoader

Draw = Callable[[str, int, bool], bytes]
"""Product, seed, whether the part is good -> the encoded frame."""

REJECT_EVERY = 17
UNJUDGED_EVERY = 59
LATE_EVERY = 83


@dataclass(frozen=True, slots=True)
class Plan:
    """What the cameras showed: `parts` each, one every `gap_s`, the last one `ended_s` ago."""

    cameras: Sequence[str] = ("cam1", "cam2")
    products: Sequence[str] = ("disc", "bar")
    parts: int = 120
    gap_s: float = 5.0
    ended_s: float = 1.0
    lot: str | None = "L-2071"


def write_config(folder: Path, cameras: Sequence[str], more: str = "") -> Path:
    """A configuration with these cameras, each at a gate of its own, whose state is `folder`/state."""
    lines = ["[agent]", 'name = "line1"', 'prefix = "t"', f'state_dir = "{folder / "state"}"']
    lines += ["[console]", 'listen = "127.0.0.1:0"']
    for camera in cameras:
        lines += ["[[camera]]", f'name = "{camera}"', 'on_unjudged = "quarantine"', 'trigger_from = "topic"']
    for camera in cameras:
        lines += ["[[gate]]", f'name = "gate-{camera}"', f'cameras = ["{camera}"]', "window_ms = 1000"]
    path = folder / "inspector.toml"
    path.write_text("\n".join(lines) + "\n" + more)
    return path


class Line:
    """The agent's side of the store. Enter it to add parts."""

    def __init__(self, config: Config, draw: Draw) -> None:
        self.config = config
        self._draw = draw
        self._clock = SystemClock()
        self._number = 0
        self._began = self._clock.now()

    async def __aenter__(self) -> Line:
        self.database: Database = await configured(self.config).__aenter__()
        await ensure_schema(self.database)
        self._ledger = SqlLedger(self.database, self._clock)
        images = FolderImages(
            self.config.agent.state_dir / "images", max_bytes=2**30, keep_passes=1.0, clock=_NoPause(), held=None
        )
        self._images = await images.__aenter__()
        self._lineup = await self._loaded()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._images.__aexit__(*exc)
        await self.database.__aexit__(*exc)

    async def _loaded(self) -> Lineup:
        async with SqlRegistry(self.database, self._clock) as registry:
            live = await registry.live()
            artifacts = {each.digest: await registry.artifact(each.product, each.version) for each in live.versions}
        loader = VisionLoader(EngineSection(name="onnxruntime", threads=1), self.config.agent.state_dir / "engines")
        lineup, _ = loader.load(live, artifacts.get, None)
        return lineup

    async def show(self, plan: Plan) -> None:
        """Add the plan's parts, and the state of the gates."""
        now = datetime.now(UTC)
        for camera_number, camera in enumerate(plan.cameras):
            product = plan.products[camera_number % len(plan.products)]
            verdicts = []
            for number in range(plan.parts):
                at = now - timedelta(seconds=plan.ended_s + plan.gap_s * (plan.parts - 1 - number) + camera_number / 9)
                verdicts.append(self._judged(camera, product, number + camera_number, at, plan.lot))
            for start in range(0, len(verdicts), 100):
                some = verdicts[start : start + 100]
                told = [(_decision(each), True) for each in some if each.published]
                await self._ledger.record(some, told, [GateState(f"gate-{camera}")])
                await self._ledger.record_gate_actions([_report(each) for each in some])
        await self.live()

    async def reject(self, camera: str, product: str) -> Verdict:
        """A bad part, now."""
        self._number += 1
        verdict = self._judged(camera, product, 9000 + self._number, datetime.now(UTC), None, is_good=False)
        await self._ledger.record([verdict], [], [])
        return verdict

    async def part(self, camera: str, product: str) -> Verdict:
        """A good part, now, as its gate is told and acknowledges it."""
        self._number += 1
        verdict = self._judged(camera, product, 8000 + self._number, datetime.now(UTC), "L-2071", is_good=True)
        await self._ledger.record([verdict], [(_decision(verdict), True)], [])
        await self._ledger.record_gate_actions([_report(verdict)])
        return verdict

    @property
    def _presence(self) -> AgentPresence:
        return AgentPresence(self.config.agent.name, "i", "s", "inspector 0.1.0", "c" * 64, self._began)

    async def live(self) -> None:
        """The agent's sign of life, now, and its gates."""
        now = self._clock.now()
        await self._ledger.record_owned(self._presence, {gate.name: 1 for gate in self.config.gate}, {})
        await note_alive(
            self.database, SeenAgent(self.config.agent.name, "inspector 0.1.0", self._began, now), "c" * 64
        )

    async def stop(self) -> None:
        """The agent gives its gates up and ends, as after SIGTERM."""
        await self._ledger.record_owned(self._presence, {}, {})
        await note_ended(self.database, self.config.agent.name, self._clock.now(), "SIGTERM")

    def _judged(
        self, camera: str, product: str, number: int, at: datetime, lot: str | None, *, is_good: bool | None = None
    ) -> Verdict:
        good = number % REJECT_EVERY != 9 if is_good is None else is_good
        payload = self._draw(product, 500 + number, good)
        key = FrameKey(camera, "", 1, None, number, None, hashlib.sha256(payload).hexdigest(), nonce=uuid.uuid4().hex)
        delivery = Delivery(Position(camera, 1, number), camera, payload, {}, at, 0)
        admitted = Admitted(delivery, key, at, TimeSource.RECEIVED)
        verdict = self._verdict(admitted, lot)
        routed = self._lineup.router.route(Frame(admitted, EncodedImage(payload, DecodeLimits())))
        heat = None
        if isinstance(routed, Failure):
            verdict = dataclasses.replace(
                verdict, cause=routed.cause, cause_detail=routed.detail, product=routed.product
            )
        else:
            (scored,) = self._lineup.scorer.score([routed])
            assert not isinstance(scored, Failure)
            is_reject = scored.score > scored.threshold
            heat = scored.heat_map
            verdict = dataclasses.replace(
                verdict,
                outcome=Outcome.REJECT if is_reject else Outcome.PASS,
                cause=Cause.ANOMALY if is_reject else Cause.OK,
                action=Action.REJECT if is_reject else Action.PASS,
                product=routed.facts.product,
                product_version=routed.facts.product_version,
                artifact_digest=routed.facts.artifact_digest,
                level=scored.level,
                score=scored.score,
                threshold=scored.threshold,
                regions=scored.regions,
                route_confidence=routed.facts.confidence,
                decode_ms=0.9,
                route_ms=routed.facts.route_ms,
                embed_ms=scored.embed_ms,
                score_ms=scored.score_ms,
                total_ms=2.1 + routed.facts.route_ms + scored.embed_ms + scored.score_ms,
                engine=scored.engine,
            )
        if is_good is None and number % UNJUDGED_EVERY == UNJUDGED_EVERY - 1:
            verdict = dataclasses.replace(
                verdict,
                outcome=Outcome.UNJUDGED,
                cause=Cause.FRAME_HEALTH,
                cause_detail="dark: mean 4 of 255",
                action=Action.QUARANTINE,
                regions=(),
                level=None,
            )
        if is_good is None and number % LATE_EVERY == LATE_EVERY - 1:
            verdict = dataclasses.replace(
                verdict, outcome=Outcome.UNJUDGED, cause=Cause.LATE, action=Action.QUARANTINE, published=False
            )
        self._images.keep(Picture(verdict, payload, heat))
        return verdict

    def _verdict(self, admitted: Admitted, lot: str | None) -> Verdict:
        key, at = admitted.key, admitted.delivery.received_at
        return Verdict(
            result_id=ResultId(key.result_id),
            camera=key.camera,
            view="",
            epoch=1,
            frame_id=None,
            trigger_id=key.trigger_id,
            part_id=None,
            outcome=Outcome.UNJUDGED,
            cause=Cause.UNKNOWN_PRODUCT,
            cause_detail=None,
            action=Action.QUARANTINE,
            received_at=at,
            decided_at=at,
            identity=Identity.WEAK,
            agent=self.config.agent.name,
            software="inspector 0.1.0",
            config_digest="c" * 64,
            gate=f"gate-{key.camera}",
            lot=lot,
            captured_at=at,
            time_source=TimeSource.RECEIVED,
            published=True,
            frame_sha256=key.sha256,
            registry_revision="1",
        )


def _decision(verdict: Verdict) -> Decision:
    return Decision(
        gate=verdict.gate or "",
        epoch=1,
        trigger_id=verdict.trigger_id or 0,
        action=verdict.action,
        cause=verdict.cause,
        result_id=verdict.result_id,
        act_before=verdict.decided_at + timedelta(seconds=1),
        act_before_ns=0,
        in_flight=verdict.trigger_id is None,
    )


def _report(verdict: Verdict) -> GateAction:
    """What the PLC did: as told, and the gate's default, a reject, where it was told nothing."""
    trigger, at = verdict.trigger_id or 0, verdict.decided_at + timedelta(seconds=0.5)
    action, source = (list(Action).index(verdict.action), 1) if verdict.published else (2, 2)
    return GateAction(verdict.gate or "", 1, trigger, action, source, 1, at, report_id=verdict.result_id, agent="line1")


class _NoPause(SystemClock):
    """A clock by which the small latest picture is due with each frame."""

    def __init__(self) -> None:
        self._ns = 0

    def monotonic_ns(self) -> int:
        self._ns += 10**9
        return self._ns
