"""Writes docs/configuration.md from the fields of `inspector.config`. A test fails until it has been run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inspector.config.keys import Key, Table, tables

TARGET = Path(__file__).with_name("configuration.md")

HEAD = """\
# Configuration

Written from the code by `python docs/write_configuration.py`; don't edit it by hand.

The configuration is one TOML file. It is looked for in this order: `--config`, the variable `INSPECTOR_CONFIG`,
`./inspector.toml`. Without a file the built-in defaults apply. `inspector init` writes a commented file to start
from, [configs/](../configs) contains examples, and `inspector doctor` checks a configuration against the machine.
Unknown keys are refused, and all faults are reported at once (exit code 78).

The file never contains secrets. A key that ends in `_secret` names a credential. The credential is a file of that
name in systemd's credentials folder (`LoadCredential=mqtt-password:/etc/inspector/mqtt-password`), or else the
environment variable `INSPECTOR_SECRET_<NAME>` with the name in capitals and `_` for anything but letters and digits
(`INSPECTOR_SECRET_MQTT_PASSWORD`).

`[[camera]]` and `[[gate]]` may come several times. A camera that is listed in a gate's `cameras` takes the gate's
`window_ms` and has none of its own. A camera is listed at one gate at most.
"""


def text() -> str:
    """The whole document."""
    return HEAD + "".join("\n".join(("", *_section(table), "")) for table in tables())


def _section(table: Table) -> Iterator[str]:
    yield f"## `{table.header}`"
    yield ""
    yield table.meaning
    yield ""
    yield "| key | meaning | value | default |"
    yield "|---|---|---|---|"
    yield from (_row(key) for key in table.keys)


def _row(key: Key) -> str:
    written = f"`{key.default}`" if key.default == key.example else key.default
    default = "**required**" if key.is_required else written
    return f"| `{key.name}` | {_cell(key.meaning)} | {_cell(key.kind)} | {_cell(default)} |"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
