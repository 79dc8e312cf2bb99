"""Events that may come for every part, told at a bounded rate.

Each kind has pauses of its own for each subject, a gate for example (../pauses.py). What is kept is told when the
pause is over, whether or not more comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from inspector.domain import Severity
from inspector.stream.pauses import LOOK_S, Pause
from inspector.stream.pipeline.ticket import Shared

MOST_CASES: Final = 8
"""Cases that one event names; of more cases only the number is told."""

Sentence = Callable[[int, str], str]
"""What happened, for the number of cases and the text that names them."""


def as_it_is(_count: int, cases: str) -> str:
    """The sentence of an event whose cases are sentences of their own."""
    return cases


@dataclass(slots=True)
class _Kind:
    severity: Severity
    pause: Pause
    left_out: int = 0
    cases: dict[str, None] = field(default_factory=dict)
    sentence: Sentence = as_it_is
    is_cut: bool = False


class Alarms:
    """Tells each kind of event at most once in a while for each subject.

    `is_kept`: what waits to be told is kept against a kill. Leave it out for what the next run finds out by itself.
    """

    def __init__(self, shared: Shared, *, is_kept: bool = True) -> None:
        self._shared = shared
        self._is_kept = is_kept
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def tell(
        self, kind: str, severity: Severity, subject: str, case: str, count: int = 1, sentence: Sentence = as_it_is
    ) -> None:
        """Tell the event, or keep it for the next one of its kind. `case` names what happened to `count` things.

        `sentence` makes the event's text of one case, or of many: what they have in common is said once.
        """
        now_ns = self._shared.clock.monotonic_ns()
        known = self._kinds.get((kind, subject))
        if known is None or (not known.left_out and known.pause.is_forgotten(now_ns)):
            self._kinds[kind, subject] = _Kind(severity, Pause.first(now_ns))
            self._shared.event(kind, severity, subject, sentence(count, case))
            return
        known.left_out += count
        known.sentence = sentence
        if severity is Severity.ALARM:  # the gravest of the cases counts
            known.severity = severity
        if len(known.cases) < MOST_CASES:
            known.cases[case] = None
            if self._is_kept:
                self._shared.event_waits(kind, severity, subject, _text(known))
        elif case not in known.cases:
            known.is_cut = True
        self.tell_due()

    def is_due(self, kind: str, subject: str) -> bool:
        """Whether an event of this kind would be told at once. What waits until then can still be taken back."""
        known = self._kinds.get((kind, subject))
        return known is None or known.pause.is_over(self._shared.clock.monotonic_ns())

    def tell_due(self, *, is_last: bool = False) -> None:
        """Tell what was kept and whose pause is over. `is_last`: without waiting for the pause."""
        now_ns = self._shared.clock.monotonic_ns()
        for (kind, subject), known in self._kinds.items():
            if not known.left_out or not (is_last or known.pause.is_over(now_ns)):
                continue
            self._kinds[kind, subject] = _Kind(known.severity, known.pause.longer(now_ns))
            self._shared.event(kind, known.severity, subject, f"since the last such event: {_text(known)}")

    async def run(self) -> None:
        """Tell what is due, again and again, until cancelled."""
        while True:
            await self._shared.clock.sleep(LOOK_S)
            self.tell_due()


def _text(kind: _Kind) -> str:
    """What was left out, in a sentence."""
    return kind.sentence(kind.left_out, "; ".join(kind.cases) + (" and others" if kind.is_cut else ""))
