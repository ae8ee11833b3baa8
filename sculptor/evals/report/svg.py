"""Small charts as SVG text: lines with intervals, heat maps, scattered points.

Nothing is fetched: fonts are the reader's, colours are set here. A chart is as wide as its
container lets it be and states its numbers in ``title`` elements that appear under the pointer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0e7490", "#854d0e")
_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 52
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured value; ``y`` and its bounds lie between 0 and 1."""

    x: float
    y: float
    low: float
    high: float
    note: str


def line_chart(title: str, series: Mapping[str, Sequence[Point]], *, x_label: str) -> str:
    """Return accuracy against a positive quantity on a logarithmic axis, with interval bars."""
    xs = sorted({point.x for points in series.values() for point in points})
    place = _log_scale(xs)
    parts = [*_y_axis(), *_x_axis(xs, place, x_label)]
    shift = 5.0
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        offset = shift * (number - (len(series) - 1) / 2)
        path = " ".join(f"{place(p.x) + offset:.1f},{_y(p.y):.1f}" for p in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in points:
            at = place(point.x) + offset
            parts += _marked(point, at, colour, f"{name}: {point.note}")
    return _svg(title, [*parts, *_legend(list(series))], height=_HEIGHT + _legend_height(series))


def scatter_chart(title: str, series: Mapping[str, Sequence[Point]], *, x_label: str) -> str:
    """Return accuracy against a positive quantity on a logarithmic axis, a point a group."""
    xs = [point.x for points in series.values() for point in points]
    ticks = _decades(min(xs), max(xs))
    place = _log_scale(ticks)
    parts = [*_y_axis(), *_x_axis(ticks, place, x_label)]
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        for point in points:
            parts += _marked(point, place(point.x), colour, f"{name}: {point.note}")
    return _svg(title, [*parts, *_legend(list(series))], height=_HEIGHT + _legend_height(series))


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[int, int], tuple[float, str]],
    *,
    row_label: str,
    column_label: str,
) -> str:
    """Return a grid of values from 0 to 1; a cell nobody measured stays empty."""
    wide = (_WIDTH - _LEFT - _RIGHT) / len(columns)
    high = 30
    parts: list[str] = []
    for (row, column), (value, note) in cells.items():
        x, y = _LEFT + column * wide, _TOP + row * high
        ink = "#ffffff" if value < 0.2 else "#1a1a1a"
        parts += [
            f'<rect x="{x:.1f}" y="{y}" width="{wide - 1:.1f}" height="{high - 1}" '
            f'fill="{heat_colour(value)}"><title>{escape(note)}</title></rect>',
            _text(f"{100 * value:.0f}", x + wide / 2, y + 19, anchor="middle", colour=ink),
        ]
    bottom = _TOP + high * len(rows)
    parts += [_text(name, _LEFT - 6, _TOP + at * high + 19) for at, name in enumerate(rows)]
    parts += [
        _text(name, _LEFT + (at + 0.5) * wide, bottom + 16, anchor="middle")
        for at, name in enumerate(columns)
    ]
    parts += [
        _text(column_label, (_LEFT + _WIDTH - _RIGHT) / 2, bottom + 36, anchor="middle"),
        _text(row_label, 6, _TOP + high * len(rows) + 36, anchor="start"),
    ]
    return _svg(title, parts, height=bottom + 46)


def heat_colour(value: float) -> str:
    """Return the colour of a value from 0 (dark red) over 0.5 (sand) to 1 (green)."""
    stops = ((127, 29, 29), (245, 222, 160), (60, 160, 90))
    value = min(1.0, max(0.0, value))
    first, second = (stops[0], stops[1]) if value < 0.5 else (stops[1], stops[2])
    share = value * 2 if value < 0.5 else value * 2 - 1
    mixed = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def short_number(value: float) -> str:
    """Return a number as people say it: 16k, 1.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


class _LogScale:
    """Places of values between the left and the right border."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._span = math.log(low), math.log(high) - math.log(low) or 1.0
        self._single = low == high

    def __call__(self, value: float) -> float:
        share = 0.5 if self._single else (math.log(value) - self._low) / self._span
        return _LEFT + 14 + share * (_WIDTH - _LEFT - _RIGHT - 28)


def _log_scale(xs: Sequence[float]) -> _LogScale:
    return _LogScale(min(xs), max(xs))


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)


def _y_axis() -> list[str]:
    parts = []
    for tick in _TICKS:
        y = _y(tick)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            _text(f"{100 * tick:.0f} %", _LEFT - 6, y + 4),
        ]
    return parts


def _x_axis(ticks: Sequence[float], place: _LogScale, label: str) -> list[str]:
    y = _HEIGHT - _BOTTOM
    parts, last = [], -math.inf
    for tick in ticks:
        if place(tick) - last >= 30:
            last = place(tick)
            parts.append(_text(short_number(tick), last, y + 16, anchor="middle"))
    return [*parts, _text(label, (_LEFT + _WIDTH - _RIGHT) / 2, y + 36, anchor="middle")]


def _marked(point: Point, x: float, colour: str, note: str) -> list[str]:
    return [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(point.low):.1f}" y2="{_y(point.high):.1f}" '
        f'stroke="{colour}" stroke-width="1.5"/>',
        f'<circle cx="{x:.1f}" cy="{_y(point.y):.1f}" r="4" fill="{colour}">'
        f"<title>{escape(note)}</title></circle>",
    ]


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for number, name in enumerate(names):
        y = _HEIGHT + 4 + 18 * number
        colour = COLOURS[number % len(COLOURS)]
        parts += [
            f'<rect x="{_LEFT}" y="{y - 10}" width="12" height="12" fill="{colour}"/>',
            _text(name, _LEFT + 20, y, anchor="start"),
        ]
    return parts


def _legend_height(series: Mapping[str, object]) -> int:
    return 18 * len(series)


def _text(text: str, x: float, y: float, *, anchor: str = "end", colour: str = "#1a1a1a") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str], *, height: int) -> str:
    heading = _text(title, _LEFT, 18, anchor="start").replace("<text", '<text font-weight="600"')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}" font-family="system-ui, sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
        f"{heading}{''.join(parts)}</svg>"
    )
