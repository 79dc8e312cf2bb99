"""Makes HTML of templates: one environment, in which everything is escaped and no unknown name is passed over."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inspector.console import wording
from inspector.console.live import Live, Rendering
from inspector.console.texts import TEXTS

ROOM: Final = Path(__file__).parent
STATIC: Final = ROOM / "static"


class Pages:
    """Renders templates with the console's texts, times in `zone`."""

    def __init__(self, zone: ZoneInfo, texts: Mapping[str, str] = TEXTS) -> None:
        self._texts = texts
        self.zone = zone
        self._environment = Environment(
            loader=FileSystemLoader(ROOM / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {
            "t": self.text,
            "static": static_url,
            "zone_name": zone.key,
            "span": wording.span,
            "now": lambda: datetime.now(UTC),
        }
        self._environment.filters |= {
            "clock_time": functools.partial(wording.clock_time, zone=zone),
            "to_the_minute": functools.partial(wording.to_the_minute, zone=zone),
            "date_time": functools.partial(wording.date_time, zone=zone),
            "ago": lambda moment: wording.ago(moment, datetime.now(UTC)),
            "percent": wording.percent,
            "level": wording.level,
            "number": wording.number,
            "epoch_ms": lambda moment: int(moment.timestamp() * 1000),
        }

    def add_global(self, name: str, function: Callable[..., Any]) -> None:
        """Let templates call a function by this name."""
        self._environment.globals[name] = function

    def text(self, name: str, /, **values: object) -> str:
        """The text of that name. Raises KeyError for a name without a text."""
        return self._texts[name].format(**values) if values else self._texts[name]

    def load_templates(self) -> None:
        """Compile all templates, so that nobody's first page waits for that."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, template: str, **context: Any) -> str:
        """The template's HTML."""
        return self._environment.get_template(template).render(**context)

    def live(self) -> Rendering:
        """How the line page's parts are rendered."""
        return Rendering(card=self._card, strip=self._strip, grid=self._grid)

    def _card(self, live: Live, camera: str) -> str:
        card = live.card(camera)
        return self.render("_card.html.j2", card=card, pictured=live.pictured(card), limit=LEVEL_SHOWN)

    def _strip(self, live: Live) -> str:
        return self.render(
            "_strip.html.j2", strip=live.strip(), shift=live.shift, fault=live.fault, is_ready=live.is_ready
        )

    def _grid(self, live: Live) -> str:
        cards = [(live.card(camera), live) for camera in live.board.cameras]
        return self.render("_grid.html.j2", cards=[(card, of.pictured(card)) for card, of in cards], limit=LEVEL_SHOWN)


LEVEL_SHOWN: Final = 2.0
"""The level at the right end of a bar; the threshold stands in its middle."""


@functools.cache
def static_url(name: str) -> str:
    """The address of a file of `static/`, which changes with its content, so that browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{digest}/{name}"
