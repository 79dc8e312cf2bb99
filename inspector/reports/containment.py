"""The report of `inspector contain`: what is in question after an escape, with the pictures of flips, one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inspector.reports.page import render
from inspector.reports.pictures import frame_uri
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.overlay import Undrawable

MOST_PICTURES = 60


class FlippedFrame(Protocol):
    """A flip as the page needs it: words for under the picture, and the kept frame."""

    @property
    def words(self) -> str: ...

    @property
    def picture(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class _Picture:
    words: str
    uri: str | None


def containment_page(document: dict[str, Any], flips: Sequence[FlippedFrame]) -> str:
    """The whole file. `document`: what `inspector contain --json` prints."""
    product = document["product"] or "all products"
    return render(
        "containment.html.j2",
        title=f"Containment of {product} from {document['since']} to {document['until']}",
        found=document,
        flips=[_Picture(flip.words, _uri(flip.picture)) for flip in flips[:MOST_PICTURES]],
        more=max(0, len(flips) - MOST_PICTURES),
    )


def _uri(path: Path) -> str | None:
    try:
        return frame_uri(read_kept(path))
    except (OSError, Undrawable):
        return None  # retention may have taken it meanwhile
