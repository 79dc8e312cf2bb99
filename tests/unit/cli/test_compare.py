"""`inspector products compare`: what differs, and no word of improvement without a labelled flip."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import Cause, Outcome, Verdict
from inspector.operation.opening import database_of
from inspector.operation.version_comparison import is_good
from inspector.store import tables
from inspector.store.ledger.ledger import SqlLedger
from inspector.testing.clock import START
from inspector.testing.samples import shadow_result_of, verdict_of_part
from tests.unit.drawings import draw, encode

PASS, REJECT = Outcome.PASS, Outcome.REJECT
Scored = Callable[..., list[str]]


@pytest.fixture
def scored(line: Config, loadable: Callable[[str], int]) -> Scored:
    """Records frames of bottle as (live outcome, shadow outcome): version 1 is live, version 2 was its shadow."""
    loadable("bottle")
    loadable("bottle")

    def record(pairs: Sequence[tuple[Outcome, Outcome]], unscored: int = 0) -> list[str]:
        verdicts = [of_bottle(number, live) for number, (live, _) in enumerate(pairs)]
        others = [of_bottle(1000 + number, PASS) for number in range(unscored)]
        results = [
            shadow_result_of(
                number, product="bottle", outcome=shadow, level=1.25 if shadow is REJECT else 0.25, threshold=2.0
            )
            for number, (_, shadow) in enumerate(pairs)
        ]

        async def write() -> None:
            async with database_of(line, creates=True) as database, SqlLedger(database, SystemClock()) as ledger:
                await ledger.record([*verdicts, *others], [], [])
                await ledger.record_shadow_results(results)

        asyncio.run(write())
        return [verdict.result_id for verdict in verdicts]

    return record


def of_bottle(number: int, outcome: Outcome) -> Verdict:
    cause = Cause.ANOMALY if outcome is REJECT else Cause.OK
    return verdict_of_part(
        number, product="bottle", outcome=outcome, cause=cause, level=1.5 if outcome is REJECT else 0.5
    )


@pytest.fixture
def label(line: Config) -> Callable[[Sequence[str], str], None]:
    """Gives results a label, as a person's review does."""

    async def write(result_ids: Sequence[str], word: str) -> None:
        async with database_of(line, creates=True) as database, database.writing() as connection:
            for result_id in result_ids:
                row = {"at": START, "user_name": "ada", "result_id": result_id, "label": word, "comment": ""}
                await connection.execute(tables.reviews.insert(), row)

    return lambda result_ids, word: asyncio.run(write(result_ids, word))


@pytest.mark.usefixtures("line")
def test_compare_without_any_shadow_result_says_how_to_begin(
    shell: Callable[..., Any], loadable: Callable[[str], int]
) -> None:
    assert shell("db", "upgrade").code == 0
    assert "no product bottle" in shell("products", "compare", "bottle").err
    loadable("bottle")
    refused = shell("products", "compare", "bottle")
    assert refused.code == 2
    assert "products shadow bottle" in refused.err


def test_compare_of_a_shadow_that_scored_nothing_yet_says_so(
    shell: Callable[..., Any], loadable: Callable[[str], int]
) -> None:
    loadable("bottle")
    loadable("bottle")
    assert shell("products", "shadow", "bottle", "1", "--reason", "old lamp").code == 0
    found = shell("products", "compare", "bottle", "--json").document
    assert (found["finding"], found["compared"], found["agreement"]) == ("nothing_compared", 0, None)
    assert (found["live_version"], found["shadow_version"]) == (2, 1)
    assert "No frame" in shell("products", "compare", "bottle").out


def test_compare_counts_agreement_flips_and_frames_that_were_not_scored(
    shell: Callable[..., Any], scored: Scored
) -> None:
    pairs = [(PASS, PASS)] * 5 + [(REJECT, REJECT)] * 2 + [(PASS, REJECT)] * 2 + [(REJECT, PASS)]
    ids = scored(pairs, unscored=3)
    found = shell("products", "compare", "bottle", "--json").document
    assert (found["compared"], found["agreed"], found["agreement"]) == (10, 7, pytest.approx(0.7))
    assert found["flips"] == {"total": 3, "pass_to_reject": 2, "reject_to_pass": 1}
    assert (found["both_pass"], found["both_reject"]) == (5, 2)
    assert (found["frames"], found["not_scored"], found["failed"]) == (13, 3, 0)
    assert found["live_threshold"] != found["shadow_threshold"] or found["thresholds_moved"]
    assert [flip["result_id"] for flip in found["shown_flips"]] == [ids[9], ids[8], ids[7]]
    assert [(flip["live"]["level"], flip["shadow"]["level"]) for flip in found["shown_flips"]] == [
        (1.5, 0.25),
        (0.5, 1.25),
        (0.5, 1.25),
    ]


def test_compare_without_a_labelled_flip_calls_nothing_an_improvement(
    shell: Callable[..., Any], scored: Scored, label: Callable[[Sequence[str], str], None]
) -> None:
    ids = scored([(PASS, PASS)] * 5 + [(REJECT, PASS)] * 20)
    label(ids[:5], "good")  # labels of frames on which both agree say nothing about the difference
    label(ids[5:7], "not sure")
    found = shell("products", "compare", "bottle", "--json").document
    assert (found["finding"], found["labels"]["labelled"], found["labels"]["unlabelled"]) == ("unlabelled", 0, 20)
    assert "can't be called an improvement" in found["statement"]
    assert "can't be called an improvement" in " ".join(shell("products", "compare", "bottle").out.split())


@pytest.mark.parametrize(
    ("flips", "words", "finding"),
    [
        ([(REJECT, PASS)] * 8, ["good"] * 8, "improvement"),
        ([(REJECT, PASS)] * 8, ["bad"] * 8, "worse"),
        ([(REJECT, PASS)] * 3, ["good"] * 3, "undecided"),
        ([(PASS, REJECT)] * 8, ["bad"] * 8, "improvement"),
        ([(PASS, REJECT)] * 8, ["good"] * 8, "worse"),
        ([(REJECT, PASS)] * 13, ["good"] * 12 + ["bad"], "undecided"),
    ],
    ids=["false rejects avoided", "escapes added", "too few", "escapes avoided", "false rejects added", "a trade"],
)
def test_compare_labelled_flips_say_which_version_is_right(
    shell: Callable[..., Any],
    scored: Scored,
    label: Callable[[Sequence[str], str], None],
    flips: list[tuple[Outcome, Outcome]],
    words: list[str],
    finding: str,
) -> None:
    ids = scored([*flips, (PASS, PASS)])
    for result_id, word in zip(ids, words, strict=False):
        label([result_id], word)
    found = shell("products", "compare", "bottle", "--json").document
    assert found["finding"] == finding
    assert found["labels"]["labelled"] == len(words)
    assert ("is an improvement" in found["statement"]) is (finding == "improvement")


def test_compare_counts_right_flips_of_each_version(
    shell: Callable[..., Any], scored: Scored, label: Callable[[Sequence[str], str], None]
) -> None:
    ids = scored([(PASS, REJECT)] * 3 + [(REJECT, PASS)] * 4)
    label([ids[0]], "bad")
    label([ids[1]], "good")
    label([ids[3]], "good")
    label(ids[4:6], "bad")
    assert shell("products", "compare", "bottle", "--json").document["labels"] == {
        "labelled": 5,
        "unlabelled": 2,
        "shadow_right": 2,
        "live_right": 3,
        "escapes_avoided": 1,
        "escapes_added": 2,
        "false_rejects_avoided": 1,
        "false_rejects_added": 1,
    }


def test_compare_report_holds_the_kept_pictures_of_flips(
    shell: Callable[..., Any], scored: Scored, line: Config, tmp_path: Path
) -> None:
    ids = scored([(PASS, REJECT), (REJECT, PASS), (PASS, PASS)])
    folder = line.agent.state_dir / "images/2025-01-01/cam1"
    folder.mkdir(parents=True)
    (folder / f"{ids[0]}.png").write_bytes(encode(draw("disc", 1)))
    page = tmp_path / "compared.html"
    found = shell("products", "compare", "bottle", "--report", str(page), "--json").document
    assert [flip["pictures"] for flip in found["shown_flips"]] == [[], [str(folder / f"{ids[0]}.png")]]
    html = page.read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') == 1
    assert set(re.findall(r"""\ssrc=["']([^"']{5})""", html)) == {"data:"}
    assert "no picture is kept here" in html
    assert "1.25" in html
    shown = shell("products", "compare", "bottle", "--report", str(page)).out
    assert f"{ids[0]}.png" in shown
    assert shell("products", "compare", "bottle", "--report", str(tmp_path / "none/x.html")).code == 2


def test_compare_after_a_promotion_compares_with_the_version_that_judged(
    shell: Callable[..., Any], scored: Scored
) -> None:
    scored([(PASS, REJECT)] * 2)
    assert shell("products", "activate", "bottle", "1", "--reason", "a try").code == 0
    assert shell("products", "activate", "bottle", "2", "--reason", "back").code == 0
    found = shell("products", "compare", "bottle", "--json").document
    assert (found["live_version"], found["shadow_version"], found["flips"]["total"]) == (1, 2, 2)


def test_compare_since_leaves_earlier_frames_out(shell: Callable[..., Any], scored: Scored) -> None:
    scored([(PASS, REJECT)] * 2)
    assert shell("products", "compare", "bottle", "--since", "1h", "--json").document["compared"] == 0
    assert shell("products", "compare", "bottle", "--since", "2024-12-31", "--json").document["compared"] == 2
    assert shell("products", "compare", "bottle", "--since", "soon").code == 2


def test_is_good_knows_the_words_of_a_review_and_takes_doubt_for_no_word() -> None:
    assert [is_good(word) for word in ("good", "Bad", "not sure", None, "")] == [True, False, None, None, None]
