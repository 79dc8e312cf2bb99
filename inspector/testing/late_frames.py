"""Late frames in memory, for tests of the road. They pass the same suite as those in a folder.

`after_kill()` returns what the next process would find. `max_bytes` bounds the frames that wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from inspector.domain import LateFrame, ResultId, Verdict
from inspector.ports import Clock
from inspector.stream.late_record import given_up

DROPPED = "its picture was dropped to keep within images.late_mib"


class InMemoryLateFrames:
    """The port `LateFrames` on dicts; `most_bytes` is the largest `size_bytes` so far."""

    def __init__(self, clock: Clock, max_bytes: int = 2**30) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._frames: dict[ResultId, LateFrame] = {}
        self._findings: dict[ResultId, Verdict] = {}
        self._taken: ResultId | None = None
        self.most_bytes = 0
        self._size_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._taken in self._frames:
            frame = self._frames[self._taken]
            self._frames[self._taken] = replace(frame, tries=frame.tries - 1)

    def after_kill(self) -> InMemoryLateFrames:
        """What the next process finds. Don't use this object afterwards."""
        following = InMemoryLateFrames(self._clock, self._max_bytes)
        following._frames, following._findings = dict(self._frames), dict(self._findings)
        following._size_bytes = self._size_bytes
        return following

    @property
    def waiting(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def has(self, result_id: ResultId) -> bool:
        return result_id in self._frames or result_id in self._findings

    async def keep(self, frame: LateFrame) -> None:
        if _size(frame) > self._max_bytes:
            self._settle(given_up(frame.verdict, DROPPED, self._clock.now()))
            return
        self._findings.pop(frame.verdict.result_id, None)
        self._size_bytes += _size(frame) - self._size_of(frame.verdict.result_id)
        self._frames[frame.verdict.result_id] = frame
        while self._size_bytes > self._max_bytes:
            oldest = next(each for each in self._frames if each != self._taken)
            self._settle(given_up(self._frames[oldest].verdict, DROPPED, self._clock.now()))
        self.most_bytes = max(self.most_bytes, self.size_bytes)

    async def take(self) -> LateFrame | None:
        frame = next(iter(self._frames.values()), None)
        if frame is not None:
            self._taken = frame.verdict.result_id
            self._frames[self._taken] = replace(frame, tries=frame.tries + 1)
        return frame

    async def put_finding(self, finding: Verdict) -> None:
        self._settle(finding)

    def finding_ids(self) -> list[ResultId]:
        return list(self._findings)

    async def findings(self, result_ids: Sequence[ResultId]) -> list[Verdict]:
        return [self._findings[result_id] for result_id in result_ids if result_id in self._findings]

    async def forget(self, result_ids: Sequence[ResultId]) -> None:
        for result_id in result_ids:
            self._findings.pop(result_id, None)

    def _settle(self, finding: Verdict) -> None:
        self._size_bytes -= self._size_of(finding.result_id)
        self._frames.pop(finding.result_id, None)
        self._findings[finding.result_id] = finding

    def _size_of(self, result_id: ResultId) -> int:
        return _size(self._frames[result_id]) if result_id in self._frames else 0


def _size(frame: LateFrame) -> int:
    return len(frame.admitted.delivery.payload)
