"""`inspector enroll --with-reviews`: what people called good is learnt, and no version passes what they called bad."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import Cause, Outcome, Review, ReviewLabel, Verdict
from inspector.enrolment import enrol_product as enrolling
from inspector.operation.opening import database_of
from inspector.store import reviews
from inspector.testing.samples import verdict_of_part
from inspector.training.evidence import detectability
from tests.unit.drawings import FakeEngine, draw, encode

Shell = Callable[..., Any]
QUICK = ("--profile", "fast")


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch, enrols_here: None) -> None:
    monkeypatch.setattr(enrolling, "create_engine", lambda *_: FakeEngine())
    monkeypatch.setattr(detectability, "PER_CELL", 2)
    monkeypatch.setattr(detectability, "SIZES", (0.16,))
    monkeypatch.setattr(detectability, "BLIND_GRID", 2)


def folder_of_discs(path: Path, seeds: range) -> Path:
    path.mkdir()
    for seed in seeds:
        (path / f"disc-{seed}.png").write_bytes(encode(draw("disc", seed)))
    return path


class Line:
    """Parts that the line has judged, with kept pictures, and what people say of them."""

    def __init__(self, config: Config, record: Callable[..., None]) -> None:
        self._config, self._record = config, record

    def judged(self, *parts: tuple[int, bool], seed: int = 100) -> list[Verdict]:
        """A verdict on each part, which is a number and whether the part has a defect."""
        return [self._judged(number, defect, seed) for number, defect in parts]

    def say(self, label: str, parts: Sequence[Verdict], kind: str | None = None) -> None:
        async def add() -> None:
            clock = SystemClock()
            async with database_of(self._config) as database:
                for part in parts:
                    said = Review(part.result_id, ReviewLabel(label), "ada", clock.now(), kind)
                    await reviews.add(database, clock, said)

        asyncio.run(add())

    def _judged(self, number: int, defect: bool, seed: int) -> Verdict:
        payload = encode(draw("disc", number + seed, defect=defect))
        outcome = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY, "level": 1.5} if defect else {"level": 0.4}
        verdict = verdict_of_part(
            number, product="disc", part_id=f"P{number}", frame_sha256=hashlib.sha256(payload).hexdigest(), **outcome
        )
        self._record([verdict])
        folder = self._config.agent.state_dir / "images" / f"{verdict.decided_at:%Y-%m-%d}" / verdict.camera
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{verdict.result_id}.png").write_bytes(payload)
        return verdict


@pytest.fixture
def people(shell: Shell, line: Config, record: Callable[..., None], tmp_path: Path) -> Line:
    """A line with a live version of the disc, made from ten images."""
    made = shell("enroll", "disc", str(folder_of_discs(tmp_path / "good", range(10))), *QUICK)
    assert made.code == 0, made.err
    return Line(line, record)


def test_enroll_with_40_reviews_of_which_one_is_wrong_names_it_and_does_not_go_live(shell: Shell, people: Line) -> None:
    good = people.judged(*((number, False) for number in range(25)))
    bad = people.judged(*((number, True) for number in range(25, 40)))
    wrong = good[7]
    people.say("good", [part for part in good if part is not wrong])
    people.say("bad", bad)
    people.say("bad", [wrong], "scratch")

    held = shell("enroll", "disc", "--with-reviews", *QUICK, "--json")
    assert held.code == 1
    assert (held.document["version"], held.document["live"], held.document["used"]) == (2, False, 34)
    (objection,) = held.document["objections"]
    assert "would pass 1 of 16 parts that people called bad" in objection
    assert f"result {wrong.result_id[:8]}, part P7: scratch" in objection
    judged = held.document["evidence"]["known_bad"]
    assert len(judged["judged"]) == 16
    assert [Path(name).stem for name in judged["passing"]] == [wrong.result_id]
    page = Path(held.document["report"]).read_text()
    assert "Parts that people called bad" in page
    assert f"result {wrong.result_id[:8]}" in page

    live = {each["version"] for each in shell("products", "list", "--json", "--all").document if each["live"]}
    assert live == {1}
    refused = shell("products", "activate", "disc", "2", "--reason", "looks fine")
    assert (refused.code, wrong.result_id[:8] in refused.err) == (2, True), "it stays held back later too"

    people.say("good", [wrong])
    made = shell("enroll", "disc", "--with-reviews", *QUICK, "--json")
    assert (made.code, made.document["live"], made.document["used"]) == (0, True, 35), made.err
    assert any("checked against 15 that people called bad" in warning for warning in made.document["warnings"])


def test_enroll_with_a_bad_part_called_good_is_held_back_by_a_bad_part_like_it(shell: Shell, people: Line) -> None:
    same, *taken = people.judged(*((number, True) for number in range(14)))
    people.say("good", taken)
    people.say("bad", [same])
    held = shell("enroll", "disc", "--with-reviews", *QUICK, "--json")
    assert (held.code, held.document["live"]) == (1, False)
    assert any(same.result_id[:8] in objection for objection in held.document["objections"])


def test_enroll_with_reviews_leaves_out_an_enrolled_part_that_is_called_bad_now(shell: Shell, people: Line) -> None:
    parts = people.judged((1, False), (2, False))
    people.say("good", parts)
    first = shell("enroll", "disc", "--with-reviews", *QUICK, "--json")
    assert (first.code, first.document["used"], first.document["duplicates"]) == (0, 12, []), first.err
    other = parts[1]
    people.say("bad", [other])
    second = shell("enroll", "disc", "--with-reviews", *QUICK, "--json")
    assert second.document["used"] == 11
    assert any(other.result_id in warning and "left out" in warning for warning in second.document["warnings"])


def test_enroll_with_reviews_says_which_pictures_are_not_here(
    shell: Shell, people: Line, record: Callable[..., None]
) -> None:
    lost = verdict_of_part(3, product="disc")
    record([lost, verdict_of_part(4, product="disc", level=None)])
    people.say("bad", [lost])
    people.say("good", people.judged((5, False)))
    made = shell("enroll", "disc", "--with-reviews", *QUICK, "--json")
    assert made.code == 0, made.err
    assert any("1 parts called bad have no picture" in warning for warning in made.document["warnings"])


def test_enroll_with_reviews_draws_defects_always(shell: Shell, people: Line) -> None:
    refused = shell("enroll", "disc", "--with-reviews", "--no-detectability", *QUICK)
    assert (refused.code, "leave it on" in refused.err) == (2, True)
