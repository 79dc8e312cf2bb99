"""What deploy/ hands to a monitoring system names figures, labels and words that the code has."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from inspector.agent.metrics.families import FAMILIES, STANDARD
from inspector.agent.metrics.family import Kind
from inspector.agent.metrics.line_families import CHALLENGES, RHYTHMS, TOLD
from inspector.domain import Cause, Outcome, PartClass
from inspector.stream.gate_fault import Fault

ROOT = Path(__file__).parents[4]
RULES = ROOT / "deploy" / "prometheus" / "inspector.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "inspector.json"
BY_NAME = {family.name: family for family in FAMILIES}
WORDS = {
    "cause": set(map(str, Cause)),
    "outcome": set(map(str, Outcome)),
    "found": set(map(str, PartClass)),
    "told": set(TOLD),
    "fault": {fault.name.lower() for fault in Fault},
}
STATES = {*RHYTHMS, *CHALLENGES}
ADDED = {"job", "instance", "le"}
"""Labels that Prometheus or a histogram adds."""

NAME = re.compile(r"\b(?:inspector|process)_[a-z_]+\b")
SELECTOR = re.compile(r"\b(up|(?:inspector|process)_[a-z_]+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    yield from of_dashboard(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def of_dashboard(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from of_dashboard(each)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            else:
                yield from of_dashboard(value)


def family_of(name: str) -> str | None:
    """The family that this series belongs to; None if there is none."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    if base in BY_NAME and BY_NAME[base].kind is Kind.HISTOGRAM:
        return base
    return name if name in BY_NAME or name in STANDARD else None


def test_each_figure_named_in_rules_and_dashboard_exists() -> None:
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(named) > 30
    assert {name for name in named if family_of(name) is None} == set()


def test_labels_and_words_in_selectors_exist() -> None:
    for expression in expressions():
        for name, matchers in SELECTOR.findall(expression):
            family = family_of(name)
            known = ADDED | set(BY_NAME[family].labels if family in BY_NAME else ())
            for label, _, value in MATCHER.findall(matchers):
                assert label in known, expression
                if label == "state":
                    assert value in STATES
                elif label in WORDS:
                    assert set(value.split("|")) <= WORDS[label], expression


def test_bounds_of_buckets_in_expressions_exist() -> None:
    for expression in expressions():
        for name, matchers in SELECTOR.findall(expression):
            for label, _, value in MATCHER.findall(matchers):
                if label == "le":
                    assert name == "inspector_level_ratio_bucket"
                    assert value in {"0.9", "1.0"}


def test_each_alert_says_what_to_do() -> None:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "warning", "info"}
            assert rule["annotations"]["action"].endswith(".")
            assert not set("|{}") & set(rule["annotations"]["action"]), "it stands in a table of the documentation"
            assert rule["annotations"]["summary"]


def test_dashboard_asks_for_its_server_and_every_panel_says_what_it_shows() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance", "product"}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 20
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all("$instance" in target["expr"] for target in panel["targets"])


def test_document_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "write_metrics.py"))
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == script["text"](), "run `python docs/write_metrics.py`"


def test_document_names_every_figure_and_every_alert() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    alerts = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert [name for name in (*BY_NAME, *STANDARD, *alerts) if f"`{name}`" not in written] == []
