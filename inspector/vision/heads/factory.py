"""The heads by one name: whichever a product has, a pass's embeddings go in and judgements come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from inspector.vision.engines.protocols import Engine, Patches
from inspector.vision.heads.base import Judgement, Readout
from inspector.vision.heads.prototype import Member, PrototypeHead
from inspector.vision.heads.student import Student, StudentHead


class Head(Protocol):
    """Ready on one engine. Same frames, same answers, however they are batched."""

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]: ...


def open_head(members: Sequence[Member], student: Student | None, readout: Readout, engine: Engine) -> Head:
    """The student's head where there is a student, else the banks'."""
    if student is not None:
        return StudentHead(student, readout, engine)
    return PrototypeHead(members, readout, engine)
