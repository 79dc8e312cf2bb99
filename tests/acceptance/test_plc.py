"""A small plant whose PLC knows `docs/gate.md` only: what must be 0 is 0 through a kill and a standstill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plc.lanes import PlantPlan, plan_lanes
from tests.plc.products import pictures_of
from tests.plc.stalls import Standstill, run_stalls
from tests.plc.whole_plant import run_plant

pytestmark = pytest.mark.acceptance

SLOW_MACHINE_MS = 2000.0
"""Windows of this length hold on a machine whose cores are all busy with other work."""


def test_plant_of_sixty_parts_accounts_for_each_through_a_kill_and_a_standstill(
    tmp_path: Path, enrolled_state: Path
) -> None:
    faults = frozenset({"duplicates", "blind", "clock", "no-trigger"})
    plan = PlantPlan(60, 3.0, SLOW_MACHINE_MS, SLOW_MACHINE_MS, 500.0, faults)
    moments = ["stop-agent@4:0.7", "kill-agent@9:0.5"]
    lanes = plan_lanes(plan)
    outcome = run_plant(tmp_path, lanes, moments, pictures_of("disc"), enrolled_state)
    totals = outcome.totals
    assert totals["parts"] == sum(len(lane.parts) for lane in lanes)
    for name in (
        "parts_without_action",
        "decisions_after_their_part_left",
        "passes_by_another_frame",
        "passes_without_frame",
        "frames_without_row",
        "unexplained_decisions",
        "bad_messages",
    ):
        assert totals[name] == 0, name
    assert totals["frames_delivered"] == totals["frames_sent"]
    assert totals["told_in_time"] > 0
    assert outcome.accounts["clock-off"].totals["told_in_time"] == 0
    assert outcome.events["camera_clock_off"] > 0
    assert [incident.failure for incident in outcome.incidents] == [None, None]


@pytest.mark.parametrize("who", ["agent", "broker"])
def test_blind_part_after_a_standstill_never_gets_the_pass_of_the_part_before(
    tmp_path: Path, enrolled_state: Path, who: str
) -> None:
    stills = [Standstill(who, 0.7), Standstill(who, 1.3)]
    run_stalls(tmp_path, stills, 2, pictures_of("disc"), enrolled_state)
    assert [still.repeats for still in stills] == [2, 2]
    assert all(still.blind_parts_passed == still.decisions_on_blind_parts == 0 for still in stills)
