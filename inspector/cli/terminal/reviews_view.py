"""Shows reviews to people: one that was given, or a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.rendering import ABSENT, local_time, number, outcome_text
from inspector.cli.terminal.results_view import SHORT_ID
from inspector.domain import Review, ReviewLabel
from inspector.operation.reviews import GivenReview
from inspector.store.reviews import ReviewedResult

_STYLES: Final = {ReviewLabel.GOOD: "green", ReviewLabel.BAD: "bold red", ReviewLabel.UNSURE: "yellow"}


def print_given(given: GivenReview) -> None:
    """The review in a sentence, and whether a later enrolment can use it."""
    review, verdict = given.review, given.verdict
    kind = f" ({review.kind})" if review.kind else ""
    said = f"Result {review.result_id} ({verdict.product or 'no product'}, {verdict.outcome.value}) is {review.label}"
    before = "" if given.before is None else f", no longer {given.before.label} as {given.before.by} said"
    console.out.print(f"{said}{kind}{before}.", highlight=False, markup=False, soft_wrap=True)
    if given.frame is None and review.label is not ReviewLabel.UNSURE:
        note = "Its picture is not on this machine, so `enroll --with-reviews` can't use it here."
        console.err.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)


def print_list(found: Sequence[ReviewedResult], *, is_cut: bool) -> None:
    """The reviews as a table, newest first."""
    if not found:
        console.out.print("There is no review like that.", highlight=False)
        return
    made = rendering.table("Time", "Says", "Kind", "By", "Product", "Outcome", "Level", "Result", "Reason")
    for each in found:
        verdict = each.verdict
        made.add_row(
            local_time(each.review.at),
            _label(each.review),
            each.review.kind or ABSENT,
            each.review.by + (", blind" if each.review.is_blind else ""),
            ABSENT if verdict is None else verdict.product or ABSENT,
            "pruned" if verdict is None else outcome_text(verdict.outcome.value),
            ABSENT if verdict is None else number(verdict.level, 2),
            Text(each.review.result_id[:SHORT_ID], style="dim"),
            each.review.note or ABSENT,
        )
    rendering.show(made)
    if is_cut:
        console.err.print(f"The newest {len(found)}; see more with --limit.", style="dim", highlight=False)


def _label(review: Review) -> Text:
    if review.is_undone:
        return Text(f"{review.label.value}, undone", style="dim")
    return Text(review.label.value, style=_STYLES[review.label])
