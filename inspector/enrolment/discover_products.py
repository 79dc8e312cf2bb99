"""Finds the products in a mixed folder of good images, draws a contact sheet of each, and enrols those with a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from inspector.config.config import Config
from inspector.enrolment.enrol_product import Enrolled, EnrolmentOrder, enrol_product
from inspector.enrolment.low_priority import Progress
from inspector.errors import UsageError
from inspector.evaluation.layouts import training_images
from inspector.files import make_folder, write_whole
from inspector.operation.engines import engine_of
from inspector.stream.decode import DecodeLimits
from inspector.training.dataset.folders import ImageSource, NotTaken, load_folder
from inspector.training.enrol import EnrolmentOptions
from inspector.training.routing.contact_sheet import contact_sheet
from inspector.training.routing.discovery import Discovery, discover
from inspector.vision.routing.routing_pass import RoutingPass


@dataclass(frozen=True, slots=True)
class DiscoveredProducts:
    """The categories of a folder. `sheets`: category -> file of its contact sheet. `not_taken`: non-images."""

    discovery: Discovery
    sheets: Mapping[str, Path]
    not_taken: tuple[NotTaken, ...]


def discover_products(config: Config, folder: Path, sheet_folder: Path, progress: Progress) -> DiscoveredProducts:
    """The categories in the folder, with a contact sheet of each in `sheet_folder`. Blocks for minutes.

    Raises UsageError for a folder without images, or for a sheet folder that can't be made, before any work.
    """
    _ensure_sheet_folder(sheet_folder)
    images, not_taken = _good_images(folder)
    with engine_of(config) as engine:
        discovery = discover(images, DecodeLimits(), RoutingPass.on(engine), progress)
    return DiscoveredProducts(discovery, _write_sheets(discovery, sheet_folder), tuple(not_taken))


def images_by_product(
    discovery: Discovery, names: Mapping[str, str], *, with_strays: bool
) -> dict[str, list[ImageSource]]:
    """Product -> images of every category that has its name. `names`: category -> product."""
    return {
        product: [
            image
            for category in discovery.categories
            if names.get(category.name) == product
            for image in discovery.members(category, with_strays=with_strays)
        ]
        for product in sorted(set(names.values()))
    }


async def enrol_products(
    config: Config,
    images: Mapping[str, Sequence[ImageSource]],
    options: EnrolmentOptions,
    order: EnrolmentOrder,
    progress_of: Callable[[str], AbstractContextManager[Progress]],
) -> list[Enrolled]:
    """One version of each product, one after the other. `progress_of`: product -> the progress of its enrolment."""
    enrolled = []
    for product, own in images.items():
        with progress_of(product) as progress:
            enrolled.append(await enrol_product(config, product, own, options, order, progress))
    return enrolled


def _good_images(folder: Path) -> tuple[dict[str, list[ImageSource]] | list[ImageSource], list[NotTaken]]:
    """The images, by product where the folder has a known layout, and the entries that are not images."""
    by_product, not_taken = training_images(folder) if folder.is_dir() else ({}, [])
    if by_product:
        return by_product, not_taken
    offered = load_folder(folder)
    return offered.images, offered.not_taken


def _ensure_sheet_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except FileExistsError:
        raise UsageError(f"{folder} is a file; name a folder for the contact sheets with --out.") from None
    except OSError as error:
        raise UsageError(f"The folder {folder} for the contact sheets can't be made ({error.strerror}).") from error


def _write_sheets(discovery: Discovery, folder: Path) -> dict[str, Path]:
    sheets = {category.name: folder / f"category-{category.name}.png" for category in discovery.categories}
    for category in discovery.categories:
        write_whole(sheets[category.name], contact_sheet(discovery, category, DecodeLimits()))
    return sheets
