"""The contract suite of sources, which the fake and all real connectors pass.

A test module subclasses `SourceContract` and provides the fixture `rig`: a source, a sender on its other
side, and an agent that can be stopped and started again. The rig says what its kind of source can't do
(metadata, a link that breaks), and the tests then expect only the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import ClassVar, Protocol

from inspector.domain import Delivery
from inspector.ports import FrameSource

TIMEOUT_S = 60.0


class SourceRig(Protocol):
    """A source under test and its surroundings. `source` is entered; the fixture leaves it."""

    source: FrameSource
    carries_properties: bool
    marks_redelivery: bool

    async def send(self, payload: bytes, properties: Mapping[str, str]) -> None:
        """Send a frame. When this returns, the frame is in the broker, if there is a broker."""

    async def restart(self) -> None:
        """End the agent in order and start it again: `source` is then a new one of the same name."""

    async def break_link(self) -> bool:
        """Lose the link and restore it. False if this kind of source has no link."""


class Reader:
    """Reads a source in the background, so that tests can wait for deliveries, or see that there are none."""

    def __init__(self, source: FrameSource) -> None:
        self.source = source
        self.got: list[Delivery] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self.source.deliveries()) as deliveries:  # type: ignore[type-var]  # a generator
            async for delivery in deliveries:
                self.got.append(delivery)

    async def take(self, count: int) -> list[Delivery]:
        """All deliveries, once there are at least `count`."""
        await wait_until(lambda: len(self.got) >= count)
        return self.got

    async def end(self) -> None:
        """The reader has ended by itself, as it must after `stop_intake`."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.task


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds. Raises TimeoutError if it does not in time."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - any fact about any source; none offers an event for it
            await asyncio.sleep(0.005)


def payloads(deliveries: list[Delivery]) -> list[bytes]:
    return [each.payload for each in deliveries]


class SourceContract:
    """Subclass this and provide the fixture `rig`."""

    frames: ClassVar[list[bytes]] = [b"\xff\xd8 frame %d \x00\xff" % number for number in range(6)]

    async def send_all(self, rig: SourceRig, frames: list[bytes]) -> None:
        for frame in frames:
            await rig.send(frame, {})

    async def test_source_frames_sent_arrive_in_order_untouched(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames)
        got = await reader.take(len(self.frames))
        assert payloads(got) == self.frames
        assert {each.camera for each in got} == {"cam1"}
        assert all(each.received_at.utcoffset() == timedelta(0) for each in got)
        assert [each.received_ns for each in got] == sorted(each.received_ns for each in got)
        assert not any(each.redelivered or each.backlog for each in got)

    async def test_source_positions_rise_within_one_stream_and_generation(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames)
        positions = [each.position for each in await reader.take(len(self.frames))]
        assert len({(each.stream, each.generation) for each in positions}) == 1
        offsets = [each.offset for each in positions]
        assert offsets == sorted(set(offsets))

    async def test_source_properties_arrive_under_lower_case_names(self, rig: SourceRig) -> None:
        if not rig.carries_properties:
            return
        reader = Reader(rig.source)
        await rig.send(self.frames[0], {"Trigger-Id": "17", "part-id": "Teil ä"})
        got = await reader.take(1)
        assert got[0].properties == {"trigger-id": "17", "part-id": "Teil ä"}

    async def test_source_restart_brings_only_what_was_not_acknowledged(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames[:4])
        got = await reader.take(4)
        assert await rig.source.acknowledge(got[1].position)
        await rig.restart()
        again = await Reader(rig.source).take(2)
        assert payloads(again) == self.frames[2:4]
        if rig.marks_redelivery:
            assert all(each.redelivered for each in again)

    async def test_source_acknowledging_all_leaves_nothing_for_a_restart(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames[:3])
        for each in list(await reader.take(3)):
            await rig.source.acknowledge(each.position)
        await rig.restart()
        reader = Reader(rig.source)
        await rig.send(self.frames[5], {})
        assert payloads(await reader.take(1)) == [self.frames[5]]

    async def test_source_confirms_an_acknowledgement_that_the_broker_has_taken(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames[:2])
        got = await reader.take(2)
        assert await rig.source.acknowledge(got[1].position)
        answer = rig.source.confirmation(got[1].position)
        assert answer is None or await answer

    async def test_source_stale_position_acknowledges_nothing(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames[:2])
        stale = (await reader.take(2))[1].position
        if not await rig.break_link():
            return
        again = (await reader.take(4))[2:]
        assert payloads(again) == self.frames[:2]
        assert again[0].position.generation > stale.generation
        if rig.marks_redelivery:
            assert all(each.redelivered for each in again)
        assert not await rig.source.acknowledge(stale)
        await rig.break_link()
        assert payloads((await reader.take(6))[4:]) == self.frames[:2]

    async def test_source_paused_hands_out_nothing_until_resumed(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await rig.send(self.frames[0], {})
        first = (await reader.take(1))[0]
        rig.source.pause()
        await self.send_all(rig, self.frames[1:4])
        await rig.source.acknowledge(first.position)
        assert payloads(reader.got) == self.frames[:1]
        rig.source.resume()
        assert payloads(await reader.take(4)) == self.frames[:4]

    async def test_source_stopped_ends_deliveries_but_still_acknowledges(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        await self.send_all(rig, self.frames[:2])
        got = list(await reader.take(2))
        await rig.source.stop_intake()
        await reader.end()
        await rig.send(self.frames[2], {})
        await rig.source.acknowledge(got[0].position)
        await rig.restart()
        assert payloads(await Reader(rig.source).take(2)) == self.frames[1:3]

    async def test_source_stopped_while_paused_ends_deliveries(self, rig: SourceRig) -> None:
        reader = Reader(rig.source)
        rig.source.pause()
        await rig.source.stop_intake()
        await reader.end()
        assert reader.got == []
