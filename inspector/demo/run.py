"""One run of the demo: broker, enrolments, agent, cameras and summary, reported to whoever displays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.mqtt.broker import EmbeddedBroker
from inspector.agent.telemetry import configure_logging
from inspector.config.config import Config
from inspector.config.sections import default_state_dir
from inspector.demo import cells, line
from inspector.demo.cells import Split
from inspector.demo.line import Shown, Watched
from inspector.demo.summary import Summary, summarise
from inspector.domain import Verdict
from inspector.enrolment.enrol_product import Enrolled, EnrolmentOrder, enrol_product
from inspector.enrolment.low_priority import Progress
from inspector.store.database import configured
from inspector.store.ledger.queries import ResultFilter, each_result
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import EnrolmentOptions


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """`frames`: shown by both cameras together, at most `rate_fps` a second. `train`: good images of each product.

    `folder`: where the demo's files go, None for the state folder. It is emptied if an earlier demo made it.
    """

    frames: int
    rate_fps: float
    train: int
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class DemoRun:
    """The result of one run, and the places of its files."""

    summary: Summary
    broker: str
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "inspector.db"

    @property
    def pictures(self) -> Path:
        return self.folder / "images"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    @property
    def config(self) -> Path:
        return self.folder / "inspector.toml"


class Display(Protocol):
    """Shows the run while it goes on."""

    def broker_started(self, broker: EmbeddedBroker, folder: Path) -> None: ...

    def enrolling(self, product: str) -> AbstractContextManager[Progress]:
        """Yields the progress of this product's enrolment."""

    def enrolled(self, done: Enrolled, n_images: int) -> None: ...

    def watching(self, telemetry: Watched) -> AbstractContextManager[Callable[[int], None]]:
        """Yields a function that is called a few times a second with the number of frames in the whole run."""


async def run_demo(request: DemoRequest, display: Display) -> DemoRun:
    """The finished run. Logs of the agent go to a file.

    Raises UsageError if the images are not installed or the folder holds other files.
    """
    folder = line.fresh_folder(request.folder or default_state_dir() / "demo")
    splits = {product: cells.split(cells.load_cells(), product, request.train) for product in cells.PRODUCTS}
    with (folder / "agent.log").open("w", encoding="utf-8") as log:
        configure_logging(file=log)
        async with EmbeddedBroker(folder / "broker") as broker:
            config = line.line_config(folder, broker)
            display.broker_started(broker, folder)
            await _enrol(config, splits, display)
            shown = await _show(config, splits, request, display)
            rows = await _rows(config)
    return DemoRun(summarise(shown, rows), broker.name, folder)


async def _enrol(config: Config, splits: Mapping[str, Split], display: Display) -> None:
    for product, split in splits.items():
        images = [ImageSource(cell.path.name, path=cell.path) for cell in split.train]
        with display.enrolling(product) as progress:
            order = EnrolmentOrder(by="demo")
            done = await enrol_product(config, product, images, EnrolmentOptions(), order, progress)
        display.enrolled(done, len(images))


async def _show(config: Config, splits: dict[str, Split], request: DemoRequest, display: Display) -> Sequence[Shown]:
    telemetry = Watched()
    async with line.running(config, telemetry):
        with display.watching(telemetry) as tick:
            plan = cells.schedule(splits, request.frames)
            shown = await line.show(plan, config, request.rate_fps, telemetry, tick)
            await line.all_judged(len(shown), telemetry, tick)
    return shown


async def _rows(config: Config) -> list[Verdict]:
    async with configured(config) as database:
        return [row async for row in each_result(database, ResultFilter())]
