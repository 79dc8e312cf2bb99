"""`inspector review`: a person's word on a result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inspector.cli.results import since_time, word_of
from inspector.cli.terminal import console
from inspector.operation.user import current_user

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.domain import ReviewLabel
    from inspector.store.reviews import ReviewFilter

NAME: Final = "review"
HELP: Final = """Say whether the part of a result was good or bad, or list what people said.

`inspector review RESULT good`, `bad` or `unsure` adds a review. Every review is kept; the newest of a result counts,
until --undo takes it back. `inspector review list` shows the reviews that count. `inspector enroll --with-reviews`
learns from them."""
EXAMPLE: Final = "Example: inspector review 1f3c9a bad --kind scratch     or: inspector review list --since 8h"

LIST: Final = "list"


def command(
    result_id: Annotated[
        str, typer.Argument(metavar="RESULT|list", help="A result's id, or enough of its start; or the word list.")
    ],
    label: Annotated[str | None, typer.Argument(metavar="[good|bad|unsure]", help="What the part is.")] = None,
    *,
    kind: Annotated[str | None, typer.Option(help="The defect, or what was taken for one, in a word or two.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the review.")] = "",
    blind: Annotated[bool, typer.Option("--blind", help="It was said without a look at the heat map.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the newest review of the result back.")] = False,
    product: Annotated[str | None, typer.Option(help="List: only of this product.")] = None,
    said: Annotated[str | None, typer.Option(help="List: only good, bad or unsure.")] = None,
    by: Annotated[str | None, typer.Option(help="List: only of this person.")] = None,
    since: Annotated[str | None, typer.Option(help="List: an age (30m, 1h, 2d) or a time (2025-03-01T06:00).")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List: also reviews that were replaced or undone, and count no longer.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="List: highest number of reviews.")] = 50,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.domain import ReviewLabel
    from inspector.errors import UsageError
    from inspector.store.reviews import ReviewFilter

    loaded = load(config)
    if result_id == LIST:
        if label is not None or undo:
            raise UsageError("`review list` takes no label and nothing to undo; say --said bad to list these alone.")
        begin = since_time(since, datetime.now(UTC)) if since else None
        wanted = ReviewFilter(product, word_of(ReviewLabel, said, "--said"), by, begin, counting=not every)
        _list(loaded, wanted, limit, as_json)
    elif undo:
        _undo(loaded, result_id, reason, as_json)
    elif label is None:
        raise UsageError("Say what the part is: good, bad or unsure.")
    else:
        chosen = word_of(ReviewLabel, label, "The label")
        assert chosen is not None  # noqa: S101 - only no text is no word
        _give(loaded, result_id, chosen, _Word(kind, reason, blind), as_json)


@dataclass(frozen=True, slots=True)
class _Word:
    """What is said besides the label."""

    kind: str | None
    reason: str
    is_blind: bool


def _give(config: Config, result_id: str, label: ReviewLabel, word: _Word, as_json: bool) -> None:
    from inspector.cli.terminal import reviews_view
    from inspector.operation.reviews import give_review, review_document

    work = give_review(
        config, result_id, label, by=current_user(), kind=word.kind, note=word.reason, is_blind=word.is_blind
    )
    given = asyncio.run(work)
    if as_json:
        from inspector.domain import printable

        frame = {"frame": None if given.frame is None else printable(str(given.frame))}
        console.print_json(review_document(given.review, given.verdict) | frame)
    else:
        reviews_view.print_given(given)


def _undo(config: Config, result_id: str, reason: str, as_json: bool) -> None:
    from inspector.operation.reviews import review_document, undo_review

    undone = asyncio.run(undo_review(config, result_id, by=current_user(), reason=reason))
    if as_json:
        console.print_json(review_document(undone, None))
    else:
        line = f"The review of {undone.result_id} as {undone.label.value} by {undone.by} counts no longer."
        console.out.print(line, highlight=False, markup=False, soft_wrap=True)


def _list(config: Config, wanted: ReviewFilter, limit: int, as_json: bool) -> None:
    from inspector.cli.terminal import reviews_view
    from inspector.operation.reviews import newest_reviews, review_document

    found = asyncio.run(newest_reviews(config, wanted, limit))
    if as_json:
        console.print_json([review_document(each.review, each.verdict) for each in found])
    else:
        reviews_view.print_list(found, is_cut=len(found) == limit)
