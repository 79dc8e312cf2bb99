"""A simulated camera on a configured line: its broker, topic and trigger ids, and its run.

This module joins the configuration with the publishers of the connectors. Only a room above both may do that.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.mqtt.publisher import MqttPublisher
from inspector.config.addresses import Address, broker_address
from inspector.config.broker_sections import KafkaSection, MqttSection
from inspector.config.config import Config
from inspector.demo.simulated_camera import Shooting, Tally, Wire, image_files, shoot
from inspector.errors import UsageError

PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "kafka": 9092}
_DAY_MS: Final = 86_400_000

Broker = MqttSection | KafkaSection


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationRequest:
    """The request for a simulation. None stands for values that the person left out.

    `address`: of the broker, as mqtt://host:port, mqtts:// or kafka://. `count`: number of frames, else each file once,
    or without end if `is_looping`. `is_live`: frames count as real parts.
    """

    folder: Path
    camera: str
    rate_fps: float
    address: str | None = None
    count: int | None = None
    is_looping: bool = False
    is_live: bool = False
    topic: str | None = None
    trigger_start: int | None = None
    has_triggers: bool = True


@dataclass(frozen=True, slots=True)
class Simulation:
    """A camera ready to run. `wire`: its connection to the broker, not yet open; it can be opened once.

    `warnings`: why no agent of this configuration takes the frames, in whole sentences.
    """

    shooting: Shooting
    wire: AbstractAsyncContextManager[Wire]
    warnings: tuple[str, ...] = ()


def plan_simulation(config: Config, request: SimulationRequest) -> Simulation:
    """The requested camera, not connected yet. Raises UsageError for a request that can't be met."""
    camera, count = request.camera, request.count
    broker = broker_of(request.address, config, camera)
    files = image_files(request.folder)
    if count is not None and count > len(files) and not request.is_looping:
        raise UsageError(f"There are only {len(files)} images in {request.folder}; add --loop to show {count} frames.")
    if not request.has_triggers and request.trigger_start is not None:
        raise UsageError("--no-triggers and --trigger-start exclude each other; leave one away.")
    first = first_trigger(config, camera, request.trigger_start) if request.has_triggers else None
    topic = request.topic or _kafka_topic(broker, config, camera)
    shooting = Shooting(
        files=files,
        rate_fps=request.rate_fps,
        run=uuid.uuid4().hex[:8],
        count=count,
        is_looping=request.is_looping,
        is_live=request.is_live,
        **_camera_fields(config, camera, topic, first),
    )
    _check_topic_and_marks(shooting, broker)
    return Simulation(shooting, _wire(broker, config, camera), tuple(_warnings(broker, config, camera)))


async def run_simulation(
    simulation: Simulation, stop: asyncio.Event, report: Callable[[int], None] = lambda _sent: None
) -> Tally:
    """Connects and sends every frame, until the last frame or `stop`. Raises as `shoot`, and BrokerRefused."""
    async with simulation.wire as wire:
        return await shoot(simulation.shooting, wire, stop, report)


def broker_of(address: str | None, config: Config, camera: str = "", option: str = "--to") -> Broker:
    """The broker at that address, with the configured user and secret if the configuration has the same one.

    The scheme alone says whether TLS is used. Without an address, it is the configured broker of the camera's frames.
    Raises UsageError for an invalid address of this `option`, and for one that contradicts the configuration.
    """
    if address is None:
        is_kafka = any(known.name == camera and known.source == "kafka" for known in config.camera)
        return config.kafka if is_kafka else config.mqtt
    named = _address(address, option)
    port = named.port or PORTS[named.scheme]
    if named.scheme == "kafka":
        return _cluster_of(named.host, port, config)
    return _mqtt_of(named.host, port, config.mqtt, is_tls=named.scheme == "mqtts")


def _address(url: str, option: str) -> Address:
    try:
        address = broker_address(url)
    except ValueError as error:
        raise UsageError(f"{option} {url!r} {error}; it looks like mqtt://127.0.0.1:1883.") from None
    if address.scheme not in PORTS:
        raise UsageError(f"{option} {url!r} begins with none of mqtt://, mqtts:// and kafka://.")
    if address.names_user:
        raise UsageError("User and password don't belong on a command line; name them in the configuration.")
    return address


def _cluster_of(host: str, port: int, config: Config) -> KafkaSection:
    if ":" in host:
        raise UsageError(f"A Kafka broker is named by its host name or IPv4 address, not as [{host}].")
    if f"{host}:{port}" in config.kafka.bootstrap.lower().split(","):
        return config.kafka
    return KafkaSection(bootstrap=f"{host}:{port}", topics=config.kafka.topics)


def _mqtt_of(host: str, port: int, configured: MqttSection, *, is_tls: bool) -> MqttSection:
    """The broker at this address. Secrets go only to the configured host, and never in plain text if TLS is set."""
    is_host = host == configured.host.lower()
    is_configured = is_host and port == configured.port
    if is_configured and configured.tls and not is_tls:
        raise UsageError(
            f"The broker at {host}:{port} is configured with TLS; write mqtts://{host}:{port}, or leave --to away."
        )
    if is_configured or (is_host and is_tls):
        return configured.model_copy(update={"port": port, "tls": is_tls})
    ca_file = configured.ca_file if is_tls else None
    return MqttSection(host=host, port=port, tls=is_tls, ca_file=ca_file, protocol=configured.protocol)


def first_trigger(config: Config, camera: str, wanted: int | None) -> int | None:
    """`wanted`, else the time of day in ms. A file that comes again under the same trigger id would be no new part.

    None at a gate with one part at a time, which needs no trigger ids.
    """
    gate = config.gate_of(camera)
    is_needless = gate is not None and gate.match == "single_in_flight"
    if wanted is None and is_needless and config.camera_named(camera).trigger_from != "topic":
        return None
    return time.time_ns() // 1_000_000 % _DAY_MS if wanted is None else wanted


def _camera_fields(config: Config, camera: str, topic: str | None, first_trigger: int | None) -> dict[str, Any]:
    """The fields of `Shooting` that the camera's own section decides. Raises UsageError for a folder camera."""
    try:
        section = config.camera_named(camera)
    except KeyError:
        return {"topic": topic or f"{config.agent.prefix}/{camera}/frame", "trigger_start": first_trigger}
    if section.source == "folder" and topic is None:
        raise UsageError(f"Camera {camera} watches the folder {section.folder}; copy images there, or give a --topic.")
    gate = config.gate_of(camera)
    modulus = gate.trigger_modulus if gate else None
    in_topic = section.trigger_from == "topic"
    if in_topic and first_trigger is None:
        raise UsageError(f"Camera {camera} has its trigger id in its topic; leave --no-triggers away.")
    return {
        "topic": topic or config.topic_of(section).removesuffix("/+"),
        "trigger_start": first_trigger if modulus is None or first_trigger is None else first_trigger % modulus,
        "trigger_modulus": modulus,
        "trigger_in_topic": in_topic,
        "is_json": section.encoding == "json",
    }


def _warnings(broker: Broker, config: Config, camera: str) -> Iterator[str]:
    """A frame that no agent of this configuration takes may still be meant: another one may know the camera."""
    known = {section.name: section for section in config.camera}
    kind = "kafka" if isinstance(broker, KafkaSection) else "mqtt"
    if camera not in known:
        names = ", ".join(known) or "none"
        yield f"The configuration has no camera {camera!r} ({names}): no agent that runs with it takes these frames."
    elif known[camera].source != kind:
        yield (
            f"Camera {camera} takes its frames from {known[camera].source}, these go to {kind}: no agent that runs "
            "with this configuration takes them."
        )


def _kafka_topic(broker: Broker, config: Config, camera: str) -> str | None:
    """The camera's Kafka topic, else the common one; None on MQTT. Raises UsageError if the person must name it."""
    if not isinstance(broker, KafkaSection):
        return None
    own = next((known.topic for known in config.camera if known.name == camera and known.source == "kafka"), None)
    if own is None and broker.topic_pattern is not None:
        raise UsageError("The configuration finds Kafka topics by a pattern; name the one to publish on with --topic.")
    return own or broker.topics[0]


def _check_topic_and_marks(shooting: Shooting, broker: Broker) -> None:
    """Raises UsageError for a wildcard topic, and if frames would count as real parts against the request."""
    if any(wild in shooting.topic for wild in "+#"):
        raise UsageError(f"The topic {shooting.topic} has a wildcard; name the one to publish on with --topic.")
    carries_marks = isinstance(broker, KafkaSection) or broker.protocol == "5"
    is_marked = shooting.is_live or shooting.is_json or carries_marks
    if not is_marked:
        raise UsageError(
            "MQTT 3.1.1 has nowhere to mark a frame as simulated, so the gate would act on it; say --as-live if it may."
        )


def _wire(broker: Broker, config: Config, camera: str) -> AbstractAsyncContextManager[Wire]:
    """The camera's connection to its broker, not yet open."""
    if isinstance(broker, MqttSection):
        return MqttPublisher(broker, f"{camera}:simulated:{os.getpid()}")
    from connectors.kafka.publisher import KafkaPublisher  # loads the Kafka client, which MQTT doesn't need

    gate = config.gate_of(camera)
    return KafkaPublisher(broker, camera, gate.name if gate is not None else camera)
