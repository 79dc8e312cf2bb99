"""What the two files of the ledgers' contract suite share: the content of a ledger, and how a test reads it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from inspector.domain import (
    CommandRecord,
    Event,
    GateAction,
    ShadowResult,
    Verdict,
)
from inspector.ports import Ledger
from inspector.store.stored_records import Conflict, StoredDecision
from inspector.stream.ack_merging import AckRow
from inspector.testing.clock import FakeClock


@dataclass(frozen=True, slots=True)
class Stored:
    """The whole content of a ledger, in the order of recording."""

    rows: list[Verdict]
    decisions: list[StoredDecision]
    conflicts: list[Conflict]
    events: list[Event]
    acks: list[AckRow]
    commands: list[CommandRecord]
    shadow_results: list[ShadowResult]


def without_ids(actions: Sequence[GateAction]) -> list[GateAction]:
    return [dataclasses.replace(action, report_id="") for action in actions]


def firsts(acks: Sequence[AckRow]) -> list[GateAction]:
    """The first report of each row; its own id is not kept once a repetition was counted."""
    return without_ids([row.first for row in acks])


class LedgerSuite:
    """The fixtures that all tests of ledgers use."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    async def stored(self, ledger: Ledger) -> Stored:
        raise NotImplementedError
