"""How often an event is told that may come with every part: each event is stored for a year. Pure.

The first event of a kind is told at once. Those that come soon after it are kept, and told together when the pause is
over. While they keep coming, the pause grows from ten seconds to ten minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 600.0
LOOK_S: Final = 1.0
"""Time between two looks for pauses that are over."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The time after an event was told, in which others of its kind are kept."""

    began_ns: int
    length_s: float

    @classmethod
    def first(cls, now_ns: int) -> Pause:
        """The pause after the first event of a kind, told now."""
        return cls(now_ns, FIRST_PAUSE_S)

    def is_over(self, now_ns: int) -> bool:
        """Whether what was kept may be told."""
        return now_ns - self.began_ns >= self.length_s * 1e9

    def is_forgotten(self, now_ns: int) -> bool:
        """Whether it is so long ago that the next event is a first one again."""
        return now_ns - self.began_ns >= 2 * self.length_s * 1e9

    def longer(self, now_ns: int) -> Pause:
        """The pause after kept events were told now."""
        return Pause(now_ns, min(2 * self.length_s, LONGEST_PAUSE_S))
