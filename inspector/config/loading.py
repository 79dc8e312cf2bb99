"""Reads the configuration file, the environment and credentials. No other module does."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    SecretStr,
    ValidationError,
)

from inspector.config.config import RULED, Config
from inspector.config.messages import is_of_keys, known_part, place, sentences
from inspector.config.rules import broken_rules
from inspector.errors import ConfigError
from inspector.text import MOST_TEXT_BYTES, decoded


def find(option: Path | None) -> Path | None:
    """`--config`, else `INSPECTOR_CONFIG`, else `./inspector.toml` if it exists, else None (built-in defaults)."""
    if option is not None:
        return option
    if named := os.environ.get("INSPECTOR_CONFIG"):
        return Path(named)
    local = Path("inspector.toml")
    return local if local.is_file() else None


def load(option: Path | None = None) -> Config:
    """Read and check the configuration. Raises ConfigError with every fault at once."""
    path = find(option)
    if path is None:
        return parse({}, None)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_TEXT_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"there is no file {path}; write one with `inspector init`"], str(path)) from None
    except OSError as error:
        raise ConfigError([f"it can't be read: {error.strerror}"], str(path)) from error
    try:
        text = decoded(content)
    except ValueError as error:
        raise ConfigError([str(error)], str(path)) from error
    try:
        table = tomllib.loads(text)
    except ValueError as error:  # also numbers of thousands of digits
        raise ConfigError([f"it is not valid TOML: {error}{_hint_of_mark(text)}"], str(path)) from error
    except RecursionError as error:
        raise ConfigError(["it is not valid TOML: its brackets are nested too deep"], str(path)) from error
    return parse(table, path)


def parse(table: Mapping[str, Any], path: Path | None) -> Config:
    """Check a table that was read from TOML. Raises ConfigError with every fault at once."""
    if faults := _nul_faults(table):
        raise ConfigError(faults, str(path) if path else None)
    try:
        return Config.model_validate(dict(table))
    except ValidationError as error:
        # pydantic checks the rules between keys only if every key is valid, so the rules are checked here as well.
        between = broken_rules(known_part(table, error, *RULED)) if is_of_keys(error) else []
        raise ConfigError([*sentences(error, table), *between], str(path) if path else None) from error


def credential_file(name: str) -> Path | None:
    """The file that holds the credential, in systemd's folder of credentials; None if there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return file if folder and (file := Path(folder) / name).is_file() else None


def secret(name: str) -> SecretStr:
    """The credential of that name, without the line ends and the byte-order mark that an editor adds.

    Raises ConfigError if neither a file nor a variable holds the credential, or if it is no text.
    """
    if (file := credential_file(name)) is not None:
        try:
            with file.open("rb") as opened:
                return SecretStr(decoded(opened.read(MOST_TEXT_BYTES + 1)).rstrip("\r\n"))
        except OSError as error:
            raise ConfigError(
                [f"the credential file of the secret {name!r} can't be read: {error.strerror}"]
            ) from error
        except ValueError as error:
            raise ConfigError([f"the credential file of the secret {name!r} can't be read: {error}"]) from None
    variable = "INSPECTOR_SECRET_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    if (value := os.environ.get(variable)) is not None:
        if any("\ud800" <= char <= "\udfff" for char in value):  # bytes that are not UTF-8
            raise ConfigError([f"the variable {variable} of the secret {name!r} holds bytes that are not UTF-8"])
        return SecretStr(value)
    raise ConfigError([f"the secret {name!r} is neither a credential file nor in the variable {variable}"])


def fault_point() -> tuple[str, int] | None:
    """For tests only: `INSPECTOR_FAULT_POINT=published:3` kills the agent at the third frame in `published`."""
    named = os.environ.get("INSPECTOR_FAULT_POINT")
    if not named:
        return None
    stage, _, nth = named.partition(":")
    return stage, int(nth or 1)


def fault_frames() -> tuple[str, bytes] | None:
    """For tests only: `INSPECTOR_FAULT_FRAME=crash:TEXT` (or `hang:TEXT`) breaks the decoder of frames with TEXT."""
    how, _, text = os.environ.get("INSPECTOR_FAULT_FRAME", "").partition(":")
    return (how, text.encode()) if text else None


def notify_socket() -> tuple[str | None, float | None]:
    """systemd's notification socket and watchdog period in seconds, if this process runs under systemd."""
    usec = os.environ.get("WATCHDOG_USEC")
    return os.environ.get("NOTIFY_SOCKET"), int(usec) / 1e6 if usec and usec.isdigit() else None


def _hint_of_mark(text: str) -> str:
    """That a byte-order mark, which no editor shows, stands within the text, as where two files were joined."""
    if "\ufeff" not in text:
        return ""
    line = text[: text.index("\ufeff")].count("\n") + 1
    return f"; line {line} holds a byte-order mark (U+FEFF), which is invisible: remove it"


def _nul_faults(table: Mapping[str, Any]) -> list[str]:
    """A fault for each NUL. No path, topic or URL may hold one, and a later error would not name the key."""
    faults: list[str] = []
    left: list[tuple[tuple[int | str, ...], object]] = [((key,), value) for key, value in table.items()]
    while left:  # a file may nest deeper than Python calls
        where, value = left.pop()
        if isinstance(value, str) and "\0" in value:
            faults.append(f"{place(where, table)}: holds a NUL character")
        elif isinstance(value, Mapping):
            left += [((*where, key), each) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            left += [((*where, number), each) for number, each in enumerate(value)]
    return faults
