"""The tables for PLC programmers and for readers of results say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from connectors.mqtt.gate_codec import ACTION_CODES, CAUSE_CODES
from inspector.domain import Cause
from inspector.stream.deciding import OUTCOME_OF
from inspector.stream.gate_fault import Fault
from inspector.stream.verdict_record import RECORD_KEYS

DOCS = Path(__file__).parents[3] / "docs"


def test_gate_document_lists_every_code() -> None:
    table = (DOCS / "gate.md").read_text(encoding="utf-8").split("## Codes")[1].split("## heartbeat")[0]
    codes = {name: int(number) for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", table, re.MULTILINE)}
    assert codes == {cause.value: number for cause, number in CAUSE_CODES.items()}


def test_gate_document_lists_every_fault_and_action() -> None:
    text = (DOCS / "gate.md").read_text(encoding="utf-8")
    faults = text.split("| `fault` | meaning |")[1].split("\n\n")[0]
    assert [int(number) for number in re.findall(r"^\| (\d+) ", faults, re.MULTILINE)] == [int(f) for f in Fault]
    actions = ", ".join(f"{number} {action.value}" for action, number in ACTION_CODES.items())
    assert actions in text


def test_results_document_lists_every_key_and_cause() -> None:
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    columns = text.split("## Columns")[1].split("## Causes")[0]
    named = set(re.findall(r"`(\w+)`", columns))
    assert set(RECORD_KEYS) <= named
    causes = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text.split("## Causes")[1], re.MULTILINE))
    assert causes == {cause.value: OUTCOME_OF[cause].value for cause in Cause}
