"""The report of `inspector products compare`: counts, thresholds, and the flips with their pictures, one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inspector.domain import printable
from inspector.reports.page import render
from inspector.reports.pictures import frame_uri
from inspector.store.ledger.comparisons import Flip
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.overlay import Undrawable

_DRAWN = (".jpg", ".png")


class ComparedFlip(Protocol):
    """A flip and the paths of its kept pictures."""

    @property
    def flip(self) -> Flip: ...

    @property
    def pictures(self) -> Sequence[Path]: ...


class ComparedVersions(Protocol):
    """The comparison as the page needs it."""

    @property
    def flips(self) -> Sequence[ComparedFlip]: ...

    def to_document(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Picture:
    """A flip as the template shows it. `uris`: empty if its pictures are gone."""

    flip: Flip
    uris: tuple[str, ...]


def comparison_page(comparison: ComparedVersions) -> str:
    """The whole file."""
    figures = comparison.to_document()
    live = "no live version" if figures["live_version"] is None else f"live version {figures['live_version']}"
    title = f"{figures['product']}: shadow version {figures['shadow_version']} against {live}"
    return render(
        "comparison.html.j2",
        title=printable(title),
        figures=figures,
        flips=[_Picture(shown.flip, tuple(_uris(shown.pictures))) for shown in comparison.flips],
    )


def _uris(paths: Sequence[Path]) -> list[str]:
    uris = []
    for path in paths:
        if path.suffix not in _DRAWN:
            continue
        try:
            uris.append(frame_uri(read_kept(path)))
        except (OSError, Undrawable):
            continue  # retention may have taken it meanwhile; the row says everything else
    return uris
