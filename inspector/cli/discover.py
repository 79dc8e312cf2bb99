"""`inspector discover`: which products a mixed folder of good images holds, shown, named and enrolled."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from inspector.cli.enroll import leave_if_held_back, said_of_others, say_findings, state_of
from inspector.cli.terminal import console, naming, rendering

if TYPE_CHECKING:
    from rich.table import Table

    from inspector.config.config import Config
    from inspector.enrolment.service import Enrolled
    from inspector.training.dataset.folders import ImageSource, NotTaken
    from inspector.training.enrol import EnrolmentOptions
    from inspector.training.routing.discovery import Discovery

NAME = "discover"
HELP = "Find the products in a mixed folder of good images, without being told how many; name and enrol them."
EXAMPLE = "Example: inspector discover mixed/ --names a=bolt,b=nut --enroll"


@dataclass(frozen=True)
class _Found:
    """A discovery with its contact sheets and the names it was given. All by category."""

    discovery: Discovery
    sheets: Mapping[str, Path]
    names: Mapping[str, str]
    not_taken: Sequence[NotTaken]


def command(
    folder: Annotated[Path, typer.Argument(help="Good images of several products; or folders in a known layout.")],
    out: Annotated[Path, typer.Option(help="Where the contact sheets go.")] = Path("discovered"),
    names: Annotated[str | None, typer.Option(help="category=product, separated by commas: a=bolt,b=nut.")] = None,
    names_from: Annotated[Path | None, typer.Option(help="File with one category=product per line.")] = None,
    enroll: Annotated[bool, typer.Option("--enroll", help="Enrol each named category as `enroll` would.")] = False,
    head: Annotated[str, typer.Option(help="prototype, protoad, student or auto.")] = "prototype",
    profile: Annotated[str, typer.Option(help="fast, standard or fine: what a frame may cost.")] = "standard",
    shadow: Annotated[bool, typer.Option("--shadow", help="Enrol beside live versions, never decide.")] = False,
    with_strays: Annotated[
        bool, typer.Option("--with-strays", help="Enrol the odd images too; look at them first.")
    ] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.config.loading import load
    from inspector.errors import UsageError
    from inspector.training.enrol import EnrolmentOptions
    from inspector.training.heads.recipes import recipe_for

    loaded = load(config)
    recipe_for(head, profile)  # wrong words are wrong before the minutes of work
    _ensure_folder(out)
    found, not_taken = _discovered(loaded, folder, as_json)
    categories = [category.name for category in found.categories]
    named = naming.names_given(names, names_from, categories)
    if enroll and named is None and (as_json or not naming.can_ask()):
        raise UsageError("Nobody can be asked here: name the categories with --names or --names-from, then --enroll.")
    sheets = _sheets(found, out)
    if not as_json:
        rendering.show(_table(found, sheets))
        _say(found, not_taken)
        if named is None and naming.can_ask():
            hints = [(each.name, f"{len(each.members)} images, {sheets[each.name]}") for each in found.categories]
            named = naming.names_asked(hints)
    result = _Found(found, sheets, named or {}, not_taken)
    enrolled: list[Enrolled] = []
    if enroll:
        images = {
            product: [
                image
                for category in found.categories
                if result.names.get(category.name) == product
                for image in found.members(category, with_strays=with_strays)
            ]
            for product in sorted(set(result.names.values()))
        }
        enrolled = _enrol(loaded, images, EnrolmentOptions(head=head, profile=profile), shadow, as_json)
    if as_json:
        console.print_json(_document(result, enrolled))
    for each in () if as_json else enrolled:
        name = f"[bold]{each.report.product}[/] version {each.version.version}"
        say = f"{name} is {state_of(each)}: {each.report.n_used} images."
        console.out.print(say, f"  {each.report.statement}", sep="\n", highlight=False)
        say_findings(each)
        console.out.print(f"  report: {each.page}", highlight=False, soft_wrap=True)
    unnamed = [name for name in categories if name not in result.names]
    if enroll and unnamed and not as_json:
        console.out.print(f"not enrolled, for want of a name: {', '.join(unnamed)}", highlight=False)
    leave_if_held_back(enrolled)


def _discovered(loaded: Config, folder: Path, as_json: bool) -> tuple[Discovery, list[NotTaken]]:
    """The categories, and what the folders hold besides images."""
    from inspector.evaluation.layouts import training_images
    from inspector.stream.decode import DecodeLimits
    from inspector.training.dataset.folders import load_folder
    from inspector.training.routing.discovery import discover
    from inspector.vision.engines.factory import create_engine
    from inspector.vision.routing.profile import routing_profile

    by_product, not_taken = training_images(folder) if folder.is_dir() else ({}, [])
    offered = None if by_product else load_folder(folder)
    images = by_product if offered is None else offered.images
    not_taken = not_taken if offered is None else offered.not_taken
    with tempfile.TemporaryDirectory() as scratch, console.progress("Discovering", quiet=as_json) as report:
        state = loaded.agent.state_dir
        cache = state / "engines" if state.is_dir() else Path(scratch)
        engine = create_engine(loaded.engine.name, cache, loaded.engine.threads)
        embedder = engine.embedder(routing_profile().graph, small=True)
        return discover(images, DecodeLimits(), embedder, report), not_taken


def _ensure_folder(out: Path) -> None:
    from inspector.errors import UsageError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{out} is a file; name a folder for the contact sheets with --out.") from None
    except OSError as error:
        raise UsageError(f"The folder {out} for the contact sheets can't be made ({error.strerror}).") from error


def _sheets(found: Discovery, out: Path) -> dict[str, Path]:
    from inspector.stream.decode import DecodeLimits
    from inspector.training.routing.contact_sheet import contact_sheet

    sheets = {category.name: out / f"category-{category.name}.png" for category in found.categories}
    for category in found.categories:
        sheets[category.name].write_bytes(contact_sheet(found, category, DecodeLimits()))
    return sheets


def _enrol(
    loaded: Config,
    images: Mapping[str, list[ImageSource]],
    options: EnrolmentOptions,
    shadow: bool,
    as_json: bool,
) -> list[Enrolled]:
    """One version of each product, one after the other."""
    from inspector.enrolment.service import EnrolmentOrder, enrol_into

    async def all_of_them() -> list[Enrolled]:
        done = []
        for product, own in images.items():
            with console.progress(f"Enrolling {product}", quiet=as_json) as report:
                order = EnrolmentOrder(console.user(), shadow, gives_way=True)
                done.append(await enrol_into(loaded, product, own, options, order, report))
        return done

    return asyncio.run(all_of_them())


def _table(found: Discovery, sheets: Mapping[str, Path]) -> Table:
    columns = ["category", "images", "strays", "nearest", "distance", "most typical", "contact sheet"]
    if found.labels is not None:
        columns.insert(1, "mostly")
    table = rendering.table(*columns, right=("images", "strays", "distance"))
    for each in found.categories:
        nearest, distance = each.nearest or (rendering.ABSENT, None)
        row = [each.name, str(len(each.members)), str(len(each.strays)), nearest, rendering.number(distance, 2)]
        row += [Path(found.images[each.members[0]].name).name, str(sheets[each.name])]
        if found.labels is not None:
            row.insert(1, found.majority(each) or rendering.ABSENT)
        table.add_row(*row)
    return table


def _say(found: Discovery, not_taken: Sequence[NotTaken]) -> None:
    say = functools.partial(console.out.print, highlight=False, soft_wrap=True)
    if found.purity is not None and found.nmi is not None:
        say(f"{len(found.categories)} categories, purity {found.purity:.3f}, NMI {found.nmi:.3f}")
    for name, reason in found.unreadable:
        say(f"  [yellow]left out[/] {escape(name)}: {escape(reason)}")
    for each in not_taken:
        say(f"  [yellow]not taken[/] {escape(each.name)}: {escape(each.reason)}")
    for name, of in found.duplicates:
        say(f"  [yellow]counted once[/] {escape(name)}: the same image as {escape(of)}")
    for category in found.categories:
        for index in category.strays:
            where = f"nearest to {category.name}, but not near; enrolled only --with-strays"
            say(f"  [yellow]look at[/] {escape(found.images[index].name)}: {where}")


def _document(result: _Found, enrolled: list[Enrolled]) -> dict[str, Any]:
    from inspector.domain import printable

    found = result.discovery
    return {
        "categories_found": len(found.categories),
        "purity": found.purity,
        "nmi": found.nmi,
        "categories": [
            {
                "category": each.name,
                "name": result.names.get(each.name),
                "mostly": found.majority(each),
                "nearest": each.nearest[0] if each.nearest else None,
                "nearest_distance": round(each.nearest[1], 4) if each.nearest else None,
                "contact_sheet": printable(str(result.sheets[each.name])),
                "images": [image.name for image in found.members(each, with_strays=False)],
                "strays": [found.images[index].name for index in each.strays],
            }
            for each in found.categories
        ],
        **said_of_others(result.not_taken),
        "unreadable": [{"image": name, "reason": reason} for name, reason in found.unreadable],
        "duplicates": [{"image": name, "of": of} for name, of in found.duplicates],
        "enrolled": [
            {
                "product": each.version.product,
                "version": each.version.version,
                "live": each.version.is_live,
                "shadow": each.version.is_shadow,
                "objections": list(each.objections),
                "used": each.report.n_used,
                "statement": each.report.statement,
                "suspects": list(each.report.suspects),
                "warnings": list(each.report.warnings),
                "report": printable(str(each.page)),
            }
            for each in enrolled
        ],
    }
