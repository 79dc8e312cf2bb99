"""Turns pydantic's faults of a configuration into sentences for the author of the file. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from inspector.config.ruled import Partial
from inspector.config.section import NAME_PATTERN, NO_NUMBER
from inspector.config.trust_sections import ALLOWED_PATTERN

_PLAIN: Final = {
    "extra_forbidden": "there is no such key",
    "missing": "missing",
    NO_NUMBER: "true or false can't stand here",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "finite_number": "write a number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "string_type": "write a text in quotes",
    "path_type": "write a path in quotes",
    "tuple_type": "write a list in [ ], or in [[ ]] the header of a section that may come several times",
    "model_type": "write a section with keys of its own",
    "model_attributes_type": "write a section with keys of its own",
}
"""Sentences without any value of the faulty key."""

_MOVED: Final = {"agent.max_mode_h": "commands.max_mode_h"}
"""Keys of earlier software, with their names of today."""

_BOUNDED: Final = {
    "greater_than_equal": "write {ge} or more",
    "greater_than": "write more than {gt}",
    "less_than_equal": "write {le} or less",
    "less_than": "write less than {lt}",
    "string_too_short": "write {min_length} or more characters",
    "string_too_long": "write at most {max_length} characters",
    "too_short": "name at least {min_length}",
    "too_long": "name at most {max_length}",
}

_PATTERNS: Final = {
    NAME_PATTERN: "a name is 1 to 64 letters, digits, '_', '.' or '-', a letter or digit first",
    r"^[^+#\x00]{1,200}$": "write 1 to 200 characters without + and #, which are wildcards of MQTT",
    ALLOWED_PATTERN: "write job, mode, resync, golden or release, and after a colon the gate if it is for one only",
    "^[0-9a-f]{16}$": "a key's fingerprint is 16 digits and letters a to f; `inspector keys list` shows it",
    "^[A-Za-z0-9._-]{1,249}$": "a topic of Kafka is 1 to 249 letters, digits, '.', '_' or '-'",
    "^[A-Za-z0-9.:-]{1,253}$": "write the name of a host, or its address, without scheme and port",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "write a time of day as HH:MM, from 00:00 to 23:59",
    r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$": "write host:port, several separated by commas",
}
"""What each pattern of the configuration requires. A test fails if a pattern is missing here."""


STAND_INS: Final[Mapping[str, Any]] = {
    "name": "unknown",
    "on_unjudged": "pass",
    "cameras": ["unknown"],
    "key_secret": "unknown",
    "window_ms": 600_000,
}
"""Values for keys without a default whose own value is wrong. No rule sees them. A test fails if one is missing."""


def sentences(error: ValidationError, table: Mapping[str, Any]) -> list[str]:
    """Every fault as a sentence, which begins with the key if the fault is about one key. `table`: what was checked."""
    said: list[str] = []
    for fault in error.errors():
        context: Mapping[str, Any] = fault.get("ctx", {})
        if fault["type"] == "value_error":
            said.extend(str(context["error"]).split("\n"))
            continue
        where = place(fault["loc"], table)
        if fault["type"] == "missing" and fault["loc"][-1] == "on_unjudged":
            said.append(f"{where}: missing; say what the gate does with an unjudged part: pass, reject or quarantine")
            continue
        if where in _MOVED and fault["type"] == "extra_forbidden":
            said.append(f"{where}: its name is {_MOVED[where]} now")
            continue
        said.append(f"{where}: {_sentence(fault['type'], context, fault['msg'])}")
    return said


def place(where: Sequence[int | str], table: Mapping[str, Any]) -> str:
    """The key at this place, for people: `camera 'left', max_mib`. One without a name of its own is counted from 1."""
    section, *rest = where
    if not rest or not isinstance(rest[0], int):
        return _dotted(where)
    several = table[str(section)]
    names = [each.get("name") if isinstance(each, Mapping) else None for each in several]
    own = names[rest[0]]
    is_name = isinstance(own, str) and re.fullmatch(NAME_PATTERN, own) and names.count(own) == 1
    which = f"{section} '{own}'" if is_name else f"{section} {rest[0] + 1}"
    return f"{which}, {_dotted(rest[1:])}" if rest[1:] else which


def _dotted(where: Sequence[int | str]) -> str:
    """The parts of a place, those of a list counted from 1."""
    found = ""
    for part in where:
        found += f" {part + 1}" if isinstance(part, int) else f".{part}" if found else str(part)
    return found


def is_of_keys(error: ValidationError) -> bool:
    """Whether single keys are wrong, which means that the rules between keys are not checked yet."""
    return all(fault["type"] != "value_error" for fault in error.errors())


def known_part(
    table: Mapping[str, Any],
    error: ValidationError,
    single: Mapping[str, type[BaseModel]],
    several: Mapping[str, type[BaseModel]],
) -> Any:
    """The valid part of these sections of `table`: a `Partial` of partial sections, for the rules.

    `single` sections come once, `several` any number of times.
    """
    wrong = [fault["loc"] for fault in error.errors()]
    places = {key: [place[1:] for place in wrong if place[0] == key] for key in (*single, *several)}
    known: dict[str, Any] = {key: _partial(model, table.get(key, {}), places[key]) for key, model in single.items()}
    listed = {key for key in several if () not in places[key]}
    for key in listed:
        known[key] = tuple(
            _partial(several[key], raw, [place[1:] for place in places[key] if place[:1] == (number,)])
            for number, raw in enumerate(table.get(key, ()))
        )
    return Partial(SimpleNamespace(**known), several.keys() - listed)


def _partial(model: type[BaseModel], raw: Any, wrong: Sequence[tuple[int | str, ...]]) -> Partial:
    """The valid part of one section. `wrong`: places within the section; an empty place means the whole section."""
    unknown = set(model.model_fields) if () in wrong else {str(place[0]) for place in wrong}
    right = {key: value for key, value in raw.items() if key not in unknown} if isinstance(raw, Mapping) else {}
    missing = {key for key, field in model.model_fields.items() if field.is_required() and key not in right}
    return Partial(model.model_validate(right | {key: STAND_INS[key] for key in missing}), unknown | missing)


def patterns() -> frozenset[str]:
    """The patterns that have a sentence."""
    return frozenset(_PATTERNS)


def _sentence(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _BOUNDED:
        return _BOUNDED[kind].format(**{name: _number(value) for name, value in context.items()})
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"it has to match {context['pattern']}")
    if kind in ("literal_error", "enum"):
        return f"write one of {_choices(context['expected'])}"
    return message


def _number(value: Any) -> Any:
    """A number as text; a whole number is without the `.0` that its field's type gives it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _choices(expected: str) -> str:
    """The allowed values as plain words. pydantic shows an enum's member as Python does: `<Action.PASS: 'pass'>`."""
    words = [word.rpartition(": ")[2].strip("<>") for word in expected.replace(" or ", ", ").split(", ")]
    return ", ".join(word.replace("'", '"') for word in words)
