"""Reads recorded results: the newest ones, or a single result with its stored files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inspector.config.config import Config
from inspector.domain import Verdict
from inspector.errors import UsageError
from inspector.operation.opening import database_of
from inspector.store.ledger.queries import ResultFilter, find_results, list_results
from inspector.store.pictures import folders


@dataclass(frozen=True, slots=True)
class RecordedResult:
    """A result. `files`: its picture, heat map and dead letter, as far as these are stored."""

    verdict: Verdict
    files: tuple[Path, ...]


async def newest_results(config: Config, wanted: ResultFilter, limit: int) -> list[Verdict]:
    """At most `limit` results that match the filter, newest first."""
    async with database_of(config) as database:
        return await list_results(database, wanted, limit=limit)


async def find_result(config: Config, start: str) -> RecordedResult:
    """The result whose id starts with `start`. Raises UsageError where no result or several results match."""
    async with database_of(config) as database:
        verdicts = await find_results(database, start.strip().lower())
    if not verdicts:
        raise UsageError(f"There is no result whose id starts with {start!r}; `inspector results list` shows ids.")
    if len(verdicts) > 1:
        ids = ", ".join(verdict.result_id for verdict in verdicts[:3])
        raise UsageError(f"Several results have an id that starts with {start!r} ({ids}, ...); give more of it.")
    return RecordedResult(verdicts[0], tuple(kept_files(config.agent.state_dir, verdicts[0].result_id)))


def kept_files(state_dir: Path, result_id: str) -> list[Path]:
    """The picture, heat map and dead letter of a result, as far as this machine has them."""
    return [
        *folders.kept_files(state_dir / "images", result_id, depth=3),
        *(path for path in folders.kept_files(state_dir / "late", result_id) if path.suffix != ".json"),
        *folders.kept_files(state_dir / "dead-letters", result_id, depth=2),
    ]
