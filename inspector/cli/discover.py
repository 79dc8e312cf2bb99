"""`inspector discover`: the products in a mixed folder of good images are found, named and enrolled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspector.cli.terminal import console, naming
from inspector.operation.user import current_user

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from inspector.config.config import Config
    from inspector.enrolment.discover_products import DiscoveredProducts
    from inspector.enrolment.enrol_product import Enrolled
    from inspector.enrolment.low_priority import Progress
    from inspector.training.enrol import EnrolmentOptions

NAME = "discover"
HELP = "Find the products in a mixed folder of good images, without being told how many; name and enrol them."
EXAMPLE = "Example: inspector discover mixed/ --names a=bolt,b=nut --enroll"


def command(
    folder: Annotated[Path, typer.Argument(help="Good images of several products; or folders in a known layout.")],
    out: Annotated[Path, typer.Option(help="Folder for the contact sheets.")] = Path("discovered"),
    names: Annotated[str | None, typer.Option(help="category=product, separated by commas: a=bolt,b=nut.")] = None,
    names_from: Annotated[Path | None, typer.Option(help="File with one category=product per line.")] = None,
    enroll: Annotated[bool, typer.Option("--enroll", help="Enrol each named category as `enroll` would.")] = False,
    head: Annotated[str, typer.Option(help="prototype, protoad, student or auto.")] = "prototype",
    profile: Annotated[str, typer.Option(help="fast, standard or fine: what a frame may cost.")] = "standard",
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Enrol beside the live versions; they never decide.")
    ] = False,
    with_strays: Annotated[
        bool, typer.Option("--with-strays", help="Also enrol the odd images; look at them first.")
    ] = False,
    config: console.ConfigOption = None,
    as_json: console.JsonOption = False,
) -> None:
    from inspector.cli.terminal import discovery_view, enrolment_view
    from inspector.config.loading import load
    from inspector.enrolment.discover_products import discover_products
    from inspector.training.enrol import EnrolmentOptions
    from inspector.training.heads.factory import recipe_for

    loaded = load(config)
    recipe_for(head, profile)  # a mistyped option is refused before minutes of work
    with console.progress("Discovering", quiet=as_json) as tell:
        products = discover_products(loaded, folder, out, tell)
    given = naming.names_given(names, names_from, list(products.sheets))
    _ensure_names_can_come(given, enroll, as_json)
    if not as_json:
        discovery_view.print_discovered(products)
    named = _ask(products) if given is None and not as_json and naming.can_ask() else given or {}
    enrolled: list[Enrolled] = []
    if enroll:
        options = EnrolmentOptions(head=head, profile=profile, measures_detectability=True)
        enrolled = _enrol(loaded, products, named, options, shadow=shadow, with_strays=with_strays, quiet=as_json)
    if as_json:
        console.print_json(_document(products, named, enrolled))
    else:
        discovery_view.print_enrolled(enrolled, [name for name in products.sheets if enroll and name not in named])
    enrolment_view.leave_if_held_back(enrolled)


def _ensure_names_can_come(given: Mapping[str, str] | None, enroll: bool, as_json: bool) -> None:
    """Raises UsageError if categories are to be enrolled and nobody can name them."""
    from inspector.errors import UsageError

    if enroll and given is None and (as_json or not naming.can_ask()):
        raise UsageError("Nobody can be asked here: name the categories with --names or --names-from, then --enroll.")


def _ask(products: DiscoveredProducts) -> dict[str, str]:
    categories = products.discovery.categories
    return naming.names_asked(
        [(each.name, f"{len(each.members)} images, {products.sheets[each.name]}") for each in categories]
    )


def _enrol(
    config: Config,
    products: DiscoveredProducts,
    names: Mapping[str, str],
    options: EnrolmentOptions,
    *,
    shadow: bool,
    with_strays: bool,
    quiet: bool,
) -> list[Enrolled]:
    from inspector.enrolment.discover_products import enrol_products, images_by_product
    from inspector.enrolment.enrol_product import EnrolmentOrder
    from inspector.lifetime import run_to_end

    def progress_of(product: str) -> AbstractContextManager[Progress]:
        return console.progress(f"Enrolling {product}", quiet=quiet)

    images = images_by_product(products.discovery, names, with_strays=with_strays)
    order = EnrolmentOrder(by=current_user(), shadow=shadow, at_low_priority=True)
    return run_to_end(enrol_products(config, images, options, order, progress_of))


def _document(products: DiscoveredProducts, names: Mapping[str, str], enrolled: list[Enrolled]) -> dict[str, Any]:
    from inspector.domain import printable
    from inspector.enrolment.enrolled_document import not_taken_document

    found = products.discovery
    return {
        "categories_found": len(found.categories),
        "purity": found.purity,
        "nmi": found.nmi,
        "categories": [
            {
                "category": category.name,
                "name": names.get(category.name),
                "mostly": found.majority(category),
                "nearest": category.nearest[0] if category.nearest else None,
                "nearest_distance": round(category.nearest[1], 4) if category.nearest else None,
                "contact_sheet": printable(str(products.sheets[category.name])),
                "images": [image.name for image in found.members(category, with_strays=False)],
                "strays": [found.images[index].name for index in category.strays],
            }
            for category in found.categories
        ],
        **not_taken_document(products.not_taken),
        "unreadable": [{"image": name, "reason": reason} for name, reason in found.unreadable],
        "duplicates": [{"image": name, "of": of} for name, of in found.duplicates],
        "enrolled": [
            {
                "product": done.version.product,
                "version": done.version.version,
                "live": done.version.is_live,
                "shadow": done.version.is_shadow,
                "objections": list(done.objections),
                "used": done.report.n_used,
                "statement": done.report.statement,
                "suspects": list(done.report.suspects),
                "warnings": list(done.report.warnings),
                "report": printable(str(done.page)),
            }
            for done in enrolled
        ],
    }
