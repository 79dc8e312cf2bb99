"""CONTRIBUTING names places that exist, so that a stranger who follows it finds them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("## Ten changes and the files they touch")[2].partition("\n## ")[0]
ROWS = dict(re.findall(r"^\| ([a-z][^|]*?) \| (.+) \|$", TABLE, re.MULTILINE))
ROWS.pop("change")
PLANNED = re.compile(r"`([^`]+)` \(planned\)")
PATH = re.compile(
    r"`((?:inspector|connectors|tests|docs|migrations|configs|systemd|deploy|benchmarks)/[\w./-]*|pyproject\.toml)`"
)
CHANGES = (
    "a metric",
    "a new output beside the gate line",
    "a head",
    "a cause",
    "a region of interest per camera",
    "an exposure",
    "a column",
    "scoring of shadow versions",
    "a page of a console",
    "another JPEG decoder",
)


def test_contributing_has_a_row_for_each_of_the_ten_changes() -> None:
    assert tuple(ROWS) == CHANGES


@pytest.mark.parametrize("change", CHANGES)
def test_contributing_row_of_a_change_names_places_that_exist(change: str) -> None:
    paths = PATH.findall(ROWS[change])
    assert paths
    assert [path for path in paths if not is_place(path)] == []


@pytest.mark.parametrize("change", CHANGES)
def test_contributing_room_that_exists_is_not_marked_as_planned(change: str) -> None:
    assert [room for room in PLANNED.findall(ROWS[change]) if (ROOT / "inspector" / room).exists()] == []


def test_contributing_names_every_room() -> None:
    house = TEXT.partition("## The house")[2].partition("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / "inspector").glob("*/__init__.py")}
    assert rooms
    assert {room for room in rooms if f"  {room}/ " not in house} == set()


def is_place(path: str) -> bool:
    """A path that ends with a slash is a folder, any other a file."""
    return (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()
