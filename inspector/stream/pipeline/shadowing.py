"""Lets the shadow versions score frames that have their verdict, and writes what they found into `shadow_results`.

Nothing of this reaches a gate or delays a live frame by more than the one pass that is under way. A frame is offered
after its decision has left. It is scored while no live frame is anywhere before its verdict and live frames have time
to spare; if it can't be scored soon it is left out and counted. An error of a shadow version is an event.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from inspector.domain import (
    Cause,
    Embedding,
    Failure,
    FrameFacts,
    Outcome,
    Picture,
    ProductVersion,
    Scored,
    Severity,
    ShadowResult,
    Verdict,
)
from inspector.errors import LedgerUnavailable
from inspector.ports import Images, Ledger, Lineup, ShadowScorer
from inspector.stream.pipeline.ticket import Decode, Shared, Signal
from inspector.stream.pipeline.workers import Workers
from inspector.stream.shadow_line import SPARE_PASSES, ShadowLine

COMPARED_CAUSES: Final = frozenset({Cause.OK, Cause.ANOMALY, Cause.NOT_RELEASED})
"""Frames that the live version judged by its score alone, and frames of a product without a live version."""

LONGEST_WAIT_S: Final = 1.0
"""Live frames wait no longer than this for a shadow pass, even if none of them has a deadline."""

FADING: Final = 0.9
"""What is left of the slowest time, after each frame, as a reason to expect it again."""

WRITE_S: Final = 0.5
RETRY_S: Final = 1.0
GROUP: Final = 256
MOST_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A frame that has its verdict, and waits for the shadow version of `product`."""

    verdict: Verdict
    payload: bytes
    product: str
    embedding: Embedding | None

    @property
    def size_bytes(self) -> int:
        return len(self.payload) + (self.embedding.size_bytes if self.embedding else 0)

    @property
    def decoding_ms(self) -> float:
        """What decoding and preparing this frame took for its verdict."""
        return (self.verdict.decode_ms or 0.0) + (self.verdict.route_ms or 0.0)


class Shadowing:
    """`score_next` is called by the scorer's task, `run` writes rows; `offer` never waits.

    A shadow pass has a thread of its own. The scorer's task waits for it, so that it does not compete with live frames
    for the processor, but not longer than live frames can spare.
    """

    def __init__(
        self, shared: Shared, decode: Decode, lineup: Callable[[], Lineup | None], images: Images, ledger: Ledger
    ) -> None:
        self._shared = shared
        self._decode = decode
        self._lineup = lineup
        self._images = images
        self._ledger = ledger
        self._thread = Workers(1, "shadow")
        self._under_way: asyncio.Future[Scored | Failure] | None = None
        self._line: ShadowLine[_Waiting] = ShadowLine()
        self._rows: deque[ShadowResult] = deque()
        self._has_row = Signal()
        self._slowest_ms: dict[tuple[str, bool], float] = {}
        self._failing: set[str] = set()
        self._short_of_time: set[str] = set()
        self._slow: set[str] = set()
        self._left_out = 0
        self._rows_lost = 0

    def close(self) -> None:
        """End the thread; one that hangs is not waited for long."""
        self._thread.shutdown(wait=True)

    def offer(self, facts: FrameFacts, verdict: Verdict) -> None:
        """Let the shadow version of the frame's product score the frame later, if there is one and there is room."""
        if len(self._line):
            self._shared.has_routed.set()  # the line may go on: this frame has its journal entry now
        product = verdict.product or (facts.failure.product if facts.failure else None)
        lineup = self._lineup()
        if product is None or lineup is None or verdict.cause not in COMPARED_CAUSES:
            return
        if lineup.shadows.version_of(product) is None:
            return
        embedding = facts.scored.embedding if facts.scored else None
        waiting = _Waiting(verdict, facts.admitted.delivery.payload, product, embedding)
        if self._line.put(waiting, waiting.size_bytes):
            self._shared.has_routed.set()
        else:
            self._leave_out(product)

    async def score_next(self) -> bool:
        """Score one waiting frame, if one may be scored now. False: nothing was done."""
        if self._under_way is not None or not self._shared.is_idle:
            return False
        while (waiting := self._line.take()) is not None:
            lineup = self._lineup()
            version = lineup.shadows.version_of(waiting.product) if lineup else None
            if lineup is None or version is None or version.version == waiting.verdict.product_version:
                continue  # the pointers have moved meanwhile: the frame needs no second score
            if self._has_time(waiting, version, lineup.shadows):
                await self._score(waiting, version, lineup.shadows)
                return True
            self._leave_out(waiting.product)
        return False

    async def run(self) -> None:
        """Write rows in groups until cancelled. While the ledger is away they wait, up to `MOST_ROWS`."""
        while True:
            if not self._rows:
                await self._has_row.wait()
                continue
            await self._shared.clock.sleep(WRITE_S)
            try:
                await self._write_oldest()
            except LedgerUnavailable:
                await self._shared.clock.sleep(RETRY_S)

    async def store(self) -> None:
        """Write the remaining rows at the end. Rows that the ledger does not take are lost."""
        try:
            while self._rows:
                await self._write_oldest()
        except LedgerUnavailable:
            self._lose_rows(len(self._rows))

    def _has_time(self, waiting: _Waiting, version: ProductVersion, shadows: ShadowScorer) -> bool:
        cost_ms = self._cost_ms(waiting, version, shadows)
        if self._shared.headroom.allows(round(cost_ms * 1e6)):
            self._short_of_time.discard(version.digest)
            return True
        self._forget_slowest(waiting, version, shadows)
        if version.digest not in self._short_of_time:
            self._short_of_time.add(version.digest)
            spare_ms = max(0, self._shared.headroom.smallest_ns or 0) / 1e6
            detail = (
                f"{_named(version)} is not scored in shadow: it takes {cost_ms:.0f} ms, and live frames have only "
                f"{spare_ms:.0f} ms to spare"
            )
            self._shared.event("shadow_short_of_time", Severity.WARNING, version.product, detail)
        return False

    def _cost_ms(self, waiting: _Waiting, version: ProductVersion, shadows: ShadowScorer) -> float:
        """How long the scorer would be busy: the slowest of the last scorings, else what was measured at loading."""
        is_reused = shadows.can_use(waiting.product, waiting.embedding)
        before_ms = self._slowest_ms.get((version.digest, is_reused), 0.0)
        expected_ms = shadows.expected_ms(waiting.product, waiting.embedding)
        return max(before_ms, expected_ms + (0.0 if is_reused else waiting.decoding_ms))

    def _forget_slowest(self, waiting: _Waiting, version: ProductVersion, shadows: ShadowScorer) -> None:
        """Let the slowest time fade, so that one scoring on a machine that stood still does not end all others."""
        key = version.digest, shadows.can_use(waiting.product, waiting.embedding)
        self._slowest_ms[key] = FADING * self._slowest_ms.get(key, 0.0)

    async def _score(self, waiting: _Waiting, version: ProductVersion, shadows: ShadowScorer) -> None:
        """Begin the pass, and return when it has ended or live frames can't spare more time."""
        camera = self._shared.config.camera_named(waiting.verdict.camera)
        is_reused = shadows.can_use(waiting.product, waiting.embedding)
        began = time.perf_counter()
        work = asyncio.get_running_loop().run_in_executor(
            self._thread,
            shadows.score,
            waiting.product,
            waiting.embedding,
            lambda: self._decode(waiting.payload, camera),
        )

        def end(work: asyncio.Future[Scored | Failure]) -> None:
            self._under_way = None
            self._shared.has_routed.set()
            if work.cancelled():
                return
            took_ms = (time.perf_counter() - began) * 1e3
            key = version.digest, is_reused
            self._slowest_ms[key] = max(took_ms, FADING * self._slowest_ms.get(key, 0.0))
            self._keep(waiting, version, _answer(work), took_ms)

        self._under_way = work
        work.add_done_callback(end)
        limit_s = self._patience_s()
        await asyncio.wait([work], timeout=limit_s)
        self._tell_slow(version, limit_s, is_slow=not work.done())

    def _patience_s(self) -> float:
        """How long live frames may wait for a shadow pass: half of the smallest time to spare."""
        spare_ns = self._shared.headroom.smallest_ns
        return LONGEST_WAIT_S if spare_ns is None else min(LONGEST_WAIT_S, spare_ns / SPARE_PASSES / 1e9)

    def _tell_slow(self, version: ProductVersion, limit_s: float, *, is_slow: bool) -> None:
        if not is_slow:
            self._slow.discard(version.digest)
        elif version.digest not in self._slow:
            self._slow.add(version.digest)
            detail = (
                f"{_named(version)} takes longer than {limit_s * 1e3:.0f} ms in shadow; live frames go on beside it, "
                "and no other frame is scored in shadow until it ends"
            )
            self._shared.event("shadow_slow", Severity.WARNING, version.product, detail)

    def _keep(self, waiting: _Waiting, version: ProductVersion, answer: Scored | Failure, took_ms: float) -> None:
        verdict = waiting.verdict
        self._tell_failure(version, answer)
        outcome = _outcome(answer)
        if verdict.outcome is Outcome.PASS and outcome is Outcome.REJECT:
            # Rejects have their picture already; of a pass a person needs it to say which version is right.
            self._images.keep(Picture(verdict, waiting.payload, None, is_flip=True))
        scored = answer if isinstance(answer, Scored) else None
        self._rows.append(
            ShadowResult(
                result_id=verdict.result_id,
                camera=verdict.camera,
                product=version.product,
                product_version=version.version,
                outcome=outcome,
                artifact_digest=version.digest,
                decided_at=self._shared.clock.now(),
                score_ms=took_ms,
                level=scored.level if scored else None,
                score=scored.score if scored else None,
                threshold=scored.threshold if scored else None,
                detail=answer.detail if isinstance(answer, Failure) else None,
            )
        )
        self._shared.telemetry.count("shadow_results", product=version.product, outcome=outcome.value)
        if len(self._rows) > MOST_ROWS:
            self._rows.popleft()
            self._lose_rows(1)
        self._has_row.set()

    def _tell_failure(self, version: ProductVersion, answer: Scored | Failure) -> None:
        """The first failure of a version after a success is an event; the live version is not affected."""
        if not isinstance(answer, Failure):
            self._failing.discard(version.digest)
        elif version.digest not in self._failing:
            self._failing.add(version.digest)
            detail = f"{_named(version)} failed on a frame in shadow: {answer.detail}"
            self._shared.event("shadow_failed", Severity.WARNING, version.product, detail)

    def _leave_out(self, product: str) -> None:
        self._left_out += 1
        self._shared.telemetry.count("shadow_frames_left_out", product=product)
        self._shared.telemetry.gauge("shadow_frames_left_out", self._left_out)

    async def _write_oldest(self) -> None:
        group = list(itertools.islice(self._rows, GROUP))
        await self._ledger.record_shadow_results(group)
        for result in group:
            if self._rows and self._rows[0] is result:  # the oldest may have been lost meanwhile
                self._rows.popleft()
        self._rows_lost = 0

    def _lose_rows(self, count: int) -> None:
        self._shared.telemetry.count("shadow_results_lost", count)
        if not self._rows_lost and count:
            detail = "no database to keep the results of shadow versions, and no more room: the oldest are lost"
            self._shared.event("shadow_results_lost", Severity.WARNING, self._shared.config.agent.name, detail)
        self._rows_lost += count


def _answer(work: asyncio.Future[Scored | Failure]) -> Scored | Failure:
    """The result of the pass; an error of any kind is a failure, because it must not end the scorer's task."""
    error = work.exception()
    if error is not None:
        return Failure(Cause.SCORER_ERROR, f"{type(error).__name__}: {error}")
    return work.result()


def _outcome(answer: Scored | Failure) -> Outcome:
    if isinstance(answer, Failure):
        return Outcome.UNJUDGED
    # Strictly above, as for the live version.
    return Outcome.REJECT if answer.score > answer.threshold else Outcome.PASS


def _named(version: ProductVersion) -> str:
    return f"{version.product} version {version.version}"
