"""Curves and histograms as inline SVG. The page's style colours them, so that its light and dark themes apply.

Callers give values, and each chart maps them to its own coordinates. Charts have no script, since they are printed too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 38
BINS = 32


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart. `tone`: a class of the page's style (`good`, `defect`, `plain`, `faint`)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tone: str = "plain"
    with_dots: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A named axis over [low, high]."""

    name: str
    low: float = 0.0
    high: float = 1.0

    def share(self, value: float) -> float:
        """The position of a value on the axis, 0 to 1. A value beyond an end is put at that end."""
        span = self.high - self.low
        return min(1.0, max(0.0, (value - self.low) / span)) if span > 0 else 0.0

    def ticks(self, about: int = 5) -> list[float]:
        """About this many round values within the axis."""
        raw = (self.high - self.low) / about
        unit = 10.0 ** np.floor(np.log10(raw)) if raw > 0 else 1.0
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
        first = np.ceil(self.low / step - 1e-9)
        last = np.floor(self.high / step + 1e-9)
        return [float(step * index) + 0.0 for index in np.arange(first, last + 1)]  # + 0.0: never -0


def line_chart(
    series: Sequence[Series], across: Axis, up: Axis, *, mark_x: float | None = None, low_legend: bool = False
) -> Markup:
    """Lines over common axes, with a legend if there are several. `mark_x`: position of a dashed vertical line.

    `low_legend`: the legend is at the bottom, for curves that fill the upper corner.
    """
    parts = [_frame(across, up)]
    if mark_x is not None:
        parts.append(_upright(across, mark_x, ""))
    for each in series:
        points = [(_x(across, x), _y(up, y)) for x, y in zip(each.x, each.y, strict=True)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(each.tone, joined))
        if each.with_dots:
            parts += [
                Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"/>').format(each.tone, x, y) for x, y in points
            ]
    if len(series) > 1:
        entries = [(each.name, each.tone) for each in series if each.name]
        parts.append(_legend(entries, HEIGHT - BOTTOM - 15 * len(entries) if low_legend else TOP))
    return _svg(parts, f"{up.name} over {across.name}")


def roc_chart(false_rates: Sequence[float], hit_rates: Sequence[float], area: float | None) -> Markup:
    """Share of defective images found over share of good images rejected, as the threshold falls."""
    chance = Series("", (0.0, 1.0), (0.0, 1.0), "faint")
    name = "" if area is None else f"AUROC {area:.3f}"
    curve = Series(name, false_rates, hit_rates, "defect")
    return line_chart((chance, curve), Axis("share of good images rejected"), Axis("defective found"), low_legend=True)


def level_histogram(good: Sequence[float], defective: Sequence[float], *, limit: float = 1.0) -> Markup:
    """Levels of good and defective images as shares of their own number; the dashed line is the threshold.

    Levels far beyond the rest are counted in the last bin, so that one extreme part does not flatten all other bars.
    """
    values = np.concatenate([np.asarray(good, np.float64), np.asarray(defective, np.float64)])
    low = min(0.0, float(values.min())) if len(values) else 0.0
    high = max(1.5 * limit, min(float(values.max()), 4.0 * limit)) if len(values) else 2.0 * limit
    low = max(low, -1.0 * limit)
    edges = np.linspace(low, high, BINS + 1)
    shares = [
        (tone, name, np.histogram(np.clip(group, low, high), edges)[0] / max(1, len(group)))
        for tone, name, group in (("good", "good", good), ("defect", "defective", defective))
    ]
    across = Axis("level (1.0 = threshold)", low, high)
    up = Axis("share of images", 0.0, max(0.05, *(float(counts.max()) for _, _, counts in shares)))
    parts = [_frame(across, up)]
    for tone, name, counts in shares:
        for index in np.flatnonzero(counts):
            left, right = _x(across, edges[index]), _x(across, edges[index + 1])
            top = _y(up, float(counts[index]))
            title = f"{name}: {100 * counts[index]:.1f} % at {edges[index]:.2f} to {edges[index + 1]:.2f}"
            parts.append(
                Markup('<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">').format(
                    tone, left, top, right - left, HEIGHT - BOTTOM - top
                )
                + Markup("<title>{}</title></rect>").format(title)
            )
    parts.append(_upright(across, limit, "threshold"))
    parts.append(
        _legend(
            [
                (f"{name}, {len(group)}", tone)
                for tone, name, group in (("good", "good", good), ("defect", "defective", defective))
                if len(group)
            ],
            TOP + 14,  # below the threshold's name
        )
    )
    return _svg(parts, "histogram of levels")


def _x(across: Axis, value: float) -> float:
    return LEFT + across.share(value) * (WIDTH - LEFT - RIGHT)


def _y(up: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - up.share(value) * (HEIGHT - TOP - BOTTOM)


def _frame(across: Axis, up: Axis) -> Markup:
    """Grid lines with their values, and the axes' names."""
    parts = []
    floor = HEIGHT - BOTTOM
    for tick in across.ticks():
        x = _x(across, tick)
        parts.append(Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, TOP, floor))
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>').format(
                x, floor + 14, round(tick, 6) + 0.0
            )
        )
    for tick in up.ticks():
        y = _y(up, tick)
        parts.append(
            Markup('<line class="grid" x1="{1}" x2="{2}" y1="{0:.1f}" y2="{0:.1f}"/>').format(y, LEFT, WIDTH - RIGHT)
        )
        parts.append(
            Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{:g}</text>').format(
                LEFT - 5, y + 3.5, round(tick, 6) + 0.0
            )
        )
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + floor) / 2
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            middle_x, HEIGHT - 6, across.name
        )
    )
    parts.append(
        Markup('<text class="axis" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
            middle_y, up.name
        )
    )
    return Markup("").join(parts)


def _upright(across: Axis, value: float, name: str) -> Markup:
    x = _x(across, value)
    line = Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, TOP, HEIGHT - BOTTOM)
    # The name is on the side that has room, away from the legend at the upper right.
    at, anchor = (x + 4, "start") if across.share(value) < 0.4 else (x - 4, "end")
    return line + Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
        at, TOP + 9, anchor, name
    )


def _legend(entries: Sequence[tuple[str, str]], top: float = TOP) -> Markup:
    """Names in their colours, at the right, so that they don't cover the threshold's name."""
    lines = []
    for row, (name, tone) in enumerate(entries):
        y = top + 9 + 15 * row
        lines.append(
            Markup('<text class="key {}" x="{}" y="{}" text-anchor="end">{}</text>').format(
                tone, WIDTH - RIGHT - 4, y, name
            )
        )
    return Markup("").join(lines)


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, HEIGHT, escape(title)
    )
    return head + Markup("").join(parts) + Markup("</svg>")
