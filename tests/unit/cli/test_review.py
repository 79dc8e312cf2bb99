"""`inspector review`: a person's word is kept, counted, listed and taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inspector.config.config import Config
from inspector.domain import Action, Cause, Outcome, Verdict
from inspector.testing.samples import missed_verdict_of_part, verdict_of_part

Shell = Callable[..., Any]
REJECTED = verdict_of_part(2, outcome=Outcome.REJECT, cause=Cause.ANOMALY, action=Action.REJECT, level=1.4)


@pytest.fixture
def parts(record: Callable[..., None]) -> list[Verdict]:
    verdicts = [verdict_of_part(1), REJECTED]
    record(verdicts)
    return verdicts


def picture_of(config: Config, verdict: Verdict, content: bytes = b"\xff\xd8picture") -> Path:
    folder = config.agent.state_dir / "images" / f"{verdict.decided_at:%Y-%m-%d}" / verdict.camera
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{verdict.result_id}.heat.jpg").write_bytes(b"heat")
    path = folder / f"{verdict.result_id}.jpg"
    path.write_bytes(content)
    return path


def test_review_is_kept_with_its_picture_apart(shell: Shell, parts: list[Verdict], line: Config) -> None:
    source = picture_of(line, REJECTED)
    said = shell("review", REJECTED.result_id[:10], "bad", "--kind", " scratch ", "--reason", "thread", "--json")
    assert said.code == 0, said.err
    document = said.document
    assert (document["label"], document["kind"], document["reason"]) == ("bad", "scratch", "thread")
    assert (document["outcome"], document["level"], document["blind"]) == ("reject", 1.4, False)
    source.unlink()  # the folder of pictures has its bound
    assert Path(document["frame"]).read_bytes() == b"\xff\xd8picture"
    assert Path(document["frame"]).parent == line.agent.state_dir / "reviewed" / "bolt"


def test_review_without_a_picture_here_says_so(shell: Shell, parts: list[Verdict]) -> None:
    said = shell("review", REJECTED.result_id, "good")
    assert (said.code, "not on this machine" in said.err) == (0, True)
    assert "not on this machine" not in shell("review", REJECTED.result_id, "unsure").err


def test_review_list_shows_what_counts_until_it_is_undone(shell: Shell, parts: list[Verdict]) -> None:
    for label in ("good", "bad"):
        shell("review", REJECTED.result_id, label)
    shell("review", parts[0].result_id, "good", "--blind")

    def listed(*options: str) -> list[tuple[str, str]]:
        return [(each["result_id"], each["label"]) for each in shell("review", "list", *options, "--json").document]

    assert listed() == [(parts[0].result_id, "good"), (REJECTED.result_id, "bad")]
    assert listed("--said", "bad") == [(REJECTED.result_id, "bad")]
    assert len(listed("--all")) == 3
    assert listed("--product", "nut") == []
    assert shell("review", REJECTED.result_id, "--undo").code == 2
    assert "counts no longer" in shell("review", REJECTED.result_id, "--undo", "--reason", "mixed up").out
    assert (REJECTED.result_id, "good") in listed()
    table = shell("review", "list", "--all").out
    assert "bad, undone" in table
    assert ", blind" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{id}"], "good, bad or unsure"),
        (["{id}", "perfect"], "none of good, bad, unsure"),
        (["ffff", "bad"], "no result whose id starts"),
        (["list", "bad"], "--said"),
        (["{id}", "bad", "--kind", "x" * 65], "a word or two"),
        (["{missed}", "bad"], "without a frame"),
    ],
)
def test_review_of_what_can_t_be_is_wrong_use(
    shell: Shell, parts: list[Verdict], record: Callable[..., None], arguments: list[str], said: str
) -> None:
    missed = missed_verdict_of_part(7)
    record([missed])
    answer = shell("review", *(each.format(id=REJECTED.result_id, missed=missed.result_id) for each in arguments))
    assert answer.code == 2
    assert said in answer.err
    assert shell("review", "list", "--all", "--json").document == []
