"""A plant for a bench: a folder of its own, a broker, enrolled products and a running agent. All gone at the end.

Nothing of the person's own plant is changed. State and database are made for the bench and removed; of an enrolled
product a copy is read. Only exported graphs are kept, in the folder `engines` beside, because an export takes long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from connectors.mqtt.broker import EmbeddedBroker, mosquitto_binary
from connectors.mqtt.listener import MqttListener, remove_retained
from connectors.mqtt.publisher import MqttPublisher
from inspector.agent.clock import SystemClock
from inspector.benching.children import child, command, is_alive, last_line
from inspector.benching.line import Line, RunningAgent
from inspector.benching.open_loop import Observed
from inspector.benching.pictures import Film, drawn_film, films_of, shown_of
from inspector.benching.plant_files import agent_files, camera_names, written_configs
from inspector.benching.plant_setting import PlantSetting
from inspector.config.broker_sections import MqttSection
from inspector.config.config import Config
from inspector.demo.simulation import broker_of
from inspector.domain import printable
from inspector.enrolment.low_priority import Progress
from inspector.errors import InspectorError, RegistryError, UsageError
from inspector.files import entries, make_folder, remove_tree
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


@dataclass(frozen=True, slots=True)
class Plant:
    """A prepared plant that is not running. `configs`: of its agents, as written to the files that `agent_files` names.

    All agents have one store, so that the first one's configuration opens it.
    """

    folder: Path
    broker: MqttSection
    broker_name: str
    films: tuple[Film, ...]
    configs: tuple[Config, ...]
    has_gates: bool

    @property
    def config(self) -> Config:
        return self.configs[0]

    @property
    def config_file(self) -> Path:
        return self.agent_files[0]

    @property
    def agent_files(self) -> list[Path]:
        return agent_files(self.folder, len(self.configs))

    @property
    def cameras(self) -> list[str]:
        """The cameras of all agents, in the order of their numbers."""
        return camera_names(sum(len(config.camera) for config in self.configs))

    @property
    def engines(self) -> Path:
        """The cache of exported graphs."""
        return self.config.agent.state_dir / "engines"


@contextlib.contextmanager
def bench_folder(base: Path) -> Iterator[Path]:
    """A new folder within `base`, removed at the end with all that is in it. Raises UsageError if it can't be made."""
    try:
        make_folder(base)
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
    configs = written_configs(setting, folder, broker or MqttSection())
    films = await enrolled(setting, folder, configs[0], say)
    has_gates = setting.gate_window_ms is not None
    return Plant(folder, broker or configs[0].mqtt, broker_name, tuple(films), configs, has_gates)


def reconfigured(setting: PlantSetting, first: Plant, folder: Path) -> Plant:
    """The same plant with its state in `folder`, where a copy of the first one's state lies already."""
    return replace(first, folder=folder, configs=written_configs(setting, folder, first.broker))


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
    """The line with agents that have judged their first frames. Raises InspectorError if one of them does not start."""
    clock = SystemClock()
    observed = Observed(clock, plant.has_gates)
    prefix, agent = plant.config.agent.prefix, plant.config.agent.name
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_tidied, plant)
        agents = [await _started(stack, file) for file in plant.agent_files]
        publishers = [
            await stack.enter_async_context(MqttPublisher(plant.broker, f"{agent}:{name}:camera"))
            for name in plant.cameras
        ]
        line = Line(prefix, plant.films, publishers, observed, agents)
        filters = [f"{prefix}/+/verdict", f"{prefix}/gate/+/decision"]
        await stack.enter_async_context(MqttListener(plant.broker, f"{agent}:listener", filters, line.hear))
        say("starting the agents" if len(agents) > 1 else "starting the agent", 0, 1)
        await line.warm_up(WARM_UP_EACH * max(len(plant.films), 2), READY_TIMEOUT_S)
        say("starting the agents" if len(agents) > 1 else "starting the agent", 1, 1)
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


async def _started(stack: contextlib.AsyncExitStack, config_file: Path) -> RunningAgent:
    """An agent that says that it is ready. It ends with the stack."""
    log = config_file.parent / f"{config_file.stem.replace('inspector', 'agent')}.log"
    begins_at = log.stat().st_size if log.exists() else 0
    process = await stack.enter_async_context(child(("run", "--config", str(config_file)), log))
    await _until_ready(process, log, begins_at)
    return RunningAgent(process, log)


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
    if setting.agents > setting.cameras:
        raise UsageError(f"{setting.agents} agents need as many cameras at least; there are {setting.cameras}.")
    recipe_for(setting.head, setting.profile)  # raises UsageError for an unknown one, before minutes of work


def _named(live: dict[str, Any]) -> str:
    return ", ".join(sorted(live)) or "none"
