"""Every figure that the code counts or measures has a metric, named with its unit and with bounded labels."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.agent.metrics.families import COVERED, FAMILIES, STANDARD
from inspector.agent.metrics.family import Family, Kind
from inspector.agent.metrics.line_families import CHALLENGES, RHYTHMS
from inspector.agent.metrics.readers import DROPS
from inspector.stream.pipeline.accounts import EVENTS

ROOT = Path(__file__).parents[4]
UNITS = ("_seconds", "_bytes", "_frames", "_ratio", "_info")
COUNTS = {
    "inspector_frames_in_flight",
    "inspector_frames_bytes",
    "inspector_frames_limit_bytes",
    "inspector_frames_waiting",
    "inspector_frames_decoding",
    "inspector_late_frames_waiting",
    "inspector_rows_spooled",
    "inspector_records_unsent",
    "inspector_products_live",
    "inspector_threads",
    "inspector_event_loop_tasks",
    "inspector_audit_entries",
}
"""Gauges that count things; their names say of what."""

IDS = {"result_id", "frame_id", "trigger_id", "part_id", "lot", "job", "session", "sha256", "revision", "subject"}
_KINDS = {kind for kind, _, _ in EVENTS.values()}
MADE = {"kind": _KINDS, "EVENTS[part_class][0]": _KINDS, "GAUGE": {"gc_pause_ms", "kafka_lag_frames"}}
"""The values of names that stand for a literal where a figure is counted."""


def told_in_code() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Method, name and labels of each call of a Telemetry."""
    for room in ("inspector", "connectors"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if "testing" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield from _told(node, node.func)
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "gauge":
                    yield from _named("gauge", node)


def _told(call: ast.Call, method: ast.Attribute) -> Iterator[tuple[str, str, frozenset[str]]]:
    owner = ast.unparse(method.value)
    if method.attr in ("count", "gauge", "observe_ms") and owner.endswith("telemetry"):
        yield from _named(method.attr, call)


def _named(method: str, call: ast.Call) -> Iterator[tuple[str, str, frozenset[str]]]:
    first = call.args[0]
    names = {first.value} if isinstance(first, ast.Constant) else MADE[ast.unparse(first)]
    labels = frozenset(keyword.arg or "**" for keyword in call.keywords)
    for name in names:
        yield method, name, labels


def test_each_figure_of_the_code_has_a_metric() -> None:
    read = {name for family in FAMILIES for name in family.reads} | set(COVERED)
    told = {(method, name) for method, name, _ in told_in_code() if method != "observe_ms"}
    assert ("count", "decisions") in told
    assert ("gauge", "journal_bytes") in told
    assert {name for _, name in told} - read == set()


def test_each_counter_has_the_labels_of_its_metric() -> None:
    """A count under other labels would be left out."""
    by_name = {name: set(family.labels) for family in FAMILIES for name in family.reads}
    drops = {name for name, _ in DROPS.values()}
    for method, name, labels in told_in_code():
        if method == "count" and name not in drops and name not in {kind for kind, _, _ in EVENTS.values()}:
            assert labels == by_name[name], name


def test_each_metric_reads_what_the_code_tells() -> None:
    told = {name for _, name, _ in told_in_code()}
    own = {"events", "verdicts", "simulated"}  # told by LogTelemetry itself
    assert {name for family in FAMILIES for name in family.reads} - told - own == set()
    assert set(COVERED) <= told
    assert set(COVERED.values()) <= set(STANDARD)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_name_of_metric_is_valid_and_carries_its_unit(family: Family) -> None:
    assert re.fullmatch(r"inspector_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    says_yes_or_no = family.meaning.startswith(("1 ", "Always 1"))
    if family.kind is not Kind.COUNTER and not says_yes_or_no and family.name not in COUNTS:
        assert family.name.endswith(UNITS)
    assert not set(family.labels) & IDS


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_meaning_of_metric_is_one_line_of_whole_sentences(family: Family) -> None:
    assert "\n" not in family.meaning
    assert family.meaning[0].isupper() or family.meaning.startswith("1 ")
    assert family.meaning.endswith(".")
    assert not family.meaning.startswith(("Of these", "The same")), "it stands alone where it is read"


def test_names_of_metrics_are_there_once() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert not set(names) & set(STANDARD)


def test_words_of_states_are_those_of_the_code() -> None:
    """The rhythm and the challenge are plain words; a word that no series has would be lost."""
    rhythm = (ROOT / "inspector" / "stream" / "rhythm.py").read_text(encoding="utf-8")
    snapshot = (ROOT / "inspector" / "stream" / "pipeline" / "snapshot.py").read_text(encoding="utf-8")
    for word, text in itertools.chain(((word, rhythm) for word in RHYTHMS), ((word, snapshot) for word in CHALLENGES)):
        assert f'"{word}"' in text
