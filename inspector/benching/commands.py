"""Writes the page of a bench. What the command line calls."""

from __future__ import annotations

from pathlib import Path

from inspector.domain import printable
from inspector.errors import InspectorError
from inspector.files import write_text
from inspector.reports.bench import BenchPage, bench_text


def write_page(page: BenchPage, file: Path) -> None:
    """Raises InspectorError where the file can't be written."""
    try:
        write_text(file, bench_text(page, file))
    except OSError as error:
        raise InspectorError(
            f"The page {printable(str(file))} can't be written ({error.strerror or error}); the figures are right."
        ) from error
