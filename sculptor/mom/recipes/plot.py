"""Line plots as SVG, written by hand so that no run needs a plotting library."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

Point = tuple[float, float]
_COLOURS = (
    *("#0b6e99", "#d1495b", "#66a182", "#edae49", "#6b4c9a", "#8d5a2b"),
    *("#444444", "#c2529b", "#7a9a01", "#00a6a6"),
)
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 360, 60, 45, 30, 150


def line_plot(
    series: Mapping[str, Sequence[Point]], *, title: str, x_label: str, y_label: str
) -> str:
    """Return an SVG document with one line per series, axes from the data's own range."""
    points = [p for line in series.values() for p in line]
    if not points:
        raise ValueError("There is nothing to plot: every series is empty.")
    spans = [_span([p[axis] for p in points]) for axis in (0, 1)]

    def place(point: Point) -> Point:
        (x0, x1), (y0, y1) = spans
        x = _LEFT + (point[0] - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - (point[1] - y0) / (y1 - y0) * (_HEIGHT - _BOTTOM - _TOP)
        return x, y

    parts = [_text(_WIDTH / 2, 18, title, anchor="middle")]
    parts += _axes(spans, place, x_label=x_label, y_label=y_label)
    for i, (name, line) in enumerate(series.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, line))
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{path}"/>')
        parts.append(_text(_WIDTH - _RIGHT + 10, _TOP + 16 * (i + 1), name, colour=colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _axes(
    spans: Sequence[Point], place: Callable[[Point], Point], *, x_label: str, y_label: str
) -> list[str]:
    (x0, x1), (y0, y1) = spans
    left, bottom = place((x0, y0))
    right, top = place((x1, y1))
    lines = [
        f'<path fill="none" stroke="black" d="M{left},{top}V{bottom}H{right}"/>',
        _text((left + right) / 2, _HEIGHT - 8, x_label, anchor="middle"),
        _text(8, _TOP - 8, y_label),
    ]
    for value in (x0, (x0 + x1) / 2, x1):
        lines.append(_text(place((value, y0))[0], bottom + 16, f"{value:g}", anchor="middle"))
    for value in (y0, (y0 + y1) / 2, y1):
        lines.append(_text(left - 6, place((x0, value))[1] + 4, f"{value:.3g}", anchor="end"))
    return lines


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "black") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
