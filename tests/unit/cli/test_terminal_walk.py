"""Every command that shows what is stored or named shows it as text: a walk over all commands of the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from inspector.agent.clock import SystemClock
from inspector.cli import app
from inspector.config.config import Config
from inspector.domain import Cause, Outcome, Review, ReviewLabel, Verdict
from inspector.operation.opening import database_of, registry_of
from inspector.store import reviews
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.retention import holds
from inspector.store.retention.holds import Selection
from inspector.testing.samples import challenge_of, event_of, gate_action_of, verdict_of_part
from tests.unit.cli.test_terminal_escapes import HOSTILE, is_harmless

STORED = HOSTILE.replace("\udcff", "")  # no database takes it
PRODUCT, CAMERA = "bottle", "cam1"

CALIBRATION = {
    "statement": STORED,
    "threshold": 2.5,
    "median": 1.0,
    "kind": "estimate",
    "provisional": False,
    "n": 10,
    "held_out": STORED,
    "alpha": 0.05,
    "confidence": 0.95,
    "rule": STORED,
    "false_reject_bound": None,
    "false_reject_interval": [0.0, 0.1],
    "expected_false_reject": None,
}

UNSTORED = {
    "bench engine": "measures this machine",
    "bench pipeline": "measures this machine",
    "bench products": "measures this machine",
    "bench line": "measures this machine",
    "bench open-loop": "measures this machine",
    "capacity": "measures this machine",
    "console": "serves pages; its log is covered by the test of log lines",
    "db upgrade": "prints revisions",
    "demo": "shows products of its own",
    "init": "writes a file; its path is covered by the test of errors",
    "run": "its log is covered by the test of log lines",
    "worker": "its log is covered by the test of log lines",
    "keys make": "makes a key; prints digits",
}
"""Commands that are not walked, and why."""


def walk(ids: Sequence[str]) -> list[tuple[str, ...]]:
    """The commands with arguments, over a store in which every text is hostile."""
    since = ("--since", "2h")
    return [
        ("results", "list"),
        ("results", "list", "--lot", STORED),
        ("results", "show", ids[0]),
        ("results", "export"),
        ("results", "export", "--format", "csv"),
        ("results", "replay", ids[0]),
        ("parts", *since),
        ("golden",),
        ("events", *since),
        ("review", "list"),
        ("review", ids[0]),
        ("contain", *since),
        ("contain", *since, "--product", STORED),
        ("audit", "list"),
        ("audit", "verify"),
        ("audit", "head"),
        ("keys", "list"),
        ("keys", "show"),
        ("keys", "trust", STORED, HOSTILE, "--reason", STORED),
        ("keys", "forget", STORED, "--reason", STORED),
        ("keys", "sign", STORED, "--reason", STORED),
        ("db", "check"),
        ("db", "prune", "--dry-run"),
        ("db", "hold", "list", "--all"),
        ("db", "hold", "add", "--lot", STORED, "--reason", STORED),
        ("db", "hold", "release", "1", "--reason", STORED),
        ("doctor",),
        ("products", "list"),
        ("products", "show", PRODUCT),
        ("products", "show", STORED),
        ("products", "compare", PRODUCT),
        ("products", "drift", PRODUCT),
        ("products", "shadow", PRODUCT, "1", "--reason", STORED),
        ("products", "promote", PRODUCT, "--reason", STORED),
        ("products", "threshold", PRODUCT, "--level", "0.9", "--reason", STORED),
        ("products", "activate", PRODUCT, "2", "--reason", STORED),
        ("products", "rollback", PRODUCT, "--reason", STORED),
        ("products", "export", PRODUCT, "--output", f"x{HOSTILE.replace('/', '')}"),
        ("products", "import", f"x{HOSTILE.replace('/', '')}"),
        ("products", "remove", PRODUCT, "--reason", STORED),
        ("enroll", PRODUCT, HOSTILE),
        ("discover", HOSTILE),
        ("evaluate", HOSTILE),
        ("simulate", HOSTILE, "--camera", CAMERA, "--rate", "1"),
    ]


def commands(group: Any, names: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of all commands below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield " ".join((*names, name))


def hostile_verdicts() -> list[Verdict]:
    texts: dict[str, Any] = {
        "lot": STORED,
        "job_id": STORED,
        "cause_detail": STORED,
        "frame_id": STORED,
        "view": STORED,
    }
    texts |= {"received_at": datetime.now(UTC), "decided_at": datetime.now(UTC)}
    made = []
    for number, (outcome, cause) in enumerate(
        [
            (Outcome.PASS, Cause.OK),
            (Outcome.REJECT, Cause.ANOMALY),
            (Outcome.UNJUDGED, Cause.UNDECODABLE),
            (Outcome.UNJUDGED, Cause.LATE),
        ]
    ):
        product, camera = (PRODUCT, CAMERA) if number == 1 else (STORED, STORED)
        made.append(
            verdict_of_part(number, outcome=outcome, cause=cause, product=product, camera=camera, gate="gate1", **texts)
        )
    return made


@pytest.fixture
def ids(line: Config, record: Callable[[Sequence[Verdict]], None]) -> list[str]:
    """A store in which every text that anybody may write is hostile. Returns the results' ids."""
    verdicts = hostile_verdicts()
    record(verdicts)

    async def fill() -> None:
        clock = SystemClock()
        async with database_of(line) as database, SqlLedger(database, clock) as ledger:
            await ledger.record_events([event_of(STORED, subject=STORED, detail=STORED, at=datetime.now(UTC))])
            await ledger.record_gate_actions([gate_action_of(1, gate="gate1")])
            review = Review(verdicts[0].result_id, ReviewLabel.BAD, STORED, datetime.now(UTC), kind=STORED, note=STORED)
            await reviews.add(database, clock, review)
            await holds.add(database, clock, Selection(lot=STORED), by=STORED, reason=STORED)
            await ledger.open_challenge(challenge_of("c1", by=STORED)) if hasattr(ledger, "open_challenge") else None
        manifest = {
            "head": STORED,
            "profile": STORED,
            "threshold": 2.5,
            "calibration": CALIBRATION,
            "images": [{"name": STORED, "sha256": "0" * 64}],
            "versions": {STORED: STORED},
        }
        async with registry_of(line) as registry:
            for _ in range(2):
                await registry.add_version(PRODUCT, b"artifact", manifest, by=STORED, activate=True)

    asyncio.run(fill())
    return [verdict.result_id for verdict in verdicts]


def test_walk_shows_foreign_text_as_text(shell: Callable[..., Any], ids: list[str]) -> None:
    said = {}
    for arguments in walk(ids):
        answer = shell(*arguments)
        assert "Traceback" not in answer.err, arguments
        said[arguments] = (answer.out + answer.err).replace("\r\n", "\n")  # of CSV
        assert is_harmless(said[arguments]), arguments
    shown = [arguments for arguments, text in said.items() if "\\x1b" in text or "\\u001b" in text]
    assert len(shown) > len(said) / 2, "the walk hardly shows what is stored: it proves little"


def test_walk_of_documents_is_exact_json_without_a_control_character(shell: Callable[..., Any], ids: list[str]) -> None:
    for arguments in (
        ("results", "list"),
        ("results", "show", ids[0]),
        ("events", "--since", "2h"),
        ("review", "list"),
        ("audit", "list"),
        ("db", "hold", "list"),
        ("products", "list"),
        ("products", "show", PRODUCT),
    ):
        answer = shell(*arguments, "--json")
        told = answer.out
        assert told, (arguments, answer.err)
        assert is_harmless(told), arguments
        assert STORED in str(json.loads(told)) or STORED in _texts(json.loads(told)), arguments


def _texts(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [text for value in document.values() for text in _texts(value)]
    if isinstance(document, list):
        return [text for value in document for text in _texts(value)]
    return [document] if isinstance(document, str) else []


def test_walk_leaves_no_command_out() -> None:
    walked = {" ".join(arguments) for arguments in walk(["id"])}
    named = set(commands(typer.main.get_command(app)))
    left_out = {name for name in named if not any(words == name or words.startswith(f"{name} ") for words in walked)}
    assert left_out <= UNSTORED.keys(), left_out - UNSTORED.keys()
