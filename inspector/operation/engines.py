"""The configured engine for a person's own computation, beside a running agent or without one."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inspector.config.config import Config
from inspector.operation.graphs import cache_of, fetch_where_none_is_made
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine


@contextlib.contextmanager
def engine_of(config: Config) -> Iterator[Engine]:
    """The engine. Its graphs are cached in the state folder; without one they are discarded at the end.

    Blocks, and must not be entered on an event loop. Raises EngineError, TorchMissing.
    """
    state = config.agent.state_dir
    with tempfile.TemporaryDirectory() as scratch:
        cache = cache_of(config) if state.is_dir() else Path(scratch)
        asyncio.run(fetch_where_none_is_made(config, cache))
        yield create_engine(config.engine.name, cache, config.engine.threads, config.engine.precision)
