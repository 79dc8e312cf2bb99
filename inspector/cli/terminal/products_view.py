"""Shows products to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from inspector.cli.terminal import console, rendering
from inspector.cli.terminal.escapes import shown
from inspector.domain import ProductVersion
from inspector.stream.verdict_record import format_time

_LONGEST_VALUE: Final = 400
"""Most characters shown of one value of the manifest; `--json` has the whole value."""


_LONGEST_LIST: Final = 8
"""Most entries shown of one list of the manifest."""


def print_list(versions: Sequence[ProductVersion], *, every: bool) -> None:
    """One row per product, or per version."""
    if not versions:
        console.out.print(
            "No product is enrolled yet; `inspector enroll PRODUCT IMAGES...` makes one.", highlight=False
        )
        return
    listed = versions if every else list(_one_each(versions))
    table = rendering.table(
        "Product", "Version", "State", "Head", "Profile", "Threshold", "Size", "Enrolled", "By",
        right=("Version", "Threshold", "Size"),
    )  # fmt: skip
    for version in listed:
        table.add_row(
            version.product,
            str(version.version),
            _state(version),
            version.head,
            version.profile,
            _threshold(version),
            rendering.size(version.size_bytes),
            rendering.local_time(version.created_at),
            version.created_by,
        )
    rendering.show(table)


def print_one(versions: Sequence[ProductVersion], chosen: ProductVersion) -> None:
    """The versions, then all facts about one version."""
    from inspector.vision.artifacts.thresholds import moved_note
    from inspector.vision.health.statement import health_statement

    print_list(versions, every=True)
    rendering.show("", f"[bold]{shown(chosen.product)} version {chosen.version}[/]")
    known = [("sha-256", chosen.digest), ("enrolled at", format_time(chosen.created_at))]
    if note := moved_note(chosen):
        known.append(("threshold now", f"{chosen.threshold:.4g}; {note}"))
    known.append(("frame health", health_statement(chosen.manifest)))
    trade, rest = _trade_and_rest(chosen.manifest)
    rendering.show(rendering.facts([*known, *_lines(rest)]))
    if trade:
        _show_trade(trade)


def _trade_and_rest(manifest: Mapping[str, Any]) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    """The rows of the trade, which have a table of their own, and the manifest without them."""
    evidence = manifest.get("evidence")
    found = evidence.get("detectability") if isinstance(evidence, Mapping) else None
    if not isinstance(evidence, Mapping) or not isinstance(found, Mapping) or "trade" not in found:
        return (), dict(manifest)
    rest = {name: value for name, value in found.items() if name != "trade"}
    return found["trade"], {**manifest, "evidence": {**evidence, "detectability": rest}}


def _show_trade(trade: Sequence[Mapping[str, Any]]) -> None:
    """Drawn defects found at several shares of rejected good parts."""
    from inspector.training.defects.drawing import KIND_NAMES, DefectKind

    kinds, sizes = list(trade[0]["by_kind"]), list(trade[0]["by_size"])
    names = [KIND_NAMES[DefectKind(kind)] for kind in kinds]
    columns = [
        "Good rejected",
        "Level",
        "Signed: fewer than",
        "Found",
        *names,
        *(f"{float(size):.0%} long" for size in sizes),
    ]
    rendering.show("", "Drawn defects found, if more or fewer good parts may be rejected (enroll --overkill):")
    table = rendering.table(*columns, right=tuple(columns))
    for point in trade:
        cells = [
            point["total"],
            *(point["by_kind"][kind] for kind in kinds),
            *(point["by_size"].get(size) for size in sizes),
        ]
        bound = "-" if point["bound"] is None else f"{point['bound']:.1%}"
        row = [f"{point['overkill']:.1%}", f"{point['level']:.2f}", bound, *(_share(cell) for cell in cells)]
        table.add_row(*row, style="" if point["is_signed"] else "dim")
    rendering.show(table)
    if not all(point["is_signed"] for point in trade):
        rendering.show("[dim]Grey rows ask for less than the good images can sign for.[/]")


def _share(cell: Mapping[str, Any] | None) -> str:
    return f"{cell['found'] / cell['n']:.0%}" if cell and cell["n"] else "-"


def _one_each(versions: Sequence[ProductVersion]) -> Iterator[ProductVersion]:
    """The versions of each product that judge; if none does, its newest version."""
    for product in dict.fromkeys(version.product for version in versions):
        own = [version for version in versions if version.product == product]
        judging = [version for version in own if version.is_live or version.is_shadow]
        yield from judging or own[-1:]


def _state(version: ProductVersion) -> Text:
    if version.is_live:
        return Text("live", style="green")
    if version.is_shadow:
        return Text("shadow", style="cyan")
    return Text("off", style="dim")


def _threshold(version: ProductVersion) -> Text:
    from inspector.vision.artifacts.thresholds import moved_level

    score, level = f"{version.threshold:.4g}", moved_level(version)
    return Text(score) if level is None else Text(f"{score} (moved: level {level:.3g})", style="yellow")


def _lines(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The manifest as names and short values. Of a long list only the length is shown."""
    for name, value in manifest.items():
        if isinstance(value, Mapping) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and len(value) > _LONGEST_LIST:
            yield prefix + name, f"{len(value)} entries"
        elif isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
            yield from _lines({str(number): entry for number, entry in enumerate(value, 1)}, f"{prefix}{name}.")
        elif name == "mask" and value is not None:
            yield prefix + name, "given; --json has it"
        else:
            text = _value(value)
            yield prefix + name, text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + " ..."


def _value(value: Any) -> str:
    """One value in words: `-` for none, yes or no for a truth, a list with commas, pairs in it in brackets."""
    if value is None:
        return rendering.ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        entries = [f"({_value(entry)})" if isinstance(entry, list | tuple) else _value(entry) for entry in value]
        return ", ".join(entries) or "none"
    return str(value) if value != {} else "none"
