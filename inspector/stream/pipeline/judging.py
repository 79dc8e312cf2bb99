"""Runs the workers, the one scorer, and the watch over deadlines.

Blocking work runs on threads. Where passes take single frames, as on a CPU, a frame stays on one worker from its
decoding to its score. Where they take batches, as on a GPU, workers decode and route, and one thread scores. Nothing
here waits for a database or a broker. An error on a thread becomes a verdict with its cause, so that the frame is not
lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from inspector.domain import Admitted, Cause, Failure, Frame, FrameFacts, Routed, Scored, Severity
from inspector.errors import FrameError
from inspector.ports import Lineup
from inspector.stream.deciding import announced_products
from inspector.stream.decode import overview
from inspector.stream.pipeline.frozen import FrozenCameras
from inspector.stream.pipeline.room import JournalRoom
from inspector.stream.pipeline.settling import Settling
from inspector.stream.pipeline.shadowing import Shadowing
from inspector.stream.pipeline.ticket import BatchItem, Decode, Shared, Stage, Ticket
from inspector.stream.pipeline.workers import Workers
from inspector.stream.repetition import print_of

DECODE_LIMIT_S = 10.0
MOST_KILLED_TRIES = 2
TURN_STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class _Seen:
    """A decoded and routed frame. `looks`: the print of its pixels. `answer`: its score, if the worker scored it."""

    routed: Routed | Failure
    looks: str
    decode_ms: float
    answer: Scored | Failure | None = None


class Judging:
    """Takes tickets from the waiting line through decode, route and score. `lineup` is called for each frame."""

    def __init__(
        self,
        shared: Shared,
        settling: Settling,
        room: JournalRoom,
        decode: Decode,
        lineup: Callable[[], Lineup | None],
        frozen: FrozenCameras,
        shadowing: Shadowing,
    ) -> None:
        self._shared = shared
        self._settling = settling
        self._room = room
        self._decode = decode
        self._lineup = lineup
        self._frozen = frozen
        self._shadowing = shadowing
        self._shown: dict[str, str] = {}
        self._decoders = Workers(shared.config.engine.workers, "decode")
        self._scorer = Workers(1, "score")
        self._late_decoder = Workers(1, "late")
        self._is_judging_late = False
        self._suspect: Ticket | None = None

    @property
    def scorer_thread(self) -> Workers:
        """The scorer's thread. The canary runs on it too, so it never runs beside a batch."""
        return self._scorer

    def close(self) -> None:
        """End the threads; a thread that hangs is not waited for long."""
        self._decoders.shutdown(wait=True)
        self._late_decoder.shutdown(wait=True)
        self._scorer.shutdown(wait=True)

    async def run_decoder(self) -> None:
        """One worker."""
        bound = self._shared.config.engine.queue_frames
        while True:
            if len(self._shared.batcher) >= bound:
                await self._shared.has_batch_room.wait()
                continue
            ticket = self._shared.line.take()
            if ticket is None:
                await self._shared.has_frame.wait()
                continue
            self._shared.has_room.set()
            self._shared.decoding += 1
            try:
                await self._decode_one(ticket)
            finally:
                self._shared.decoding -= 1
                self._shared.has_routed.set()

    async def run_scorer(self) -> None:
        """Score one batch after the other: full or due batches, or any waiting frames if no more are on their way.

        Only while no live frame is anywhere before its verdict, one frame is scored by a shadow version. Live frames
        are looked for again after each.
        """
        while True:
            now_ns = self._shared.clock.monotonic_ns()
            is_all_there = not self._shared.decoding and not len(self._shared.line)
            batch = self._shared.batcher.take(now_ns, hurry=is_all_there)
            if batch:
                self._shared.has_batch_room.set()
                await self._score(batch)
                continue
            if await self._shadowing.score_next():
                continue
            due_ns = self._shared.batcher.next_due_ns()
            await self._shared.has_routed.wait(None if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9))

    async def run_deadlines(self) -> None:
        """Settle frames that are not decided by their deadline, and parts with a view that never came."""
        while True:
            now_ns = self._shared.clock.monotonic_ns()
            due_ns = self._shared.next_deadline_ns = self._shed_overdue(now_ns)
            await self._shared.has_deadline.wait(None if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9))

    async def judge_alone(self, admitted: Admitted) -> FrameFacts:
        """Take a late frame through decode, route and score, outside the line. The caller counts its tries.

        It has a decode thread of its own, so it takes no worker from live frames.
        """
        lineup = self._lineup()
        facts = FrameFacts(admitted, lineup_revision=lineup.revision if lineup else None)
        loop = asyncio.get_running_loop()
        self._is_judging_late = True
        try:
            work = loop.run_in_executor(
                self._late_decoder, self._decode_and_route, admitted, lineup, self._expected(admitted)
            )
            async with asyncio.timeout(DECODE_LIMIT_S):
                seen = await work
            routed, facts = seen.routed, replace(facts, decode_ms=seen.decode_ms)
            if isinstance(routed, Failure):
                return replace(facts, failure=routed, route=routed.route)
            if lineup is None:
                return facts  # without a lineup routing has failed already
            facts = replace(facts, route=routed.facts)
            (answer,) = await loop.run_in_executor(self._scorer, lineup.scorer.score, [routed])
            self._shared.last_scored_ns = self._shared.clock.monotonic_ns()
            return _with_answer(facts, answer)
        except TimeoutError:
            self._late_decoder.shutdown()
            self._late_decoder = Workers(1, "late")
            self._tell_hung(admitted.delivery.camera)
            return replace(facts, failure=Failure(Cause.UNDECODABLE, f"not decoded within {DECODE_LIMIT_S:g} s"))
        except FrameError as error:
            return replace(facts, failure=Failure(Cause.UNDECODABLE, str(error)))
        except Exception as error:  # noqa: BLE001 - the stage boundary: it must produce a verdict
            return replace(facts, failure=Failure(Cause.SCORER_ERROR, f"{type(error).__name__}: {error}"))
        finally:
            self._is_judging_late = False

    async def _decode_one(self, ticket: Ticket) -> None:
        if ticket.is_settled:
            return
        admitted = ticket.facts.admitted
        camera, sha256 = ticket.camera, admitted.key.sha256
        await self._wait_for_turn(ticket, is_suspect=self._room.journal.tries(camera, sha256) > 0)
        if ticket.is_settled:
            return
        tries = await self._room.taken(lambda: self._room.journal.append_attempt(camera, sha256))
        if tries >= MOST_KILLED_TRIES:
            self._fail(ticket, Cause.UNDECODABLE, f"its decoding ended the agent {tries} times; not tried again")
            return
        ticket.stage = Stage.DECODING
        ticket.lineup = self._lineup()
        try:
            work = asyncio.get_running_loop().run_in_executor(
                self._decoders, self._inspect, ticket, self._expected(admitted)
            )
            async with asyncio.timeout(DECODE_LIMIT_S):
                result = await work
        except TimeoutError:
            self._replace_decoders(ticket)
            self._fail(ticket, Cause.UNDECODABLE, f"not decoded within {DECODE_LIMIT_S:g} s")
        except FrameError as error:
            self._fail(ticket, Cause.UNDECODABLE, str(error))
        except Exception as error:  # noqa: BLE001 - the stage boundary: it must produce a verdict
            self._fail(ticket, Cause.SCORER_ERROR, f"{type(error).__name__}: {error}")
        else:
            self._take_routed(ticket, result)

    def _expected(self, admitted: Admitted) -> str | None:
        """The product that was announced for this frame, else the last one that its camera showed."""
        camera = admitted.delivery.camera
        announced = announced_products(admitted, self._shared.policies[camera])
        return announced[0] if announced else self._shown.get(camera)

    async def _wait_for_turn(self, ticket: Ticket, is_suspect: bool) -> None:
        """Let a suspect go alone. A suspect is a frame that was in work when the agent was killed; it may be the cause.

        Alone means that no other frame is between decode and journal, because the journal counts every frame there
        as being tried.
        """
        while self._suspect is not None and not self._suspect.is_journaled:
            await self._shared.clock.sleep(TURN_STEP_S)
        if not is_suspect:
            return
        self._suspect = ticket
        while self._is_judging_late or any(
            other.stage is not Stage.WAITING and not other.is_journaled for other in self._others(ticket)
        ):
            await self._shared.clock.sleep(TURN_STEP_S)

    def _others(self, ticket: Ticket) -> list[Ticket]:
        return [other for other in self._shared.in_flight.values() if other is not ticket]

    def _inspect(self, ticket: Ticket, expected: str | None) -> _Seen:
        """Decode and route one frame, and score it where passes take single frames; runs on a worker."""
        lineup = ticket.lineup
        seen = self._decode_and_route(ticket.facts.admitted, lineup, expected)
        if lineup is None or lineup.is_batched or isinstance(seen.routed, Failure):
            return seen
        # The watch over deadlines reads the ticket meanwhile. A frame that is told late keeps its route in its row.
        ticket.facts = replace(ticket.facts, decode_ms=seen.decode_ms, route=seen.routed.facts)
        ticket.stage = Stage.SCORING
        self._shared.checkpoint("routed")
        try:
            (answer,) = lineup.scorer.score([seen.routed])
        except Exception as error:  # noqa: BLE001 - the stage boundary: it must produce a verdict
            answer = Failure(Cause.SCORER_ERROR, f"{type(error).__name__}: {error}")
        self._shared.checkpoint("scored")
        return replace(seen, answer=answer)

    def _decode_and_route(self, admitted: Admitted, lineup: Lineup | None, expected: str | None) -> _Seen:
        """Decode and route one frame; runs on a worker."""
        began = time.perf_counter()
        camera = self._shared.config.camera_named(admitted.delivery.camera)
        image = self._decode(admitted.delivery.payload, camera)
        is_halved = lineup is None or lineup.decodes_halves
        pixels = overview(image) if is_halved else image.halved(0)
        decode_ms = (time.perf_counter() - began) * 1e3
        self._shared.checkpoint("decoded")
        looks = print_of(pixels)
        if lineup is None:
            return _Seen(Failure(Cause.NOT_RELEASED, "no product is loaded yet"), looks, decode_ms)
        return _Seen(lineup.router.route(Frame(admitted, image, expected)), looks, decode_ms)

    def _take_routed(self, ticket: Ticket, seen: _Seen) -> None:
        revision = ticket.lineup.revision if ticket.lineup else None
        facts = replace(ticket.facts, decode_ms=seen.decode_ms, lineup_revision=revision)
        routed = self._frozen.note_pixels(facts.admitted, seen.looks) or seen.routed
        if isinstance(routed, Failure):
            self._settling.settle(ticket, replace(facts, failure=routed, route=routed.route))
            return
        self._shown[ticket.camera] = routed.facts.product
        facts = replace(facts, route=routed.facts)
        if seen.answer is not None:
            self._shared.last_scored_ns = self._shared.clock.monotonic_ns()
            self._settling.settle(ticket, _with_answer(facts, seen.answer))
            return
        ticket.facts = facts
        if ticket.is_settled:
            return
        ticket.stage = Stage.ROUTED
        self._shared.checkpoint("routed")
        now_ns = self._shared.clock.monotonic_ns()
        self._shared.batcher.add(
            f"{revision}/{routed.batch_key}", BatchItem(ticket, routed), now_ns, ticket.decide_by_ns
        )
        self._shared.has_routed.set()

    async def _score(self, batch: list[BatchItem]) -> None:
        batch = [item for item in batch if not item.ticket.is_settled]
        lineup = batch[0].ticket.lineup if batch else None
        if lineup is None:
            return
        for item in batch:
            item.ticket.stage = Stage.SCORING
        frames = [item.routed for item in batch]
        answers: list[Scored | Failure]
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self._scorer, lineup.scorer.score, frames)
        except Exception as error:  # noqa: BLE001 - the stage boundary: it must produce a verdict
            answers = [Failure(Cause.SCORER_ERROR, f"{type(error).__name__}: {error}")] * len(batch)
        for _ in batch:
            self._shared.checkpoint("scored")
        self._shared.last_scored_ns = self._shared.clock.monotonic_ns()
        for item, answer in zip(batch, answers, strict=True):
            self._settling.settle(item.ticket, _with_answer(item.ticket.facts, answer))

    def _shed_overdue(self, now_ns: int) -> int | None:
        """Settle overdue frames. Returns the nearest deadline; None if no frame has a deadline."""
        nearest: int | None = None
        for ticket in list(self._shared.in_flight.values()):
            if ticket.is_settled or ticket.decide_by_ns is None:
                continue
            if ticket.decide_by_ns > now_ns:
                nearest = ticket.decide_by_ns if nearest is None else min(nearest, ticket.decide_by_ns)
            elif ticket.stage is Stage.SCORING:
                self._settling.tell_late(ticket)
            else:
                self._settling.overload(ticket, f"still {ticket.stage.name.lower()} when its time came")
        for name, gate in self._shared.gates.items():
            for missing in gate.expire(now_ns):
                self._settling.settle_missing_view(name, missing)
            if (expiry_ns := gate.next_expiry_ns()) is not None:
                nearest = expiry_ns if nearest is None else min(nearest, expiry_ns)
        return nearest

    def _fail(self, ticket: Ticket, cause: Cause, detail: str) -> None:
        self._settling.settle(ticket, replace(ticket.facts, failure=Failure(cause, detail)))

    def _replace_decoders(self, ticket: Ticket) -> None:
        # A thread can't be stopped, so the pool of the hung one is replaced by a new one.
        self._decoders.shutdown()
        self._decoders = Workers(self._shared.config.engine.workers, "decode")
        self._tell_hung(ticket.camera)

    def _tell_hung(self, camera: str) -> None:
        detail = f"a frame was not decoded within {DECODE_LIMIT_S:g} s; its thread was left behind"
        self._shared.event("decoder_hung", Severity.ALARM, camera, detail)


def _with_answer(facts: FrameFacts, answer: Scored | Failure) -> FrameFacts:
    if isinstance(answer, Failure):
        return replace(facts, failure=answer)
    return replace(facts, scored=answer)
