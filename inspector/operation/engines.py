"""The configured engine for a person's own computation, beside a running agent or without one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inspector.config.config import Config
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine


@contextlib.contextmanager
def engine_of(config: Config) -> Iterator[Engine]:
    """The engine. Its graphs are cached in the state folder; without one they are discarded at the end."""
    state = config.agent.state_dir
    with tempfile.TemporaryDirectory() as scratch:
        cache = state / "engines" if state.is_dir() else Path(scratch)
        yield create_engine(config.engine.name, cache, config.engine.threads)
