"""Bounds the age of a frame that the frame of a later part has overtaken.

A frame that comes out of order was held up where no marker sees it: in its camera, or on the way to the broker. Its
part came to the trigger after the part before it, so the frame is not older than the frame of that earlier part. The
age of an overtaken frame therefore counts from the receipt of the nearest earlier frame of the same camera. A time of
capture proves more, unless it says that the part was taken after the later one: then it is not the part's.

Pure: times are monotonic nanoseconds passed in.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final

REMEMBERED_FRAMES: Final = 256

Part = tuple[int, int]
"""Epoch and count of a part at a gate."""


class ReceiptOrder:
    """When the latest frames of one camera came, by part."""

    def __init__(self) -> None:
        self._received_ns: OrderedDict[Part, int] = OrderedDict()
        self._furthest: Part | None = None
        self._captured_at: datetime | None = None

    def note(self, part: Part, received_ns: int, captured_at: datetime | None = None) -> bool:
        """Note a new frame. Returns whether the frame of a later part came before it.

        `captured_at`: by the camera's clock; None where that is not known or not trusted.
        """
        is_overtaken = self._furthest is not None and part < self._furthest
        if not is_overtaken:
            self._furthest, self._captured_at = part, captured_at
        self._received_ns.setdefault(part, received_ns)
        while len(self._received_ns) > REMEMBERED_FRAMES:
            self._received_ns.popitem(last=False)
        return is_overtaken

    def is_captured_in_order(self, captured_at: datetime) -> bool:
        """Whether an overtaken frame was taken before the frame of the latest part, by the camera's own clock."""
        return self._captured_at is not None and captured_at < self._captured_at

    def not_before_ns(self, part: Part) -> int | None:
        """The receipt of the nearest earlier part of the same epoch; None if no such part is known."""
        earlier = [known for known in self._received_ns if known < part and known[0] == part[0]]
        return self._received_ns[max(earlier)] if earlier else None
