"""`inspector contain`, `results replay` and `results export`: what is in question, and what becomes of it."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inspector.config.config import Config
from inspector.domain import Cause, Outcome, ProductVersion, Verdict
from inspector.operation.containment import shift_of
from inspector.operation.opening import registry_of
from inspector.operation.rejudging import Rejudge
from inspector.store.console.agents import note_processor
from inspector.store.database import configured
from inspector.testing.samples import verdict_of_part
from inspector.training.enrol import Enrolment
from tests.unit.drawings import FakeEngine, draw, encode

Shell = Callable[..., Any]
BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
SINCE = ("--since", "2026-03-02T11:00:00+00:00", "--until", "2026-03-02T15:00:00+00:00")


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.vision.serving.lineup.create_engine", lambda *_: FakeEngine())


@pytest.fixture
def versions(line: Config, disc: Enrolment) -> list[ProductVersion]:
    """Two versions of the disc with one artifact; the second rejects from a tenth of the level on."""

    async def add() -> list[ProductVersion]:
        async with registry_of(line, creates=True) as registry:
            first = await registry.add_version("disc", disc.artifact, disc.manifest, by="ada", activate=True)
            second = await registry.add_version("disc", disc.artifact, disc.manifest, by="ada", activate=False)
            calibration = disc.manifest["calibration"]
            strict = calibration["median"] + 0.01 * (calibration["threshold"] - calibration["median"])
            return [first, await registry.move_threshold("disc", second.version, strict, by="ada", reason="x")]

    return asyncio.run(add())


class Line:
    """Frames that version 1 judges, recorded with their kept pictures."""

    def __init__(self, config: Config, version: ProductVersion, artifact: bytes, record: Callable[..., None]) -> None:
        self._config, self._version, self._record = config, version, record
        self._rejudge = Rejudge(config, version, artifact)

    def inspect(
        self, number: int, *, defect: bool = False, is_kept: bool = True, too_high: float = 0.0, **changes: Any
    ) -> Verdict:
        """`too_high`: the recorded score is that of the frame and so much more."""
        payload = encode(draw("disc", 700 + number, defect=defect))
        again = self._rejudge.judge("cam1", payload)
        at = BEGIN + timedelta(minutes=number)
        rejected = {"outcome": Outcome.REJECT, "cause": Cause.ANOMALY} if again.is_reject else {}
        known = {
            "product": "disc",
            "product_version": 1,
            "score": again.score + too_high,
            "level": self._rejudge.level(again.score + too_high, self._version.threshold),
            "threshold": self._version.threshold,
            "artifact_digest": self._version.digest,
            "frame_sha256": hashlib.sha256(payload).hexdigest(),
            "received_at": at,
            "decided_at": at,
            "lot": "L1",
        }
        verdict = verdict_of_part(number, **known | rejected | changes)
        if is_kept:
            folder = self._config.agent.state_dir / "images" / f"{at:%Y-%m-%d}" / verdict.camera
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{verdict.result_id}.png").write_bytes(payload)
        self._record([verdict])
        return verdict


@pytest.fixture
def inspected(line: Config, versions: list[ProductVersion], disc: Enrolment, record: Callable[..., None]) -> Line:
    return Line(line, versions[0], disc.artifact, record)


def test_contain_counts_what_is_in_question_and_judges_kept_frames_again(
    shell: Shell, inspected: Line, tmp_path: Path
) -> None:
    passed = [inspected.inspect(number, part_id=f"=P{number}") for number in range(3)]
    inspected.inspect(3, is_kept=False, lot="L2")
    rejected = inspected.inspect(4, defect=True)
    inspected.inspect(300)
    assert rejected.outcome is Outcome.REJECT, "a drawn defect is found"

    table, page = tmp_path / "parts.csv", tmp_path / "contain.html"
    files = ("--csv", str(table), "--report", str(page))
    found = shell("contain", *SINCE, "--product", "disc", "--rescore", "2", *files, "--json")
    assert found.code == 0, found.err
    document = found.document
    assert document["rows"] == 5
    assert [(lot["lot"], lot["pass"], lot["reject"]) for lot in document["lots"]] == [("L1", 3, 1), ("L2", 1, 0)]
    assert [(each["product"], each["version"]) for each in document["versions"]] == [("disc", 1)]
    again = document["rescored"]
    assert (again["frames"], again["kept"], again["judged"]) == (5, 4, 4)
    assert "of 1 no readable picture" in again["statement"]
    strict = {verdict.result_id for verdict in passed if verdict.level is not None and verdict.level > 0.01}
    assert strict
    assert {flip["result_id"] for flip in again["flips"]} == strict
    assert again["pass_to_reject"] == len(strict)

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["pass"] * 4 + ["reject"]
    assert rows[0]["part_id"] == "'=P0", "no spreadsheet runs it"
    assert {row["result_id"] for row in rows if row["flipped_to_level"]} == strict
    text = page.read_text()
    assert "Judged again by version 2" in text
    assert text.count("<img") == len(strict)
    shown = shell("contain", *SINCE, "--product", "disc", "--rescore", "2").out
    assert "4 of 5 frames were judged again" in shown
    assert "L2" in shown


def test_contain_of_nothing_and_of_what_is_not_there(shell: Shell, versions: list[ProductVersion]) -> None:
    assert "Nothing was recorded" in shell("contain", *SINCE).out
    unknown = shell("contain", *SINCE, "--product", "dsic")
    assert (unknown.code, "no product dsic" in unknown.err) == (2, True)
    assert shell("contain", *SINCE, "--rescore", "2").code == 2
    assert shell("contain", *SINCE, "--product", "disc", "--rescore", "7").code == 2
    assert shell("contain", *SINCE, "--shifts", "6,25").code == 2
    assert shell("contain", "--since", "1h", "--until", "2h").code == 2


def test_contain_counts_each_shift_for_itself(
    shell: Shell, versions: list[ProductVersion], record: Callable[..., None]
) -> None:
    local = datetime(2026, 3, 2, 13, 30).astimezone()
    moments = [local, local + timedelta(minutes=25), local + timedelta(minutes=40), local + timedelta(hours=9)]
    record([verdict_of_part(number, product="disc", received_at=at) for number, at in enumerate(moments)])
    span = (
        "--since",
        f"{local - timedelta(minutes=1):%Y-%m-%dT%H:%M}",
        "--until",
        f"{local + timedelta(days=1):%Y-%m-%d}",
    )
    found = shell("contain", *span, "--product", "disc", "--json").document
    assert [(shift["shift"], shift["pass"]) for shift in found["shifts"]] == [
        ("2026-03-02 06:00", 2),
        ("2026-03-02 14:00", 1),
        ("2026-03-02 22:00", 1),
    ]


@pytest.mark.parametrize(
    ("hour", "shift"),
    [(5, ("2026-03-01", 22)), (6, ("2026-03-02", 6)), (21, ("2026-03-02", 14)), (23, ("2026-03-02", 22))],
)
def test_shift_of_a_moment_is_the_one_that_began_last(hour: int, shift: tuple[str, int]) -> None:
    local = datetime(2026, 3, 2, hour, 30).astimezone()
    assert shift_of(local.astimezone(UTC), (6, 14, 22)) == shift


def test_results_replay_tells_the_same_bits_from_another_score(
    shell: Shell, inspected: Line, versions: list[ProductVersion]
) -> None:
    same = inspected.inspect(1)
    found = shell("results", "replay", same.result_id, "--json")
    assert found.code == 0, found.err
    assert (found.document["finding"], found.document["score_now"]) == ("same_bits", same.score)
    assert any("engine was" in each for each in found.document["differs"])
    calibration = versions[0].manifest["calibration"]
    unit = calibration["threshold"] - calibration["median"]
    for number, off, finding, code in ((4, 0.01, "within_tolerance", 0), (5, 0.1, "differs", 1)):
        moved = inspected.inspect(number, too_high=off * unit)
        answer = shell("results", "replay", moved.result_id, "--json")
        assert (answer.code, answer.document["finding"]) == (code, finding)
        assert answer.document["difference"] == pytest.approx(-off, abs=1e-6)
    assert "The same bits" in shell("results", "replay", same.result_id).out


def test_results_replay_says_whether_the_processor_is_the_same(
    shell: Shell, inspected: Line, line: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def note(model: str, at: datetime) -> None:
        async with configured(line) as database:
            await note_processor(database, before.agent, at, model)

    before, then = inspected.inspect(1), inspected.inspect(2)
    asyncio.run(note("Old Chip", then.received_at))
    unknown, other = (shell("results", "replay", each.result_id, "--json").document for each in (before, then))
    assert (unknown["processor_then"], other["processor_then"]) == (None, "Old Chip")
    assert f"the processor was Old Chip and is {other['processor_now']}" in other["differs"]
    assert "processor of then is not recorded" in shell("results", "replay", before.result_id).out
    monkeypatch.setattr("inspector.operation.replaying.processor_name", lambda: "Old Chip")
    answer = shell("results", "replay", then.result_id)
    assert "as then: the processor, Old Chip" in answer.out
    assert "the processor was" not in answer.out


def test_results_replay_names_the_engine_that_is_used_and_not_the_word_of_the_configuration(
    shell: Shell, inspected: Line
) -> None:
    same = inspected.inspect(1, engine=FakeEngine().name)
    found = shell("results", "replay", same.result_id, "--json").document
    assert (found["engine_then"], found["engine_now"]) == (FakeEngine().name, FakeEngine().name)
    assert not any("engine" in each for each in found["differs"])


def test_results_replay_of_what_can_t_be_judged_again_says_why(shell: Shell, inspected: Line, line: Config) -> None:
    gone = inspected.inspect(1, is_kept=False)
    other = inspected.inspect(2, artifact_digest="f" * 64)
    changed = inspected.inspect(3)
    next(line.agent.state_dir.glob(f"images/*/*/{changed.result_id}.png")).write_bytes(encode(draw("disc", 1)))
    unjudged = inspected.inspect(4, score=None, level=None, outcome=Outcome.UNJUDGED, cause=Cause.OVERLOAD)
    for verdict, said in (
        (gone, "not kept on this machine"),
        (other, "no version of disc with the artifact"),
        (changed, "is not the frame that was judged"),
        (unjudged, "has no score"),
    ):
        answer = shell("results", "replay", verdict.result_id)
        assert (answer.code, said in answer.err) == (2, True), answer.err


def test_results_export_writes_every_result_as_lines_or_cells(
    shell: Shell, record: Callable[..., None], tmp_path: Path
) -> None:
    parts = [verdict_of_part(number, lot="L1" if number < 3 else "L2", part_id=f"-{number}") for number in range(5)]
    record([replace(part, received_at=BEGIN + timedelta(minutes=number)) for number, part in enumerate(parts)])
    lines = [json.loads(line) for line in shell("results", "export").out.splitlines()]
    assert [line["trigger_id"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines == list(reversed(shell("results", "list", "--json").document))
    path = tmp_path / "some.csv"
    said = shell("results", "export", "--lot", "L1", "--output", str(path), "--json")
    assert (said.code, said.document["results"], said.document["format"]) == (0, 3, "csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part_id"] for row in rows] == ["'-0", "'-1", "'-2"]
    assert json.loads(rows[0]["regions"]) == lines[0]["regions"]
    since = shell("results", "export", "--since", "2026-03-02T12:03:00+00:00").out
    assert len(since.splitlines()) == 2
    assert shell("results", "export", "--json").code == 2
