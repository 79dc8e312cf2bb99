"""The page that all reports share: a template with escaped text and inline style, which loads no other file."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from inspector import __version__

TEMPLATES = Path(__file__).with_name("templates")
ABSENT = "-"


def render(template: str, **content: Any) -> str:
    """The HTML of a template that extends `page.html.j2`. Text is escaped; charts are `markupsafe.Markup`.

    An undefined name is an error, because an empty place could go unnoticed in a report that somebody signs.
    """
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return _environment().get_template(template).render(software=__version__, made_at=made_at, **content)


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({"figure": figure, "percent": percent, "share": share, "capitalised": capitalised})
    return made


def capitalised(text: str) -> str:
    """The text with its first letter as at the beginning of a sentence. The rest stays as it is."""
    return text[:1].upper() + text[1:]


def figure(value: float | None, places: int = 3) -> str:
    """A number with `places` decimals, or a dash."""
    return ABSENT if value is None else f"{value:.{places}f}"


def percent(value: float | None, places: int = 1) -> str:
    """A fraction as a percentage, or a dash."""
    return ABSENT if value is None else f"{100.0 * value:.{places}f} %"


def share(value: float | None, n: int, interval: tuple[float, float] | None = None) -> str:
    """A share as `3 of 40 (1.6 to 20.4 %)`, with the total and the interval, or a dash."""
    if value is None or n == 0:
        return ABSENT
    counted = f"{round(value * n)} of {n}"
    if interval is None:
        return counted
    low, high = interval
    return f"{counted} ({100.0 * low:.1f} to {100.0 * high:.1f} %)"
