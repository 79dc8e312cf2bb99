"""The contract suite of late frames that wait, which those in memory and those in a folder pass.

A subclass provides the fixture `box`, which opens them, and opens them again as after kill -9.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from inspector.domain import (
    Admitted,
    Cause,
    Delivery,
    FrameKey,
    Job,
    LateFrame,
    LateOutcome,
    Outcome,
    Position,
    ResultId,
    Standing,
    TimeSource,
    Verdict,
)
from inspector.ports import LateFrames
from inspector.testing.clock import START
from inspector.testing.samples import verdict_of_part

BOUND = 10_000


class Box(Protocol):
    """Where late frames survive. Their bound is `BOUND` bytes."""

    async def open(self) -> LateFrames: ...

    async def kill(self) -> LateFrames:
        """What the next process finds after kill -9."""

    async def close(self) -> LateFrames:
        """What the next process finds after an orderly end."""


def late_frame(number: int, size_bytes: int = 100) -> LateFrame:
    """A frame of part `number` that came too late."""
    payload = b"\xff\xd8\xff" + bytes([number % 256]) * (size_bytes - 3)
    verdict = replace(
        verdict_of_part(number, gate="g1"),
        outcome=Outcome.UNJUDGED,
        cause=Cause.LATE,
        late_outcome=LateOutcome.WAITING,
        job_id="J1",
        lot="L1",
    )
    key = FrameKey(
        verdict.camera, "", verdict.epoch, verdict.frame_id, verdict.trigger_id, None, verdict.frame_sha256 or ""
    )
    properties = {"product": "bolt", "trigger-id": str(number)}
    delivery = Delivery(Position("late", 0, 0), "cam1", payload, properties, START, 0)
    standing = Standing(job=Job("J1", "L1", "bolt", 1, 0))
    return LateFrame(
        verdict, Admitted(delivery, key, START, TimeSource.RECEIVED, claimed_product="bolt", standing=standing)
    )


def finding_of(frame: LateFrame) -> Verdict:
    """The finding of a frame that showed a reject."""
    return replace(frame.verdict, late_outcome=LateOutcome.REJECT, late_cause=Cause.ANOMALY, judged_at=START)


async def findings_in(frames: LateFrames) -> list[Verdict]:
    return await frames.findings(frames.finding_ids())


class LateFramesContract:
    """The tests of the suite. A test module subclasses it as `Test...`, so that pytest collects it."""

    async def test_keep_then_take_gives_the_oldest_unchanged(self, box: Box) -> None:
        frames = await box.open()
        for number in (3, 1, 2):
            await frames.keep(late_frame(number))
        assert (frames.waiting, frames.size_bytes) == (3, 300)
        assert await frames.take() == late_frame(3)
        assert frames.waiting == 3, "it waits until its finding is kept"

    async def test_keep_survives_kill(self, box: Box) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        await frames.keep(late_frame(2))
        frames = await box.kill()
        assert (frames.waiting, frames.size_bytes) == (2, 200)
        assert await frames.take() == late_frame(1)
        await frames.put_finding(finding_of(late_frame(1)))
        assert await frames.take() == late_frame(2)
        assert [frames.has(late_frame(number).verdict.result_id) for number in (1, 2, 3)] == [True, True, False]

    async def test_take_counts_the_tries_that_ended_in_a_kill(self, box: Box) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        await frames.take()
        for tries in (1, 2):
            frames = await box.kill()
            taken = await frames.take()
            assert taken is not None
            assert taken.tries == tries

    async def test_take_before_an_orderly_end_is_no_try(self, box: Box) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        await frames.take()
        frames = await box.close()
        assert await frames.take() == late_frame(1)

    async def test_put_finding_replaces_the_frame_and_survives_kill(self, box: Box) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        await frames.take()
        await frames.put_finding(finding_of(late_frame(1)))
        assert (frames.waiting, frames.size_bytes) == (0, 0)
        frames = await box.kill()
        assert frames.waiting == 0
        assert await findings_in(frames) == [finding_of(late_frame(1))]
        assert await frames.take() is None

    async def test_forget_removes_findings_for_good(self, box: Box) -> None:
        frames = await box.open()
        for number in (1, 2):
            await frames.keep(late_frame(number))
            await frames.put_finding(finding_of(late_frame(number)))
        await frames.forget([late_frame(1).verdict.result_id, ResultId("nobody")])
        assert await findings_in(frames) == [finding_of(late_frame(2))]
        frames = await box.kill()
        assert await findings_in(frames) == [finding_of(late_frame(2))]

    async def test_keep_of_a_frame_that_comes_again_is_not_forgotten_with_its_finding(self, box: Box) -> None:
        frames = await box.open()
        await frames.put_finding(finding_of(late_frame(1)))
        await frames.keep(late_frame(1))
        await frames.forget([late_frame(1).verdict.result_id])
        assert frames.finding_ids() == []
        assert await frames.take() == late_frame(1)

    async def test_keep_beyond_the_bound_gives_the_oldest_up_and_says_so(self, box: Box) -> None:
        frames = await box.open()
        for number in range(1, 16):
            await frames.keep(late_frame(number, 1000))
            assert frames.size_bytes <= BOUND
        frames = await box.kill()
        assert frames.size_bytes <= BOUND
        assert frames.waiting == 10
        found = await findings_in(frames)
        assert [finding.trigger_id for finding in found] == [1, 2, 3, 4, 5]
        assert {finding.late_outcome for finding in found} == {LateOutcome.UNJUDGED}
        assert {finding.late_detail for finding in found} == {
            "not judged afterwards: its picture was dropped to keep within images.late_mib"
        }
        assert await frames.take() == late_frame(6, 1000)

    async def test_keep_of_a_frame_larger_than_the_bound_gives_it_up_alone(self, box: Box) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1))
        await frames.keep(late_frame(2, BOUND + 1))
        assert [finding.trigger_id for finding in await findings_in(frames)] == [2]
        assert await frames.take() == late_frame(1)

    async def test_keep_beyond_the_bound_never_gives_up_the_frame_that_is_judged_now(self, box: Box) -> None:
        frames = await box.open()
        await frames.keep(late_frame(1, 6000))
        await frames.take()
        await frames.keep(late_frame(2, 3000))
        await frames.keep(late_frame(3, 3000))
        assert [finding.trigger_id for finding in await findings_in(frames)] == [2]
