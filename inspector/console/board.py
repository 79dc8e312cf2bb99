"""What the line page shows, as plain values: each camera's newest parts, counts of the shift, and what needs a person.

Pure: rows and counts are put in, the time is passed in. Frames marked as simulated are shown and not counted.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from inspector.domain import Action, Cause, Outcome
from inspector.store.console.agents import SeenAgent, SeenGate
from inspector.store.console.rows import MinuteCount, SeenRow

SHOWN_VERDICTS: Final = 20
HOUR: Final = timedelta(hours=1)
RATE_OVER: Final = timedelta(minutes=5)
LEAST_STALE_S: Final = 3.0
"""A picture is not called old sooner than this, however fast its camera is."""

USUAL_UNKNOWN_S: Final = 10.0
"""The usual gap between two frames of a camera that has shown fewer than three."""

FORGOTTEN: Final = timedelta(hours=24)
"""An agent that has said nothing for this long is no news any more."""

NO_FRAME: Final = frozenset({Outcome.UNINSPECTED.value})
TOO_LATE: Final = frozenset({Cause.LATE.value, Cause.OVERLOAD.value})


def kinds_of(outcome: str, cause: str, action: str, *, is_first: bool) -> Iterator[str]:
    """The counts that a result belongs to."""
    if cause == Cause.BYPASS.value:
        yield "bypass"
        return
    yield outcome
    if outcome in (Outcome.PASS.value, Outcome.REJECT.value) and is_first:
        yield "judged_first"
        if outcome == Outcome.PASS.value:
            yield "passed_first"
    if cause in TOO_LATE:
        yield "late"
    if outcome == Outcome.UNJUDGED.value and action == Action.PASS.value:
        yield "passed_unjudged"


@dataclass(slots=True)
class _Camera:
    newest: deque[SeenRow] = field(default_factory=lambda: deque(maxlen=SHOWN_VERDICTS))
    minutes: dict[datetime, Counter[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """One camera as the page shows it. `newest`: oldest first; `shown`: the last one that is a frame, None if none is.

    `usual_gap_s`: the median time between its last frames. `first_pass_yield`: None while nothing was judged.
    """

    camera: str
    shown: SeenRow | None
    newest: tuple[SeenRow, ...]
    usual_gap_s: float
    per_minute: float
    rejects_last_hour: int
    counts: Counter[str]

    @property
    def first_pass_yield(self) -> float | None:
        judged = self.counts["judged_first"]
        return self.counts["passed_first"] / judged if judged else None

    @property
    def stale_after_s(self) -> float:
        return max(LEAST_STALE_S, 2 * self.usual_gap_s)


@dataclass(frozen=True, slots=True)
class Strip:
    """What needs a person, over all cameras, since the shift began.

    `ownerless`: gates that no agent decides for, though none gave them up; `given_up`: those whose agent was stopped.
    """

    uninspected: int
    passed_unjudged: int
    late: int
    held: tuple[SeenGate, ...]
    ownerless: tuple[str, ...]
    gates: int
    silent: tuple[SeenAgent, ...]
    stopped: tuple[SeenAgent, ...] = ()
    given_up: tuple[str, ...] = ()

    @property
    def is_calm(self) -> bool:
        if self.uninspected or self.passed_unjudged or self.late or self.held:
            return False
        return not (self.ownerless or self.silent or self.stopped or self.given_up)


class LineBoard:
    """Holds the newest rows and the minutes of this shift of each camera."""

    def __init__(self, cameras: Sequence[str] = ()) -> None:
        self._cameras: dict[str, _Camera] = {name: _Camera() for name in cameras}
        self._corrected: dict[str, datetime] = {}

    @property
    def cameras(self) -> list[str]:
        return list(self._cameras)

    def take_counts(self, counts: Iterable[MinuteCount]) -> None:
        """Add counts of rows that are not taken one by one."""
        for each in counts:
            minute = self._camera(each.camera).minutes.setdefault(each.minute, Counter())
            for kind in kinds_of(each.outcome, each.cause, each.action, is_first=each.is_first):
                minute[kind] += each.results

    def take_newest(self, rows: Iterable[SeenRow]) -> None:
        """Show rows, oldest first, that are counted already."""
        for row in rows:
            self._camera(row.camera).newest.append(row)

    def take(self, rows: Iterable[SeenRow]) -> set[str]:
        """Show and count new rows, oldest first. Returns the cameras that changed."""
        changed = set()
        for row in rows:
            camera = self._camera(row.camera)
            camera.newest.append(row)
            changed.add(row.camera)
            if row.simulated or row.corrected_by is not None:
                continue
            minute = camera.minutes.setdefault(row.received_at.replace(second=0, microsecond=0), Counter())
            first = row.inspection_no in (None, 1)
            minute.update(kinds_of(row.outcome, row.cause, row.action, is_first=first))
        return changed

    def forget_before(self, moment: datetime) -> None:
        """Drop minutes that no page needs any more."""
        for camera in self._cameras.values():
            for minute in [each for each in camera.minutes if each < moment]:
                del camera.minutes[minute]

    def card(self, name: str, now: datetime, shift: datetime) -> Card:
        """The camera's card at this time."""
        camera = self._camera(name)
        last_hour = self._sum(camera, now - HOUR)
        recent = self._sum(camera, now - RATE_OVER)
        frames = [row for row in camera.newest if row.outcome not in NO_FRAME]
        return Card(
            camera=name,
            shown=frames[-1] if frames else None,
            newest=tuple(camera.newest),
            usual_gap_s=_usual_gap_s(frames),
            per_minute=(recent["pass"] + recent["reject"] + recent["unjudged"]) / (RATE_OVER.total_seconds() / 60),
            rejects_last_hour=last_hour["reject"],
            counts=self._sum(camera, shift),
        )

    def strip(
        self,
        shift: datetime,
        gates: Sequence[SeenGate],
        ownerless: Sequence[str],
        silent: Sequence[SeenAgent],
        *,
        stopped: Sequence[SeenAgent] = (),
        given_up: Sequence[str] = (),
    ) -> Strip:
        """The strip of this shift, with the gates and agents that are not as they should be, as `Strip` names them."""
        total: Counter[str] = Counter()
        for camera in self._cameras.values():
            total.update(self._sum(camera, shift))
        return Strip(
            uninspected=total["uninspected"],
            passed_unjudged=total["passed_unjudged"],
            late=total["late"],
            held=tuple(gate for gate in gates if gate.held),
            ownerless=tuple(ownerless),
            gates=len(gates),
            silent=tuple(silent),
            stopped=tuple(stopped),
            given_up=tuple(given_up),
        )

    def _camera(self, name: str) -> _Camera:
        return self._cameras.setdefault(name, _Camera())

    @staticmethod
    def _sum(camera: _Camera, since: datetime) -> Counter[str]:
        total: Counter[str] = Counter()
        for minute, counts in camera.minutes.items():
            if minute >= since.replace(second=0, microsecond=0):
                total.update(counts)
        return total


def _usual_gap_s(frames: Sequence[SeenRow]) -> float:
    gaps = [(b.received_at - a.received_at).total_seconds() for a, b in itertools.pairwise(frames)]
    return statistics.median(gaps) if len(gaps) > 1 else USUAL_UNKNOWN_S
