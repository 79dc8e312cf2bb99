"""Rules that refuse combinations of keys with which a line can never do what its configuration says. Pure.

Each key is valid by itself, and the agent would run. But every frame would be without its trigger id, or a bound that
somebody relies on would never be reached. What depends on the frames is no fault here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from inspector.config.broker_sections import MqttSection
from inspector.config.line_sections import CameraSection, GateSection
from inspector.config.ruled import Ruled
from inspector.config.topics import forms_of, have_messages_in_common

HEARTBEAT_LIMIT_MS: Final = 1500
"""A PLC takes an agent whose heartbeat has not changed for this long as not ready (the contract of the gate)."""

_OWN_BELOW_CAMERA: Final = ("verdict", "reject", "health")
_OWN_BELOW_GATE: Final = ("decision", "heartbeat", "ack", "owner")
_OWN_COMMANDS: Final = ("job", "mode", "resync", "golden", "release")


def trigger_never_comes(config: Ruled, gate: GateSection) -> Iterator[str]:
    """A gate that finds its parts, or joins the views of a part, by trigger ids, for which frames have no place."""
    if gate.match != "trigger_id" and len(gate.cameras) == 1:
        return
    for camera in _cameras_of(config, gate):
        if camera.source == "folder" and camera.trigger_from != "topic":
            yield (
                f"camera {camera.name!r} watches a folder, whose files carry no trigger id, and gate {gate.name!r} "
                'needs one; set its trigger_from = "topic" and name each file by its trigger id'
            )
        elif _has_no_properties(config, camera) and camera.trigger_from in ("property", "header"):
            yield (
                f"camera {camera.name!r} carries its trigger id in a user property, which MQTT 3.1.1 does not have, "
                f'and gate {gate.name!r} needs one; set its trigger_from = "topic", or mqtt.protocol = "5"'
            )


def capture_time_never_comes(config: Ruled, camera: CameraSection) -> Iterator[str]:
    """A clock that is trusted, while no frame can say when it was captured."""
    if camera.clock == "trusted" and _has_no_properties(config, camera):
        yield (
            f'camera {camera.name!r} has clock = "trusted", but over MQTT 3.1.1 its images carry no captured-at; '
            'set mqtt.protocol = "5", its encoding = "json" with captured_at, or clock = "untrusted"'
        )


def folder_of_another_source(_: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.source != "folder" and camera.folder is not None:
        yield f'camera {camera.name!r} has a folder but takes frames from {camera.source}; set source = "folder"'
    if camera.source == "folder" and camera.encoding == "json":
        yield f"camera {camera.name!r} watches a folder, which holds images and no JSON; remove its encoding"
    if camera.source == "folder" and camera.topic is not None:
        yield f"camera {camera.name!r} watches a folder and has no topic; remove one of them"


def own_topic(config: Ruled, camera: CameraSection) -> Iterator[str]:
    """A camera whose topic filter also matches what agents, gates and commands write: each would be judged as a frame.

    A last /+ stands for any one level.
    """
    if camera.source != "mqtt" or not camera.topic:
        return
    prefix = config.agent.prefix
    written = [f"{prefix}/{each.name}/{leaf}" for each in config.camera for leaf in _OWN_BELOW_CAMERA]
    written += [f"{prefix}/gate/{gate.name}/{leaf}" for gate in config.gate for leaf in _OWN_BELOW_GATE]
    written += [f"{prefix}/cmd/{name}" for name in _OWN_COMMANDS]
    for topic, name in itertools.product(forms_of(prefix, camera), written):
        if have_messages_in_common(topic, name):
            yield f"camera {camera.name!r} has the topic {topic}, on which {name} comes too; give it one of its own"
            return


def same_mqtt_topic(config: Ruled) -> Iterator[str]:
    """Two cameras of one topic. Both would judge its frames. Shared subscriptions share one camera's frames.

    A last /+ stands for any one level.
    """
    cameras = [camera for camera in config.camera if camera.source == "mqtt"]
    for one, other in itertools.combinations(cameras, 2):
        if one.name == other.name:
            continue
        both = f"cameras {one.name!r} and {other.name!r}"
        pairs = itertools.product(*(forms_of(config.agent.prefix, camera) for camera in (one, other)))
        first, second = next((pair for pair in pairs if have_messages_in_common(*pair)), (None, None))
        if first is not None and first == second:
            yield f"{both} have the same topic {first}, so that each frame is judged twice; give each its own"
        elif first is not None:
            yield f"{both} have the topics {first} and {second}, so that frames are judged twice; give each its own"


def shared_count(config: Ruled) -> Iterator[str]:
    """A gate and a camera elsewhere of one name: one trigger count, one epoch and one mode would serve both."""
    gates = {gate.name for gate in config.gate}
    gated = {name for gate in config.gate for name in gate.cameras}
    for camera in config.camera:
        if camera.name in gates and camera.name not in gated:
            yield (
                f"camera {camera.name!r} has the name of a gate at which it doesn't stand, so that they would share "
                "one trigger count and one mode; give one of them another name"
            )


def slow_heartbeat(config: Ruled) -> Iterator[str]:
    if config.gate and config.agent.heartbeat_ms >= HEARTBEAT_LIMIT_MS:
        yield (
            f"agent.heartbeat_ms is {config.agent.heartbeat_ms}, but a PLC takes an agent for not ready after "
            f"{HEARTBEAT_LIMIT_MS} ms without a heartbeat; leave it at 500"
        )


def modulus_within_gap(_: Ruled, gate: GateSection) -> Iterator[str]:
    """Beyond half of the modulus a step forward is a step back, so that no jump would be longer than `max_gap`."""
    if gate.trigger_modulus is not None and gate.trigger_modulus <= 2 * gate.max_gap:
        yield (
            f"gate {gate.name!r} has a max_gap of {gate.max_gap}, which no jump of a counter that wraps at "
            f"{gate.trigger_modulus} exceeds, so that its reset is never seen; make max_gap less than half of it"
        )


def session_forgotten(config: Ruled) -> Iterator[str]:
    """A broker that keeps nothing while the agent is away loses the PLC's acknowledgements, the only count of parts."""
    if config.gate and config.mqtt.session_expiry_s == 0:
        yield (
            "mqtt.session_expiry_s is 0, so that the broker keeps no acknowledgement of a gate while the agent is "
            "away; give the seconds of the longest outage, such as 86400"
        )


def account_without_share(_: Ruled, gate: GateSection) -> Iterator[str]:
    if gate.account_holds and gate.account_share is None:
        yield f"gate {gate.name!r} has account_holds, which holds it beyond account_share only; set account_share"


def account_without_acks(_: Ruled, gate: GateSection) -> Iterator[str]:
    """`golden_acks = false` says that the PLC sends no acknowledgements at all."""
    if gate.golden_acks:
        return
    for key, is_set in (("account_share", gate.account_share is not None), ("reject_sensor", gate.reject_sensor)):
        if is_set:
            yield (
                f"gate {gate.name!r} has {key}, which needs the PLC's acknowledgements, and golden_acks = false, "
                "which says that it sends none; remove one of them"
            )


def golden_never_due(_: Ruled, gate: GateSection) -> Iterator[str]:
    if gate.golden_at or gate.golden_after_activation or gate.golden_after_changeover:
        return
    if gate.golden_within_min != GateSection.model_fields["golden_within_min"].default:
        yield (
            f"gate {gate.name!r} has golden_within_min, but no challenge is ever due; set golden_at, "
            "golden_after_activation or golden_after_changeover"
        )


def zone_of_nothing(_: Ruled, gate: GateSection) -> Iterator[str]:
    if gate.golden_zone is not None and not gate.golden_at:
        yield f"gate {gate.name!r} has golden_zone without golden_at; set the times of day, or remove it"


def mqtt_password(mqtt: MqttSection) -> Iterator[str]:
    if mqtt.password_secret is not None and mqtt.username is None:
        yield "mqtt.password_secret needs mqtt.username"


def mqtt_certificate(mqtt: MqttSection) -> Iterator[str]:
    if (mqtt.cert_file is None) != (mqtt.key_file is None):
        yield "mqtt.cert_file and mqtt.key_file go together"


def mqtt_tls(mqtt: MqttSection) -> Iterator[str]:
    """A client certificate that is never shown. A `ca_file` alone may serve `simulate --to mqtts:`; `doctor` warns."""
    if not mqtt.tls and mqtt.cert_file and mqtt.key_file:
        yield "mqtt.cert_file and mqtt.key_file need mqtt.tls = true, else all is sent in plain text"


def mqtt_pauses(mqtt: MqttSection) -> Iterator[str]:
    if mqtt.reconnect_min_s > mqtt.reconnect_max_s:
        yield "mqtt.reconnect_min_s must not be longer than mqtt.reconnect_max_s"


def _cameras_of(config: Ruled, gate: GateSection) -> list[CameraSection]:
    return [camera for camera in config.camera if camera.name in gate.cameras]


def _has_no_properties(config: Ruled, camera: CameraSection) -> bool:
    """Whether a frame of this camera is its image and nothing else."""
    is_plain = camera.encoding == "image" and camera.trigger_from != "json"
    return camera.source == "mqtt" and is_plain and config.mqtt.protocol == "3.1.1"
