"""`inspector init`: a configuration to start from, in which every key is explained."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from inspector.cli.terminal import console
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from inspector.config.config import Config
    from inspector.config.keys import Key, Table

NAME = "init"
HELP = "Write a commented configuration to start from: one camera, one gate, MQTT on this machine."
EXAMPLE = "Example: inspector init line1"

FILE_NAME: Final = "inspector.toml"
_COMMENT_WIDTH: Final = 100

_WHY_NO_DEFAULT: Final = (
    "There is no default because only you know what is worse here: `reject` throws away good parts while the agent "
    "can't judge, `pass` lets bad ones through, `quarantine` needs a place to put them."
)
_WHY_WINDOW: Final = (
    "1000 is a value to start with. Set it to the travel time from camera to reject gate; `inspector doctor` then "
    "compares it with what this machine needs."
)
_WHY_TRANSPORT: Final = (
    "20 is a value to start with: a few milliseconds of network and broker, and a cycle of 10 ms. A decision that "
    "comes after its part is of no use, and without trigger ids it may hit the next part."
)
_WHY_MATCH: Final = (
    "trigger_id: each frame carries the count of its part (camera.trigger_from), and a decision finds its part by "
    "it. single_in_flight needs no count from the camera, but nothing except time ties a decision to its part: never "
    "more than one part may be between camera and gate, so parts come further apart than window_ms; the broker must "
    "let the agent publish its markers, which prove the age of each frame; and up to a third of the window goes into "
    "that proof, so window_ms must leave the agent time beside it. Without a count nobody sees a part without frame."
)
_WHY_TLS: Final = (
    "Needed as soon as the broker is not on this machine: without it the password, frames and decisions cross the "
    "network in plain text, and `inspector doctor` calls that a fault. The port for TLS is usually 8883."
)
_FRAME: Final = "-V 5 -q 1 -D PUBLISH user-property trigger-id 1"
_REMARKS: Final = {
    "mqtt.tls": _WHY_TLS,
    "camera.on_unjudged": _WHY_NO_DEFAULT,
    "gate.window_ms": _WHY_WINDOW,
    "gate.transport_ms": _WHY_TRANSPORT,
    "gate.match": _WHY_MATCH,
}


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new configuration.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing configuration.")] = False,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load

    path = folder / FILE_NAME
    state_dir = (folder / "state").absolute()
    _write(path, configuration_text(_chosen(state_dir)), force)
    config = load(path)
    if as_json:
        console.print_json(_summary(config, path))
    else:
        _print_next_steps(config, path)


def configuration_text(chosen: dict[str, object]) -> str:
    """The file with every section and key. Keys in `chosen` are set; the others are comments with their default."""
    from inspector.config.keys import tables

    head = [
        "# The configuration of one inspection agent.",
        "# A key with a # before it shows its default, or an example where it is unset by default.",
        "# Unknown keys are refused. Check this file with `inspector doctor --config FILE`.",
    ]
    return "\n".join(head) + "\n" + "".join(_section_text(table, chosen) for table in tables())


def _chosen(state_dir: Path) -> dict[str, object]:
    return {
        "agent.state_dir": state_dir,
        "agent.prefix": "plant/site/area/line",
        "mqtt.host": "127.0.0.1",
        "mqtt.port": 1883,
        "camera.name": "cam1",
        "camera.on_unjudged": "reject",
        "gate.name": "gate1",
        "gate.cameras": ["cam1"],
        "gate.window_ms": 1000,
        "gate.transport_ms": 20,
        "gate.match": "trigger_id",
    }


def _section_text(table: Table, chosen: dict[str, object]) -> str:
    more = " Repeat this section for each." if table.is_list else ""
    is_empty = table.is_list and not any(where.startswith(f"{table.name}.") for where in chosen)
    header = f"#{table.header}" if is_empty else table.header  # a section without its required keys is a fault
    lines = ["", "", *_comment(table.meaning + more), header]
    for key in table.keys:
        lines += ["", *_key_lines(key, chosen)]
    return "\n".join(lines) + "\n"


def _key_lines(key: Key, chosen: dict[str, object]) -> list[str]:
    from inspector.config.keys import toml_value

    where = f"{key.section}.{key.name}"
    is_set = where in chosen
    is_shown = not is_set and key.default == key.example  # the line below shows the default
    lines = _comment(f"{key.meaning} [{key.kind if is_shown else key.rule}]")
    if where in _REMARKS:
        lines += _comment(_REMARKS[where])
    return [*lines, f"{key.name} = {toml_value(chosen[where])}" if is_set else f"#{key.name} = {key.example}"]


def _comment(text: str) -> list[str]:
    return ["# " + line for line in textwrap.wrap(text, _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)]


def _write(path: Path, text: str, force: bool) -> None:
    from inspector.errors import UsageError
    from inspector.files import make_folder, write_text

    try:
        if path.exists() and not force:
            raise UsageError(f"There is a configuration {path} already; name another folder, or use --force.")
        make_folder(path.parent)
        write_text(path, text)  # for its owner and group: a password may be written into it later
    except OSError as error:
        raise UsageError(f"{path} can't be written ({error.strerror}); name a folder that is yours.") from error


def _summary(config: Config, path: Path) -> dict[str, object]:
    camera, gate = config.camera[0], config.gate[0]
    return {
        "config": str(path),
        "state_dir": str(config.agent.state_dir),
        "camera": camera.name,
        "gate": gate.name,
        "frame_topic": config.topic_of(camera),
        "verdict_topic": f"{config.agent.prefix}/{camera.name}/verdict",
        "decision_topic": f"{config.agent.prefix}/gate/{gate.name}/decision",
    }


def _print_next_steps(config: Config, path: Path) -> None:
    summary = _summary(config, path)
    broker = f"-h {config.mqtt.host} -p {config.mqtt.port}"
    frame = f"{_FRAME} -t '{summary['frame_topic']}' -f part.png"
    named = "" if path == Path(FILE_NAME) else f" --config {shlex.quote(str(path))}"
    steps = (
        ("Check this machine", f"inspector doctor{named}"),
        ("Teach it a product from good images", f"inspector enroll bottle good/*.png{named}"),
        ("Run the agent", f"inspector run{named}"),
        ("Listen to the verdicts", f"mosquitto_sub {broker} -t '{summary['verdict_topic']}'"),
        ("Listen to what the gate is told", f"mosquitto_sub {broker} -t '{summary['decision_topic']}'"),
        ("Send a picture of the part with trigger id 1", f"mosquitto_pub {broker} {frame}"),
    )
    console.out.print(f"[green]Wrote[/] {shown(path)}", highlight=False, soft_wrap=True)
    for title, line in steps:  # a line that is too long for the terminal must be copied in one piece
        console.out.print(f"\n{shown(title)}\n  [bold]{shown(line)}[/]", highlight=False, soft_wrap=True)
