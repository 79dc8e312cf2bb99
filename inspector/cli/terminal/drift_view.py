"""Shows to people whether accepted parts still look as the good images did."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.operation.drift import ProductDrift
from inspector.vision.artifacts.drift import Drift


def print_drift(found: Sequence[ProductDrift]) -> None:
    """A table of all cameras, then a sentence for each that drifts and each product that could not be compared."""
    if not found:
        console.out.print("No product is live.", highlight=False)
        return
    numbers = ("Parts", "Above the mark", "May be", "Distance", "May be up to")
    made = rendering.table("Product", "Version", "Camera", *numbers, "Drift", right=numbers)
    for each in found:
        for drift in each.cameras:
            made.add_row(each.version.product, str(each.version.version), drift.camera, *_figures(drift), _word(drift))
    if made.row_count:
        rendering.show(made)
    for each in found:
        name = f"{each.version.product} version {each.version.version}"
        if each.why_not:
            console.out.print(f"{name} is not compared: {each.why_not}.", highlight=False, markup=False, soft_wrap=True)
        for drift in each.cameras:
            if drift.is_found:
                line = f"{name} at {drift.camera}: {drift.statement}."
                console.out.print(line, highlight=False, markup=False, soft_wrap=True)


def _figures(drift: Drift) -> tuple[str, ...]:
    least, most = drift.expected
    distances = (f"{drift.distance:.2f}", f"{drift.distance_bound:.2f}")
    return (str(drift.parts), str(drift.above), f"{least} to {most}", *distances)


def _word(drift: Drift) -> Text:
    return Text(drift.direction.value, style="bold yellow" if drift.is_found else "green")
