"""Runs a bench to its end or until Ctrl-C or SIGTERM, and writes its page. What the command line calls."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from inspector.domain import printable
from inspector.errors import InspectorError
from inspector.reports.bench import BenchPage, bench_text

Result = TypeVar("Result")


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`. Raises KeyboardInterrupt when it was ended by a signal, with all children gone."""
    return asyncio.run(_until_signalled(work))


async def _until_signalled(work: Coroutine[Any, Any, Result]) -> Result:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in signals:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def write_page(page: BenchPage, file: Path) -> None:
    """Raises InspectorError where the file can't be written."""
    try:
        file.write_text(bench_text(page, file), encoding="utf-8")
    except OSError as error:
        raise InspectorError(
            f"The page {printable(str(file))} can't be written ({error.strerror or error}); the figures are right."
        ) from error
