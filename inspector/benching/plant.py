"""A plant for a bench: a folder of its own, a broker, enrolled products and a running agent. All gone at the end.

Nothing of the person's own plant is changed. State and database are made for the bench and removed; of an enrolled
product a copy is read. Only exported graphs are kept, in the folder `engines` beside, because an export takes long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from connectors.mqtt.broker import EmbeddedBroker, mosquitto_binary
from connectors.mqtt.listener import MqttListener, remove_retained
from connectors.mqtt.publisher import MqttPublisher
from inspector.agent.clock import SystemClock
from inspector.benching.children import child, command, is_alive, last_line
from inspector.benching.line import Line
from inspector.benching.open_loop import Observed
from inspector.benching.pictures import Film, drawn_film, films_of, shown_of
from inspector.config.config import Config
from inspector.config.loading import load
from inspector.config.sections import MqttSection
from inspector.demo.simulation import broker_of
from inspector.domain import printable
from inspector.enrolment.low_priority import Progress
from inspector.errors import ConfigError, InspectorError, RegistryError, UsageError
from inspector.files import entries, remove_tree
from inspector.operation.opening import registry_of
from inspector.store.database import configured
from inspector.store.registry.registry import SqlRegistry
from inspector.training.heads.factory import recipe_for

AGENT: Final = "bench"
BY: Final = "bench"
READY_TIMEOUT_S: Final = 300.0
TIDY_TIMEOUT_S: Final = 10.0
WARM_UP_EACH: Final = 4
PNG: Final = b"\x89PNG"
Say = Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantSetting:
    """What the bench's plant looks like.

    `config`: the person's own; its engine section is used, and its user and secret where `broker` is its broker.
    `copied`: products of that configuration to copy, which `images` shows. `gate_window_ms`: each camera stands at a
    gate with this window; None for no gates. `state`: folder in which the bench makes its own; None for one within the
    configured state folder, because it is on the same disk. `engine` and `threads` None: as configured.
    """

    config: Config
    cameras: int = 4
    products: int = 1
    profile: str = "standard"
    head: str = "prototype"
    engine: str | None = None
    threads: int | None = None
    broker: str | None = None
    images: Path | None = None
    copied: tuple[str, ...] = ()
    state: Path | None = None
    gate_window_ms: float | None = None

    @property
    def base(self) -> Path:
        return self.state or self.config.agent.state_dir / "bench"


@dataclass(frozen=True, slots=True)
class Plant:
    """A prepared plant that is not running. `config`: the agent's own, as written to `folder`/inspector.toml."""

    folder: Path
    broker: MqttSection
    broker_name: str
    films: tuple[Film, ...]
    config: Config
    has_gates: bool

    @property
    def config_file(self) -> Path:
        return self.folder / "inspector.toml"

    @property
    def engines(self) -> Path:
        """The cache of exported graphs."""
        return self.config.agent.state_dir / "engines"


@contextlib.contextmanager
def bench_folder(base: Path) -> Iterator[Path]:
    """A new folder within `base`, removed at the end with all that is in it. Raises UsageError if it can't be made."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        folder = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=base))
    except OSError as error:
        raise UsageError(
            f"The bench can't make its folder in {printable(str(base))} ({error.strerror}); name another with --state."
        ) from None
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            remove_tree(folder)


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of benches that were killed and could not do it themselves."""
    for folder, _ in entries(base):
        run, _, pid = folder.name.rpartition("-")[0].partition("-")
        if run == "run" and pid.isdigit() and not is_alive(int(pid)):
            with contextlib.suppress(OSError):
                remove_tree(folder)


@contextlib.asynccontextmanager
async def broker_for(setting: PlantSetting, folder: Path) -> AsyncIterator[tuple[MqttSection, str]]:
    """The broker's section and name: the one that `setting` names, else a mosquitto of the bench's own.

    Raises UsageError if mosquitto is not installed and no broker is named.
    """
    if setting.broker is not None:
        section = broker_of(setting.broker, setting.config, option="--broker")
        if not isinstance(section, MqttSection):
            raise UsageError("The bench measures with an MQTT broker; name one as mqtt://host:port.")
        yield section, f"{section.host}:{section.port}"
        return
    if mosquitto_binary() is None:
        raise UsageError(
            "mosquitto is not installed here, and a bench needs a real MQTT broker. Install it (on Debian: "
            "apt install mosquitto), or name a running broker with --broker mqtt://host:port."
        )
    async with EmbeddedBroker(folder / "broker") as broker:
        yield MqttSection(host=broker.host, port=broker.port, protocol=broker.protocol), broker.name


async def prepared(
    setting: PlantSetting, folder: Path, say: Say, broker: MqttSection | None = None, broker_name: str = "none"
) -> Plant:
    """A plant in `folder` with its products enrolled or copied. Without a broker it can't be run, only be read."""
    config = _write_config(setting, folder, broker or MqttSection())
    films = await enrolled(setting, folder, config, say)
    return Plant(folder, broker or config.mqtt, broker_name, tuple(films), config, setting.gate_window_ms is not None)


def reconfigured(setting: PlantSetting, first: Plant, folder: Path) -> Plant:
    """The same plant with its state in `folder`, where a copy of the first one's state lies already."""
    config = _write_config(setting, folder, first.broker)
    return replace(first, folder=folder, config=config)


@contextlib.asynccontextmanager
async def plant(setting: PlantSetting, say: Say) -> AsyncIterator[Plant]:
    """A plant of its own folder and broker, ready to run. Raises UsageError, InspectorError."""
    check(setting)
    if setting.copied and setting.images is None:
        raise UsageError("--product copies what is enrolled, but not its frames; name a folder of them with --images.")
    with bench_folder(setting.base) as folder:
        async with broker_for(setting, folder) as (broker, name):
            yield await prepared(setting, folder, say, broker, name)


@contextlib.asynccontextmanager
async def running(plant: Plant, say: Say) -> AsyncIterator[Line]:
    """The line with an agent that has judged its first frames. Raises InspectorError if the agent does not start."""
    log = plant.folder / "agent.log"
    clock = SystemClock()
    observed = Observed(clock, plant.has_gates)
    prefix, agent = plant.config.agent.prefix, plant.config.agent.name
    cameras = [camera.name for camera in plant.config.camera]
    words = ("run", "--config", str(plant.config_file))
    begins_at = log.stat().st_size if log.exists() else 0
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_tidied, plant)
        process = await stack.enter_async_context(child(words, log))
        await _until_ready(process, log, begins_at)
        publishers = [
            await stack.enter_async_context(MqttPublisher(plant.broker, f"{agent}:{name}:camera")) for name in cameras
        ]
        line = Line(prefix, plant.films, publishers, observed, process, log)
        filters = [f"{prefix}/+/verdict", f"{prefix}/gate/+/decision"]
        await stack.enter_async_context(MqttListener(plant.broker, f"{agent}:listener", filters, line.hear))
        say("starting the agent", 0, 1)
        await line.warm_up(WARM_UP_EACH * max(len(plant.films), 2), READY_TIMEOUT_S)
        say("starting the agent", 1, 1)
        yield line


async def enrolled(setting: PlantSetting, folder: Path, config: Config, say: Say) -> list[Film]:
    """The films of the products that are live in the bench's registry now."""
    if setting.copied:
        await _copy(setting, config)
        return [] if setting.images is None else _shown(setting.copied, setting.images)
    names = [f"bench-{number + 1}" for number in range(setting.products)]
    if setting.images is not None:
        films = await asyncio.to_thread(films_of, setting.images, names)
    else:
        films = await asyncio.to_thread(lambda: [drawn_film(number, name) for number, name in enumerate(names)])
    for number, film in enumerate(films):
        say("enrolling", number, len(films))
        await _enrol(setting, folder, film)
    say("enrolling", len(films), len(films))
    return films


async def _enrol(setting: PlantSetting, folder: Path, film: Film) -> None:
    """By the command, as a person would: its memory and its threads are gone afterwards."""
    images = folder / "images" / film.product
    images.mkdir(parents=True)
    for number, payload in enumerate(film.learnt):
        suffix = ".png" if payload.startswith(PNG) else ".jpg"
        (images / f"{number:04}{suffix}").write_bytes(payload)
    options = ["--head", setting.head, "--profile", setting.profile, "--no-detectability", "--full-speed", "--insist"]
    words = ["enroll", film.product, str(images), *options, "--config", str(folder / "inspector.toml"), "--json"]
    await command(words, folder / "enroll.log")


async def _copy(setting: PlantSetting, config: Config) -> None:
    """Copy live versions. The source is only read, and is refused where it would have to be upgraded first."""
    async with (
        registry_of(config, creates=True) as target,
        configured(setting.config) as database,
        SqlRegistry(database, SystemClock()) as source,
    ):
        live = {version.product: version for version in (await source.live()).versions}
        for name in setting.copied:
            if name not in live:
                raise RegistryError(
                    f"There is no live version of {name} to copy (live: {_named(live)}); see `inspector products list`."
                )
            content = await source.artifact(name, live[name].version)
            await target.add_version(name, content, dict(live[name].manifest), by=BY, activate=True)


def _shown(products: Sequence[str], images: Path) -> list[Film]:
    """Frames of copied products: from the folder, or with several products from its subfolders of their names."""
    folders = [images / name for name in products] if len(products) > 1 else [images]
    return [shown_of(name, folder) for name, folder in zip(products, folders, strict=True)]


async def _tidied(plant: Plant) -> None:
    """Remove what the agent left on the broker for ever: its retained states."""
    with contextlib.suppress(InspectorError, TimeoutError):
        async with asyncio.timeout(TIDY_TIMEOUT_S):
            await remove_retained(plant.broker, f"{plant.config.agent.name}:tidy", f"{plant.config.agent.prefix}/#")


async def _until_ready(process: asyncio.subprocess.Process, log: Path, begins_at: int) -> None:
    def has_started() -> bool:
        with log.open("rb") as file:
            file.seek(begins_at)
            return b"event=ready" in file.read()

    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not await asyncio.to_thread(has_started):
                if process.returncode is not None:
                    raise InspectorError(f"The agent did not start for the bench: {last_line(log)}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise InspectorError(
            f"The agent was not ready within {READY_TIMEOUT_S:g} s; the last line of its log: {last_line(log)}"
        ) from None


def check(setting: PlantSetting) -> None:
    """Raises UsageError for what can be told before anything is made."""
    if setting.images is not None and not setting.images.is_dir():
        raise UsageError(f"{printable(str(setting.images))} is no folder; name one with JPEG or PNG files.")
    if setting.copied and setting.products not in (1, len(setting.copied)):
        raise UsageError(
            f"--products {setting.products} and --product contradict each other; name as many products with --product."
        )
    recipe_for(setting.head, setting.profile)  # raises UsageError for an unknown one, before minutes of work


def _write_config(setting: PlantSetting, folder: Path, broker: MqttSection) -> Config:
    """The agent's configuration, written to the bench's folder and read back as the agent reads it."""
    tables = _tables(setting, folder, broker)
    lines: list[str] = []
    for header, keys in tables:
        lines.append(header)
        lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
    path = folder / "inspector.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    engines = setting.base / "engines"
    engines.mkdir(parents=True, exist_ok=True)
    _take_over(setting.config.agent.state_dir / "engines", engines)
    try:
        config = load(path)
    except ConfigError as error:
        raise UsageError(f"A line can't be made with these options: {'; '.join(error.faults)}.") from None
    config.agent.state_dir.mkdir(parents=True, exist_ok=True)
    link = config.agent.state_dir / "engines"
    if not link.is_symlink():
        link.symlink_to(engines.resolve(), target_is_directory=True)
    return config


def _tables(setting: PlantSetting, folder: Path, broker: MqttSection) -> list[tuple[str, dict[str, Any]]]:
    engine = setting.config.engine.model_dump(exclude_unset=True)
    engine |= {"name": setting.engine} if setting.engine is not None else {}
    engine |= {"threads": setting.threads} if setting.threads is not None else {}
    mqtt = broker.model_dump(exclude_unset=True, exclude_none=True) | {"session_expiry_s": 60}
    name = f"{AGENT}-{uuid.uuid4().hex[:8]}"  # another bench may use the same broker
    agent = {
        "name": name,
        "prefix": f"inspector-bench/{name}",
        "state_dir": (folder / "state").absolute(),
        "drain_s": 2.0,
    }
    tables: list[tuple[str, dict[str, Any]]] = [("[agent]", agent), ("[mqtt]", mqtt), ("[engine]", engine)]
    names = [f"cam{number}" for number in range(1, setting.cameras + 1)]
    for name in names:
        tables.append(("[[camera]]", {"name": name, "on_unjudged": "quarantine", "trigger_from": "topic"}))
    window_ms = setting.gate_window_ms
    for number, name in enumerate(names if window_ms is not None else (), 1):
        gate = {"name": f"gate{number}", "cameras": [name], "window_ms": window_ms, "trigger_source": "camera"}
        tables.append(("[[gate]]", gate | {"reserve_ms": min(5.0, (window_ms or 0) / 10)}))
    return tables


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, os.PathLike) else value)  # TOML's own form of these kinds


def _take_over(source: Path, target: Path) -> None:
    """Copy exported graphs of the person's plant, so that they need not be exported again. Each carries its digest."""
    with contextlib.suppress(OSError):
        kept = [file for file, status in entries(source) if stat.S_ISREG(status.st_mode) and file.suffix]
        for file in kept:
            if not file.name.startswith(".") and not (target / file.name).exists():
                partial = target / f".{file.name}.{os.getpid()}"
                shutil.copyfile(file, partial)
                partial.replace(target / file.name)


def _named(live: dict[str, Any]) -> str:
    return ", ".join(sorted(live)) or "none"
