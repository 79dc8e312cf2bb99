"""Finds views of one part that can't be of one part: by their part ids, or because two cameras sent one picture.

Pure. Views are joined by their trigger ids alone, and a camera whose count has slipped shows another part under the
same number. Two cameras that send the same bytes are one stream that is read twice. A later view is compared with the
earlier ones of its part; a second picture of the same camera is no other view.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from inspector.stream.gates import PartKey

PARTS_KEPT: Final = 4096
"""Parts of a gate whose views are remembered: more than are under way."""


class Disagreement(enum.Enum):
    """How a view contradicts an earlier view of its part."""

    PART_ID = "part_id"
    SAME_PICTURE = "same_picture"


@dataclass(frozen=True, slots=True)
class View:
    """What is compared of a view. `sha256`: of its bytes."""

    camera: str
    sha256: str
    part_id: str | None


class ViewAgreement:
    """The views of the latest parts of each gate. One event loop owns it."""

    def __init__(self) -> None:
        self._gates: dict[str, OrderedDict[PartKey, list[View]]] = {}

    def note(self, gate: str, part: PartKey, view: View) -> tuple[Disagreement, View] | None:
        """Note a view. Returns how it contradicts an earlier one of another camera, and that one; None if it fits."""
        parts = self._gates.setdefault(gate, OrderedDict())
        earlier = parts.setdefault(part, [])
        while len(parts) > PARTS_KEPT:
            parts.popitem(last=False)
        others = [each for each in earlier if each.camera != view.camera]
        earlier.append(view)
        for other in others:
            if other.sha256 == view.sha256:
                return Disagreement.SAME_PICTURE, other
        for other in others:
            if None not in (other.part_id, view.part_id) and other.part_id != view.part_id:
                return Disagreement.PART_ID, other
        return None
