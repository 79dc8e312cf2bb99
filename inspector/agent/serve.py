"""`inspector run`: serves until SIGTERM or SIGINT, then drains, and reports to systemd."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from inspector import __version__
from inspector.agent.build import Agent, command_keys, opened, uses_mqtt
from inspector.agent.clock import SystemClock
from inspector.agent.clock_watch import ClockWatch
from inspector.agent.garbage import set_start_apart, watched
from inspector.agent.metrics.serving import served, show
from inspector.agent.presence import end_presence, watch_presence
from inspector.agent.process_figures import watch_process
from inspector.agent.systemd import Notifier
from inspector.agent.telemetry import LogTelemetry
from inspector.config import loading as configuration
from inspector.config.config import Config
from inspector.domain import Event, Severity
from inspector.errors import ConfigError, InspectorError
from inspector.store.database import chain_keys
from inspector.store.retention.leaps import newest_row


def serve(config: Config, warnings: Sequence[Event] = ()) -> None:
    """Run the agent until SIGTERM or SIGINT, then drain. Raises InspectorError if it can't start or go on.

    `warnings`: events to report at the start, about things that were known before it.
    """
    try:
        asyncio.run(_serve(config, warnings))
    except BaseExceptionGroup as group:
        known, unknown = group.split(InspectorError)
        if known is None or unknown is not None:
            raise
        raise _first(known) from group


def _check_secrets(config: Config) -> None:
    """Raises ConfigError that lists every missing credential of this agent."""
    names = [config.store.password_secret]
    if uses_mqtt(config):
        names.append(config.mqtt.password_secret)
    written = config.kafka.verdict_topic or config.kafka.dead_letter_topic
    if written or any(camera.source == "kafka" for camera in config.camera):
        names.append(config.kafka.password_secret)
    faults: list[str] = []
    for name in filter(None, names):
        try:
            configuration.secret(name)
        except ConfigError as error:
            faults += error.faults
    if (fault := chain_keys(config).fault) is not None:
        faults.append(fault)
    try:
        command_keys(config)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults)


async def _serve(config: Config, warnings: Sequence[Event]) -> None:
    _check_secrets(config)
    address, watchdog_s = configuration.notify_socket()
    notifier = Notifier(address)
    telemetry = LogTelemetry()
    for warning in warnings:
        telemetry.event(warning)
    stop, asked = asyncio.Event(), list[str]()

    def ask(number: signal.Signals) -> None:
        asked.append(number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask, number)
    with watched(telemetry):
        async with served(config, telemetry) as exposition, opened(config, telemetry, stop.is_set) as agent:
            side = {
                "announce": _announce(agent, notifier, watchdog_s),
                "stop": _stop_when(stop, agent, notifier),
                "housekeeping": agent.housekeeping.run(),
                "drift watch": agent.drift_watch.run(),
                "audit watch": _watch_audit(agent),
                "presence": watch_presence(agent.database, config, f"inspector {__version__}", SystemClock()),
                "clock watch": ClockWatch(SystemClock(), telemetry, partial(newest_row, agent.database)).run(),
                "process figures": watch_process(telemetry, config.agent.state_dir),
            }
            if exposition is not None:
                side["metrics"] = show(exposition, agent)
            await _run(agent, side)
            await end_presence(agent.database, config, SystemClock(), "".join(asked[:1]))


async def _run(agent: Agent, side: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Carry frames until the pipeline has drained. One of the tasks beside it that dies ends it."""
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(work, name=name) for name, work in side.items()]
        await agent.pipeline.run()
        for task in beside:
            task.cancel()
    await agent.audit_watch.finish()
    await agent.pipeline.store_events()


async def _announce(agent: Agent, notifier: Notifier, watchdog_s: float | None) -> None:
    """Send READY when frames are taken; then feed the watchdog while the scorer answers."""
    await agent.pipeline.has_started.wait()
    set_start_apart()
    notifier.send("READY=1", "STATUS=taking frames")
    agent.telemetry.event(Event(SystemClock().now(), "ready", Severity.INFO, "agent", f"inspector {__version__}"))
    while watchdog_s is not None:
        if agent.pipeline.is_moving:
            notifier.send("WATCHDOG=1", f"STATUS=fault: {agent.pipeline.fault}")
        await asyncio.sleep(watchdog_s / 3)


async def _watch_audit(agent: Agent) -> None:
    await agent.pipeline.has_started.wait()
    await agent.audit_watch.run()


async def _stop_when(stop: asyncio.Event, agent: Agent, notifier: Notifier) -> None:
    await stop.wait()
    notifier.send("STOPPING=1")
    agent.pipeline.stop()


def _first(group: BaseExceptionGroup[InspectorError]) -> InspectorError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, InspectorError):
        raise error
    return error
