"""The fast part of the fault suite; `make faults` runs all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outcome import Fault, all_faults
from tests.faults.running import run_fault
from tests.kafka_broker import Kafka

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


class SessionWorkshop:
    """What the fixtures of this session have made already."""

    def __init__(self, enrolled: Path, request: pytest.FixtureRequest) -> None:
        self.enrolled = enrolled
        self._request = request

    def kafka(self) -> Kafka:
        server: Kafka = self._request.getfixturevalue("kafka_server")
        server.ensure_running()
        return server


@pytest.mark.parametrize("fault", [fault for fault in all_faults() if fault.is_fast], ids=lambda fault: fault.name)
def test_fault_leaves_one_row_for_each_frame(
    fault: Fault, enrolled_state: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    outcome = run_fault(fault, tmp_path / "scene", SessionWorkshop(enrolled_state, request))
    assert outcome.broken == ()
    assert outcome.deliveries > 0
    assert (outcome.missed, outcome.double_rows, outcome.rejects_without_row) == (0, 0, 0)
    assert outcome.recovery_s is not None
