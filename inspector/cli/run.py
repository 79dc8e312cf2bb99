"""`inspector run`: the daemon."""

from __future__ import annotations

import contextlib
import enum
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.domain import Event

NAME = "run"
HELP = "Run the agent until SIGTERM: frames in, verdicts out, rows in the store."
EXAMPLE = "Example: inspector run --config /etc/inspector/inspector.toml"


class LogLevel(enum.StrEnum):
    """The lowest severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def command(
    config: console.ConfigOption = None,
    log_level: Annotated[
        LogLevel, typer.Option(case_sensitive=False, help="Log this severity and worse.")
    ] = LogLevel.INFO,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False,
) -> None:
    with _without_collections():
        import structlog

        from inspector.agent.serve import serve
        from inspector.agent.telemetry import configure_logging
        from inspector.config.loading import load

    loaded = load(config)
    configure_logging(log_level.value, log_json)
    if not loaded.camera:
        structlog.get_logger().warning("no_camera", detail="none is configured: nothing will be judged; see `init`")
    serve(loaded, [*plain_text_warnings(loaded), *capacity_warnings(loaded)])


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Nothing is collected while modules are loaded, and they are set apart: they live as long as the process does."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def plain_text_warnings(config: Config) -> list[Event]:
    """A warning for each password that would leave this machine unencrypted, for the log and the table of events."""
    from datetime import UTC, datetime

    from inspector.config.plain_text import plain_passwords
    from inspector.domain import Event, Severity

    now = datetime.now(UTC)
    return [
        Event(now, "password_unencrypted", Severity.WARNING, section, words)
        for section, words in plain_passwords(config)
    ]


def capacity_warnings(config: Config) -> list[Event]:
    """A warning for each gate whose window is under the last measured p99.9, for the log and the table of events."""
    from datetime import UTC, datetime

    from inspector.domain import Event, Severity
    from inspector.errors import StateUnusable
    from inspector.operation.capacity import kept_capacity, narrow_gates

    now = datetime.now(UTC)
    try:
        capacity = kept_capacity(config.agent.state_dir)
    except StateUnusable as error:
        return [Event(now, "capacity_unreadable", Severity.WARNING, "capacity", str(error))]
    narrow = () if capacity is None else narrow_gates(config, capacity)
    return [Event(now, "window_below_measured", Severity.WARNING, gate.gate, gate.detail) for gate in narrow]
