"""`inspector simulate`: a camera made of files."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import SplitResult, urlsplit

import typer

from inspector.cli.terminal import console

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from inspector.cli.camera import Shooting, Tally, Wire
    from inspector.config.config import Config
    from inspector.config.sections import KafkaSection, MqttSection

    Broker = MqttSection | KafkaSection

NAME: Final = "simulate"
HELP: Final = "A camera made of files: publish a folder's images at a steady rate, marked as simulated."
EXAMPLE: Final = "Example: inspector simulate bottles/ --to mqtt://127.0.0.1:1883 --camera cam1 --rate 5 --loop"

PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "kafka": 9092}
CONNECT_TIMEOUT_S: Final = 10.0
_DAY_MS: Final = 86_400_000


def command(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of JPEG and PNG files, with all below it.")],
    to: Annotated[str | None, typer.Option(help="mqtt://host:port or kafka://host:port; else as configured.")] = None,
    camera: Annotated[str, typer.Option(help="Name of the camera, as configured where it is.")],
    rate: Annotated[float, typer.Option(min=0.001, max=10_000, help="Frames a second.")],
    count: Annotated[int | None, typer.Option(min=1, help="So many frames; else each file once.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again after the last file.")] = False,
    as_live: Annotated[bool, typer.Option("--as-live", help="As real parts: the gate acts on them.")] = False,
    topic: Annotated[str | None, typer.Option(help="Another topic than the camera's own.")] = None,
    trigger_start: Annotated[
        int | None, typer.Option(min=0, help="First trigger id; else the time of day in ms.")
    ] = None,
    no_triggers: Annotated[bool, typer.Option("--no-triggers", help="Frames carry no trigger id.")] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.agent.telemetry import configure_logging
    from inspector.cli.camera import Shooting, image_files
    from inspector.config.loading import load
    from inspector.errors import UsageError

    loaded = load(config)
    broker = broker_of(to, loaded, camera)
    files = image_files(folder)
    if count is not None and count > len(files) and not loop:
        raise UsageError(f"There are only {len(files)} images in {folder}; add --loop to show {count} frames.")
    if no_triggers and trigger_start is not None:
        raise UsageError("--no-triggers and --trigger-start exclude each other; leave one away.")
    first = None if no_triggers else first_trigger(loaded, camera, trigger_start)
    shooting = Shooting(
        files=files,
        rate_fps=rate,
        run=uuid.uuid4().hex[:8],
        count=count,
        is_looping=loop,
        is_live=as_live,
        **_plan(loaded, camera, topic or _kafka_topic(broker, loaded, camera), first),
    )
    _check_topic_and_marks(shooting, broker)
    configure_logging("error")  # what keeps frames from being taken is said once, at the end
    tally = asyncio.run(_run(shooting, _wire(broker, loaded, camera), quiet=as_json))
    _print(shooting, tally, camera, as_json)


def broker_of(address: str | None, config: Config, camera: str = "") -> Broker:
    """The broker that `--to` names; user, secret and TLS are the configuration's where it is the same one.

    Without an address it is the one that brings the camera's frames. Raises UsageError for an address that is none.
    """
    from inspector.config.sections import KafkaSection, MqttSection
    from inspector.errors import UsageError

    if address is None:
        is_kafka = any(each.name == camera and each.source == "kafka" for each in config.camera)
        return config.kafka if is_kafka else config.mqtt
    parts = urlsplit(address)
    host, port = _host_and_port(parts)
    if parts.scheme not in PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"--to {address!r} is no broker; it looks like mqtt://127.0.0.1:1883.")
    if parts.username is not None:
        raise UsageError("User and password don't belong on a command line; name them in the configuration.")
    if parts.scheme == "kafka":
        is_configured = f"{host}:{port}" in config.kafka.bootstrap.split(",")
        return config.kafka if is_configured else KafkaSection(bootstrap=f"{host}:{port}", topics=config.kafka.topics)
    if (host, port) == (config.mqtt.host, config.mqtt.port):
        return config.mqtt
    return MqttSection(host=host, port=port, tls=parts.scheme == "mqtts", protocol=config.mqtt.protocol)


def first_trigger(config: Config, camera: str, wanted: int | None) -> int | None:
    """`wanted`, else one by the time of day: the same trigger with the same bytes would be no new part.

    None at a gate of one part at a time, which needs no trigger ids.
    """
    gate = config.gate_of(camera)
    is_needless = gate is not None and gate.match == "single_in_flight"
    if wanted is None and is_needless and config.camera_named(camera).trigger_from != "topic":
        return None
    return time.time_ns() // 1_000_000 % _DAY_MS if wanted is None else wanted


def _host_and_port(parts: SplitResult) -> tuple[str | None, int]:
    from inspector.errors import UsageError

    try:
        return parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise UsageError(f"--to {parts.geturl()!r} has no port from 1 to 65535.") from None


def _plan(config: Config, camera: str, topic: str | None, first_trigger: int | None) -> dict[str, Any]:
    """What follows from the camera's own section, where it has one. Raises UsageError for a folder camera."""
    from inspector.errors import UsageError

    try:
        section = config.camera_named(camera)
    except KeyError:
        return {"topic": topic or f"{config.agent.prefix}/{camera}/frame", "trigger_start": first_trigger}
    if section.source == "folder" and topic is None:
        raise UsageError(f"Camera {camera} watches the folder {section.folder}; copy images there, or give a --topic.")
    gate = config.gate_of(camera)
    in_topic = section.trigger_from == "topic"
    if in_topic and first_trigger is None:
        raise UsageError(f"Camera {camera} has its trigger id in its topic; leave --no-triggers away.")
    return {
        "topic": topic or config.topic_of(section).removesuffix("/+"),
        "trigger_start": first_trigger,
        "trigger_modulus": gate.trigger_modulus if gate else None,
        "trigger_in_topic": in_topic,
        "is_json": section.encoding == "json",
    }


def _kafka_topic(broker: Broker, config: Config, camera: str) -> str | None:
    """The camera's own topic on Kafka, else the one of all; None on MQTT. Raises UsageError where it must be named."""
    from inspector.config.sections import KafkaSection
    from inspector.errors import UsageError

    if not isinstance(broker, KafkaSection):
        return None
    own = next((each.topic for each in config.camera if each.name == camera and each.source == "kafka"), None)
    if own is None and broker.topic_pattern is not None:
        raise UsageError("The configuration finds Kafka topics by a pattern; name the one to publish on with --topic.")
    return own or broker.topics[0]


def _check_topic_and_marks(shooting: Shooting, broker: Broker) -> None:
    """Raises UsageError where frames can't be published so, or would count as real parts without being asked to."""
    from inspector.config.sections import KafkaSection
    from inspector.errors import UsageError

    if any(wild in shooting.topic for wild in "+#"):
        raise UsageError(f"The topic {shooting.topic} has a wildcard; name the one to publish on with --topic.")
    carries_marks = isinstance(broker, KafkaSection) or broker.protocol == "5"
    is_marked = shooting.is_live or shooting.is_json or carries_marks
    if not is_marked:
        raise UsageError(
            "MQTT 3.1.1 has nowhere to mark a frame as simulated, so the gate would act on it; say --as-live if it may."
        )


def _wire(broker: Broker, config: Config, camera: str) -> AbstractAsyncContextManager[Wire]:
    """The camera's side of its broker, not yet connected."""
    from inspector.config.sections import MqttSection

    if isinstance(broker, MqttSection):
        from connectors.mqtt.publisher import MqttPublisher

        return MqttPublisher(broker, f"{camera}:simulated:{os.getpid()}")
    from connectors.kafka.publisher import KafkaPublisher

    gate = config.gate_of(camera)
    return KafkaPublisher(broker, camera, gate.name if gate is not None else camera)


async def _run(shooting: Shooting, wire: AbstractAsyncContextManager[Wire], *, quiet: bool) -> Tally:
    from inspector.cli.camera import shoot

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with wire as publisher:
        with console.progress("Showing", quiet=quiet or shooting.total is None) as report:
            return await shoot(shooting, publisher, stop, lambda sent: report("frames", sent, shooting.total or 0))


def _print(shooting: Shooting, tally: Tally, camera: str, as_json: bool) -> None:
    p50, p99 = tally.answer_ms(0.5), tally.answer_ms(0.99)
    if as_json:
        document = {"camera": camera, "topic": shooting.topic, "simulated": not shooting.is_live, "sent": tally.sent}
        rates = {"sent_again": tally.sent_again, "offered_fps": shooting.rate_fps, "achieved_fps": tally.achieved_fps}
        rest = {
            "seconds": tally.seconds,
            "first_trigger": shooting.trigger_start,
            "answer_ms": {"p50": p50, "p99": p99},
        }
        console.print_json(document | rates | rest)
        return
    from inspector.cli.terminal import rendering

    achieved = "" if tally.achieved_fps is None else f", {tally.achieved_fps:.4g} a second of {shooting.rate_fps:g}"
    mark = "as live parts" if shooting.is_live else "marked as simulated"
    lines = [("frames", f"{tally.sent}{achieved}, {mark}"), ("topic", shooting.topic)]
    if shooting.trigger_start is not None and tally.sent:
        lines.append(("first trigger", str(shooting.trigger_start)))
    if p50 is not None and p99 is not None:
        lines.append(("broker's answer", f"half within {p50:.1f} ms, 99 % within {p99:.1f} ms"))
    if tally.sent_again:
        lines.append(("sent again", f"{tally.sent_again}, after the broker was away"))
    rendering.show(rendering.facts(lines))
