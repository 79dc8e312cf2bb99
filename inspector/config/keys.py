"""Describes the keys of the configuration, from the fields of the sections.

`inspector init` and `docs/configuration.md` are written from these descriptions, so that they agree with the checks.
Pure: no file is read or written.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from inspector.config.config import Config
from inspector.config.section import NAME_PATTERN, Section

UNITS: Final = {
    "_s": "seconds",
    "_ms": "milliseconds",
    "_h": "hours",
    "_days": "days",
    "_mib": "MiB",
    "_mpx": "megapixels",
    "_hz": "hertz",
}

_MADE_DEFAULTS: Final = {
    "agent.name": "this host's name",
    "agent.state_dir": "systemd's StateDirectory, else inspector/ in the XDG state folder of the user",
}
"""Defaults that depend on the machine, in words."""

_EXAMPLES: Final[dict[str, Any]] = {
    "agent.name": "line1-agent",
    "agent.state_dir": "/var/lib/inspector",
    "mqtt.username": "inspector",
    "mqtt.password_secret": "mqtt-password",
    "mqtt.ca_file": "/etc/inspector/ca.pem",
    "mqtt.cert_file": "/etc/inspector/agent.pem",
    "mqtt.key_file": "/etc/inspector/agent.key",
    "kafka.ca_file": "/etc/inspector/ca.pem",
    "kafka.cert_file": "/etc/inspector/agent.pem",
    "kafka.key_file": "/etc/inspector/agent.key",
    "kafka.username": "inspector",
    "kafka.password_secret": "kafka-password",
    "kafka.topic_pattern": "frames-.*",
    "kafka.verdict_topic": "verdicts",
    "kafka.dead_letter_topic": "dead-letters",
    "store.url": "postgresql+asyncpg://db.plant.example/inspector",
    "store.user": "inspector",
    "store.tls": True,
    "store.ca_file": "/etc/inspector/ca.pem",
    "store.cert_file": "/etc/inspector/agent.pem",
    "store.key_file": "/etc/inspector/agent.key",
    "store.password_secret": "store-password",
    "signing.key_secret": "signing-key",
    "engine.weights_dir": "/srv/weights",
    "retention.passes_days": 90,
    "retention.rejects_days": 730,
    "retention.unjudged_days": 730,
    "retention.decisions_days": 730,
    "retention.events_days": 365,
    "retention.pictures_days": 365,
    "console.cert_file": "/etc/inspector/console.pem",
    "console.key_file": "/etc/inspector/console.key",
    "console.zone": "Europe/Berlin",
    "audit.key_secret": "audit-key",
    "command_key.name": "mes",
    "command_key.key_secret": "command-mes",
    "metrics.listen": "127.0.0.1:9464",
    "camera.name": "cam1",
    "camera.on_unjudged": "reject",
    "camera.topic": "line1/camera1/frame",
    "camera.shared_group": "hall2",
    "camera.folder": "/srv/frames",
    "camera.on_late": "quarantine",
    "camera.on_wrong_product": "reject",
    "camera.on_frame_health": "quarantine",
    "camera.product": "bottle",
    "camera.window_ms": 500,
    "camera.rate_hz": 12,
    "camera.silent_s": 30,
    "gate.name": "gate1",
    "gate.cameras": ["cam1"],
    "gate.window_ms": 1000,
    "gate.trigger_modulus": 65536,
    "gate.miss_grace_ms": 150,
    "gate.storm_consecutive": 20,
    "gate.account_share": 0.05,
    "gate.golden_zone": "Europe/Berlin",
}
"""An example for each key whose default can't be written down."""

_KINDS: Final = {str: "text", Path: "path", bool: "true or false", int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `default`: its value in TOML, or in words if it depends on the machine.

    `example`: a value in TOML, which is the default if the default can be written down.
    """

    section: str
    name: str
    meaning: str
    kind: str
    default: str
    example: str
    is_required: bool

    @property
    def rule(self) -> str:
        """The values allowed and the default, in one line."""
        return f"{self.kind}; {'required' if self.is_required else f'default: {self.default}'}"


@dataclass(frozen=True, slots=True)
class Table:
    """One section. `is_list`: the section may occur several times (`[[camera]]`)."""

    name: str
    meaning: str
    is_list: bool
    keys: tuple[Key, ...]

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.is_list else f"[{self.name}]"


def tables() -> list[Table]:
    """Every section with every key, in the order of config.config."""
    return [_table(name, field) for name, field in Config.model_fields.items()]


def toml_value(value: Any) -> str:
    """The value in TOML. Raises TypeError for a type that no configuration has."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str | Path):
        return _toml_text(str(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    raise TypeError(f"{value!r} has no form in a configuration")


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in escaped) + '"'


def _table(name: str, field: FieldInfo) -> Table:
    annotation = field.annotation
    is_list = get_origin(annotation) is tuple
    section = get_args(annotation)[0] if is_list else annotation
    if not (isinstance(section, type) and issubclass(section, Section)):
        raise TypeError(f"{name} is no section of the configuration")
    keys = tuple(_key(name, key, found) for key, found in section.model_fields.items())
    return Table(name, (section.__doc__ or "").strip(), is_list, keys)


def _key(section: str, name: str, field: FieldInfo) -> Key:
    where = f"{section}.{name}"
    words = "none" if field.is_required() else _MADE_DEFAULTS.get(where, "unset" if field.default is None else "")
    written = "" if words else toml_value(field.default)
    return Key(
        section=section,
        name=name,
        meaning=field.description or "",
        kind=_kind(name, field),
        default=words or written,
        example=written or toml_value(_EXAMPLES[where]),
        is_required=field.is_required(),
    )


def _kind(name: str, field: FieldInfo) -> str:
    """For example "milliseconds, 0 to 1000", "one of pass, reject, quarantine", "true or false"."""
    bare, constraints = _bare(field.annotation)
    constraints += field.metadata
    if get_origin(bare) is Literal:
        choices = [_word(choice) for choice in get_args(bare)]
        return f"one of {', '.join(choices)}" if choices[1:] else f"only {choices[0]}"
    if get_origin(bare) is tuple:
        return "list of names"
    if any(getattr(item, "pattern", None) == NAME_PATTERN for item in constraints):
        return "name"
    unit = next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), None)
    kind = _KINDS[bare]
    if unit is not None:
        kind = f"whole {unit}" if bare is int else unit
    return kind + _range(constraints)


def _range(constraints: list[Any]) -> str:
    least, most = _bounds(constraints)
    if least and most:
        return f", {least} to {most}"
    if least:
        return f", {least} or more" if not least.startswith("above") else f", {least}"
    return f", up to {most}" if most else ""


def _bounds(constraints: list[Any]) -> tuple[str, str]:
    least = most = ""
    for item in constraints:
        match item:
            case annotated_types.Ge(ge=bound):
                least = f"{bound}"
            case annotated_types.Gt(gt=bound):
                least = f"above {bound}"
            case annotated_types.Le(le=bound):
                most = f"{bound}"
            case annotated_types.MaxLen(max_length=bound):
                most = f"{bound} characters"
            case _:
                pass
    return least, most


def _bare(annotation: Any) -> tuple[Any, list[Any]]:
    """The type without `None` and `Annotated`, and the constraints that `Annotated` adds to it."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not types.NoneType)
    if get_origin(annotation) is Annotated:
        bare, *said = get_args(annotation)
        return bare, list(_spread(said))
    return annotation, []


def _spread(said: list[Any]) -> Iterator[Any]:
    for item in said:
        yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def _word(choice: Any) -> str:
    return str(choice.value) if isinstance(choice, enum.Enum) else str(choice)
