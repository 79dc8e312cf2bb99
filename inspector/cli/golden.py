"""`inspector golden`: the last golden challenges of the gates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.domain import Challenge

NAME: Final = "golden"
HELP: Final = "Show the last golden challenges: which reference parts came, and whether the gate treated them rightly."
EXAMPLE: Final = "Example: inspector golden --gate gate1"


def command(
    gate: Annotated[str | None, typer.Option(help="Only challenges of this gate.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most challenges to show.")] = 20,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.operation.challenges import newest_challenges

    challenges = asyncio.run(newest_challenges(load(config), gate, limit))
    if as_json:
        from inspector.stream.challenge_record import challenge_record

        console.print_json([challenge_record(challenge) for challenge in challenges])
    else:
        _print(challenges)


def _print(challenges: list[Challenge]) -> None:
    from inspector.cli.terminal.rendering import ABSENT, local_time, show, table

    if not challenges:
        console.out.print("No golden challenge was held.")
        return
    rows = table(
        "begun",
        "gate",
        "result",
        "product",
        "parts",
        "acknowledged",
        "by",
        "reason",
        "how it ended",
        right=("acknowledged",),
    )
    for challenge in challenges:
        product = ABSENT
        if challenge.product is not None:
            product = challenge.product if challenge.version is None else f"{challenge.product} v{challenge.version}"
        cells = (local_time(challenge.begun), challenge.gate, challenge.result.value, product)
        parts = f"{len(challenge.seen)} of {len(challenge.expected)}"
        ended = challenge.detail or ABSENT
        rows.add_row(*cells, parts, str(len(challenge.acks)), challenge.by, challenge.reason, ended)
    show(rows)
