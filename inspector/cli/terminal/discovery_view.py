"""Shows the products in a mixed folder to people."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.enrolment_view import print_findings, state_of
from inspector.cli.terminal.escapes import shown

if TYPE_CHECKING:
    from rich.table import Table

    from inspector.enrolment.discover_products import DiscoveredProducts
    from inspector.enrolment.enrol_product import Enrolled
    from inspector.training.dataset.folders import NotTaken
    from inspector.training.routing.discovery import Discovery


def print_discovered(products: DiscoveredProducts) -> None:
    """The table of categories, and every image that a person should look at."""
    rendering.show(_table(products.discovery, products.sheets))
    _print_images(products.discovery, products.not_taken)


def print_enrolled(enrolled: Sequence[Enrolled], unnamed: Sequence[str]) -> None:
    """A few lines for each version. `unnamed`: categories that were to be enrolled and have no name."""
    for done in enrolled:
        name = f"[bold]{shown(done.report.product)}[/] version {done.version.version}"
        line = f"{name} is {state_of(done)}: {done.report.n_used} images."
        console.out.print(line, f"  {shown(done.report.statement)}", sep="\n", highlight=False)
        print_findings(done)
        console.out.print(f"  report: {shown(done.page)}", highlight=False, soft_wrap=True)
    if unnamed:
        console.out.print(f"not enrolled, for want of a name: {', '.join(unnamed)}", highlight=False)


def _table(found: Discovery, sheets: Mapping[str, Path]) -> Table:
    columns = ["category", "images", "strays", "nearest", "distance", "most typical", "contact sheet"]
    if found.labels is not None:
        columns.insert(1, "mostly")
    table = rendering.table(*columns, right=("images", "strays", "distance"))
    for category in found.categories:
        nearest, distance = category.nearest or (rendering.ABSENT, None)
        row = [
            category.name,
            str(len(category.members)),
            str(len(category.strays)),
            nearest,
            rendering.number(distance, 2),
        ]
        row += [Path(found.images[category.members[0]].name).name, str(sheets[category.name])]
        if found.labels is not None:
            row.insert(1, found.majority(category) or rendering.ABSENT)
        table.add_row(*row)
    return table


def _print_images(found: Discovery, not_taken: Sequence[NotTaken]) -> None:
    say = functools.partial(console.out.print, highlight=False, soft_wrap=True)
    if found.purity is not None and found.nmi is not None:
        count = len(found.categories)
        say(f"{count} {'category' if count == 1 else 'categories'}, purity {found.purity:.3f}, NMI {found.nmi:.3f}")
    for name, reason in found.unreadable:
        say(f"  [yellow]left out[/] {shown(name)}: {shown(reason)}")
    for thing in not_taken:
        say(f"  [yellow]not taken[/] {shown(thing.name)}: {shown(thing.reason)}")
    for name, of in found.duplicates:
        say(f"  [yellow]counted once[/] {shown(name)}: the same image as {shown(of)}")
    for category in found.categories:
        for index in category.strays:
            why = f"nearest to {category.name}, but not near; enrolled only --with-strays"
            say(f"  [yellow]look at[/] {shown(found.images[index].name)}: {shown(why)}")
