"""Rules between the keys of a configuration, for keys whose own values are valid. Pure.

Every rule is independent and gives one sentence. If a rule reads a key whose own value is wrong (`Partial`), that rule
gives no sentence. The other rules are still checked, so that all faults are reported at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from inspector.config import never_works
from inspector.config.broker_sections import KafkaSection
from inspector.config.line_sections import CameraSection, GateSection
from inspector.config.ruled import Ruled, Unknown
from inspector.config.sections import ConsoleSection, MetricsSection, StoreSection
from inspector.config.store_url import is_postgresql, is_socket, url_faults


def broken_rules(config: Ruled) -> list[str]:
    """One sentence for each rule that is broken; `config` may be a `Partial` of partial sections."""
    said = [fault for rule in _OF_ALL for fault in _said(rule, config)]
    for gate in _listed(config, "gate"):
        said += [fault for rule in _OF_GATES for fault in _said(rule, config, gate)]
    for camera in _listed(config, "camera"):
        said += [fault for rule in _OF_CAMERAS for fault in _said(rule, config, camera)]
    said += [fault for rule in _OF_MQTT for fault in _said(rule, config.mqtt)]
    said += [fault for rule in _OF_KAFKA for fault in _said(rule, config.kafka)]
    said += [fault for rule in _OF_CONSOLE for fault in _said(rule, config.console)]
    said += [fault for rule in _OF_STORE for fault in _said(rule, config.store)]
    return said + list(_said(_metrics_in_network, config.metrics))


def _said(rule: Callable[..., Iterator[str]], *asked: object) -> list[str]:
    said: list[str] = []
    try:
        for fault in rule(*asked):
            said.append(fault)
    except Unknown:
        pass
    return said


def _listed(config: Ruled, key: str) -> tuple[Any, ...]:
    try:
        return tuple(getattr(config, key))
    except Unknown:
        return ()


def _names(config: Ruled, key: str) -> list[str]:
    """The names that are known."""
    names: list[str] = []
    for section in _listed(config, key):
        try:
            names.append(section.name)
        except Unknown:
            continue
    return names


def _repeated(config: Ruled) -> Iterator[str]:
    for what in ("camera", "gate", "command_key"):
        names = _names(config, what)
        yield from (f"{what} {name!r} is configured twice" for name in sorted(set(names)) if names.count(name) > 1)


def _allowed_nowhere(config: Ruled) -> Iterator[str]:
    """A command that is allowed at a place which the agent does not have: its name may be mistyped."""
    owners = {gate.name for gate in config.gate} | {
        camera.name for camera in config.camera if not _is_gated(config, camera)
    }
    allowed = [("commands.allow", config.commands.allow)]
    allowed += [(f"command_key {key.name!r}", key.allow) for key in config.command_key]
    for where, entries in allowed:
        for entry in entries:
            _, _, owner = entry.partition(":")
            if owner and owner not in owners:
                yield f"{where} names {owner!r}, which is no gate and no camera without a gate"


def _old_audit_keys(config: Ruled) -> Iterator[str]:
    """After a sealed entry a plain one is a break of the chain."""
    if config.audit.old_key_secrets and config.audit.key_secret is None:
        yield "audit.old_key_secrets needs audit.key_secret: a chain that was sealed stays sealed"


def _precision(config: Ruled) -> Iterator[str]:
    if config.engine.precision == "int8":
        yield 'engine.precision "int8" is not offered yet; take "bfloat16" or "float32"'
    elif config.engine.precision != "float32" and config.engine.name != "openvino":
        yield f'engine.precision "{config.engine.precision}" needs engine.name "openvino"'


def _two_gates(config: Ruled) -> Iterator[str]:
    owner: dict[str, str] = {}
    for gate in config.gate:
        for name in gate.cameras:
            if owner.get(name) == gate.name:
                yield f"gate {gate.name!r} names camera {name!r} twice"
            elif name in owner:
                yield f"camera {name!r} stands at two gates, {owner[name]!r} and {gate.name!r}"
            owner[name] = gate.name


def _cameras_of_gate(config: Ruled, gate: GateSection) -> Iterator[str]:
    known = {camera.name for camera in config.camera}
    for name in gate.cameras:
        if name not in known:
            yield f"gate {gate.name!r} names camera {name!r}, which is not configured"


def _reserve(_: Ruled, gate: GateSection) -> Iterator[str]:
    if gate.reserve_ms + gate.transport_ms >= gate.window_ms:
        yield f"gate {gate.name!r} keeps its whole window_ms for reserve_ms and transport_ms; leave time for judging"


def _miss_grace(_: Ruled, gate: GateSection) -> Iterator[str]:
    if gate.miss_grace_ms is not None and gate.miss_grace_ms > gate.window_ms:
        yield f"gate {gate.name!r} has a miss_grace_ms longer than its window_ms; make it window_ms at most"


def _golden_zone(_: Ruled, gate: GateSection) -> Iterator[str]:
    if gate.golden_at and gate.golden_zone is None:
        yield f"gate {gate.name!r} has golden_at without golden_zone; name the time zone, such as Europe/Berlin"


def _topic_of_camera(_: Ruled, camera: CameraSection) -> Iterator[str]:
    """No wildcards: they would deliver other cameras' frames, and the agent's own messages, as this camera's frames."""
    topic = camera.topic or ""
    if topic.startswith("$"):
        yield f"camera {camera.name!r} has a topic that begins with $; to share its frames set shared_group"
    exact = topic.removesuffix("/+") if camera.trigger_from == "topic" else topic
    if "#" in exact or "+" in exact:
        may_be = "only a last /+ may be one, with trigger_from = topic"
        yield f"camera {camera.name!r} has a wildcard in its topic; {may_be}"


def _trigger_in_json(_: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.trigger_from == "json" and camera.encoding != "json":
        yield f'camera {camera.name!r} takes its trigger from JSON; set encoding = "json" as well'


def _folder_of_camera(_: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.source == "folder" and camera.folder is None:
        yield f"camera {camera.name!r} has source folder but no folder"


def _shared_at_gate(config: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.shared_group is not None and _is_gated(config, camera):
        yield (
            f"camera {camera.name!r} stands at a gate, whose frames one agent must have in order; "
            "remove its shared_group"
        )


def _shared_elsewhere(_: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.shared_group is not None and camera.source != "mqtt":
        yield f"camera {camera.name!r} has a shared_group, which only MQTT knows; remove it"


def _window_at_gate(config: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.window_ms is not None and _is_gated(config, camera):
        yield f"camera {camera.name!r} stands at a gate, whose window_ms counts; remove its own"


def _is_gated(config: Ruled, camera: CameraSection) -> bool:
    return any(camera.name in gate.cameras for gate in config.gate)


def _trigger_in_kafka(_: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.source == "kafka" and camera.trigger_from == "topic":
        yield f"camera {camera.name!r} reads Kafka, whose topics carry no trigger; use a header"


def _size_in_kafka(config: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.source != "kafka" or "max_mib" not in camera.model_fields_set:
        return
    if camera.max_mib > config.kafka.max_frame_mib:
        yield f"camera {camera.name!r} allows larger frames than kafka.max_frame_mib"


def _same_kafka_topic(config: Ruled) -> Iterator[str]:
    owners: dict[str, str] = {}
    for camera in config.camera:
        if camera.source != "kafka" or camera.topic is None:
            continue
        if camera.topic in owners:
            yield (
                f"cameras {owners[camera.topic]!r} and {camera.name!r} have the same Kafka topic; leave topic "
                "unset and name the camera in a header"
            )
        owners[camera.topic] = camera.name


def _written_topic(config: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.source != "kafka" or camera.topic is None:
        return
    if camera.topic in (config.kafka.verdict_topic, config.kafka.dead_letter_topic):
        yield f"camera {camera.name!r} has its frames on a topic that this agent writes to"


def _unmatched_topic(config: Ruled, camera: CameraSection) -> Iterator[str]:
    if camera.source != "kafka" or camera.topic is None or config.kafka.topic_pattern is None:
        return
    if not _is_read(config.kafka, camera.topic):
        yield f"camera {camera.name!r} has a topic that kafka.topic_pattern does not match"


def _kafka_user(kafka: KafkaSection) -> Iterator[str]:
    if kafka.security.startswith("sasl") != (kafka.username is not None):
        yield "kafka.username belongs to a kafka.security of sasl_plaintext or sasl_ssl, and to no other"


def _kafka_password(kafka: KafkaSection) -> Iterator[str]:
    if (kafka.username is None) != (kafka.password_secret is None):
        yield "kafka.username and kafka.password_secret go together"


def _kafka_certificate(kafka: KafkaSection) -> Iterator[str]:
    if (kafka.cert_file is None) != (kafka.key_file is None):
        yield "kafka.cert_file and kafka.key_file go together"


def _kafka_tls(kafka: KafkaSection) -> Iterator[str]:
    if not kafka.security.endswith("ssl") and (kafka.ca_file or kafka.cert_file):
        yield "kafka.ca_file and kafka.cert_file need a kafka.security of ssl or sasl_ssl"


def _kafka_handover(kafka: KafkaSection) -> Iterator[str]:
    if kafka.handover_ms >= kafka.session_timeout_ms:
        yield "kafka.handover_ms must be shorter than kafka.session_timeout_ms"


def _kafka_pauses(kafka: KafkaSection) -> Iterator[str]:
    if kafka.reconnect_min_s > kafka.reconnect_max_s:
        yield "kafka.reconnect_min_s must not be longer than kafka.reconnect_max_s"


def _kafka_pattern(kafka: KafkaSection) -> Iterator[str]:
    if kafka.topic_pattern is not None and not _is_pattern(kafka.topic_pattern):
        yield "kafka.topic_pattern is not a regular expression"


def _kafka_verdicts(kafka: KafkaSection) -> Iterator[str]:
    if kafka.verdict_topic is not None and _is_read(kafka, kafka.verdict_topic):
        yield f"kafka.verdict_topic {kafka.verdict_topic!r} is a topic of frames too"


def _kafka_dead_letters(kafka: KafkaSection) -> Iterator[str]:
    if kafka.dead_letter_topic is not None and _is_read(kafka, kafka.dead_letter_topic):
        yield f"kafka.dead_letter_topic {kafka.dead_letter_topic!r} is a topic of frames too"


def _same_folder(config: Ruled) -> Iterator[str]:
    """No shared folders: both cameras would judge each file. No camera may watch `done`, which has judged files."""
    owners: dict[str, str] = {}
    for camera in config.camera:
        if camera.source != "folder" or camera.folder is None:
            continue
        folder = os.path.normpath(camera.folder)
        if folder in owners:
            both = f"cameras {owners[folder]!r} and {camera.name!r}"
            yield f"{both} watch the same folder {folder}, so that each file is judged twice; give each its own"
        owners.setdefault(folder, camera.name)
    for folder, name in owners.items():
        head, tail = os.path.split(folder)
        if tail == "done" and head in owners:
            yield f"camera {name!r} watches {folder}, where judged files of camera {owners[head]!r} go; give it another"


def _store_url(store: StoreSection) -> Iterator[str]:
    if store.url:
        yield from (f"store.url: {fault}" for fault in url_faults(store.url))


def _store_certificate(store: StoreSection) -> Iterator[str]:
    if (store.cert_file is None) != (store.key_file is None):
        yield "store.cert_file and store.key_file go together"


def _store_tls(store: StoreSection) -> Iterator[str]:
    if not store.tls and (store.ca_file or store.cert_file):
        yield "store.ca_file and store.cert_file need store.tls = true"
    if store.tls and not is_postgresql(store.url):
        yield "store.tls belongs to a store.url of PostgreSQL"
    elif store.tls and is_socket(store.url):
        yield "store.tls is of no use on a socket of this machine; remove it"


def _console_certificate(console: ConsoleSection) -> Iterator[str]:
    if (console.cert_file is None) != (console.key_file is None):
        yield "console.cert_file and console.key_file go together"


def _console_plain(console: ConsoleSection) -> Iterator[str]:
    if not console.is_loopback and console.cert_file is None and not console.allow_plain:
        yield (
            f"console.listen {console.listen!r} can be reached from other machines, and passwords would go there in "
            "plain text; set console.cert_file and console.key_file, or console.allow_plain = true"
        )


def _metrics_in_network(metrics: MetricsSection) -> Iterator[str]:
    if metrics.address is not None and not metrics.address.is_loopback and not metrics.open_to_network:
        yield (
            f"metrics.listen {metrics.listen} can be reached by other machines, without a password; listen on "
            "127.0.0.1, or set metrics.open_to_network = true if they may read the figures"
        )


def _is_read(kafka: KafkaSection, topic: str) -> bool:
    """Whether the section's own keys make this a topic of frames."""
    if kafka.topic_pattern is not None:
        return _is_pattern(kafka.topic_pattern) and re.match(kafka.topic_pattern, topic) is not None
    return topic in kafka.topics


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):  # the last two: counts and brackets beyond measure
        return False
    return True


_OF_CONSOLE: Final = (_console_certificate, _console_plain)
_OF_ALL: Final = (
    _repeated,
    _allowed_nowhere,
    _old_audit_keys,
    _precision,
    _two_gates,
    _same_kafka_topic,
    _same_folder,
    never_works.same_mqtt_topic,
    never_works.shared_count,
    never_works.slow_heartbeat,
    never_works.session_forgotten,
)
_OF_GATES: Final = (
    _cameras_of_gate,
    _reserve,
    _miss_grace,
    _golden_zone,
    never_works.trigger_never_comes,
    never_works.modulus_within_gap,
    never_works.account_without_share,
    never_works.account_without_acks,
    never_works.golden_never_due,
    never_works.zone_of_nothing,
)
_OF_CAMERAS: Final = (
    _topic_of_camera,
    _trigger_in_json,
    _folder_of_camera,
    _shared_at_gate,
    _shared_elsewhere,
    _window_at_gate,
    _trigger_in_kafka,
    _size_in_kafka,
    _written_topic,
    _unmatched_topic,
    never_works.capture_time_never_comes,
    never_works.folder_of_another_source,
    never_works.own_topic,
)
_OF_MQTT: Final = (
    never_works.mqtt_password,
    never_works.mqtt_certificate,
    never_works.mqtt_tls,
    never_works.mqtt_pauses,
)
_OF_KAFKA: Final = (
    _kafka_user,
    _kafka_password,
    _kafka_certificate,
    _kafka_tls,
    _kafka_handover,
    _kafka_pauses,
    _kafka_pattern,
    _kafka_verdicts,
    _kafka_dead_letters,
)
_OF_STORE: Final = (_store_url, _store_certificate, _store_tls)
