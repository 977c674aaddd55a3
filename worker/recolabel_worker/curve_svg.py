"""A line chart as an SVG file: mean IoU against clicks, a band for the spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 184, 48, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind people too."""
MARKS = ("circle", "square", "diamond")


@dataclass(frozen=True)
class Line:
    """One line of the chart."""

    name: str
    x: Sequence[float]  # rising
    y: Sequence[float]
    spread: Sequence[float]  # half the height of the band at each point; 0 for none


def draw_chart(lines: Sequence[Line], *, title: str, x_title: str, y_title: str) -> str:
    """Draw lines with their bands; the same lines give the same text.

    Args:
        lines: at least one, each with at least one point; every number finite.
    """
    assert lines
    assert all(line.x for line in lines)
    x_axis = _Axis([value for line in lines for value in line.x], LEFT, WIDTH - RIGHT)
    low = [y - s for line in lines for y, s in zip(line.y, line.spread, strict=True)]
    high = [y + s for line in lines for y, s in zip(line.y, line.spread, strict=True)]
    y_axis = _Axis([*low, *high], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, TOP - 20, title, "start", 'font-size="14" font-weight="bold"'),
        *_grid(x_axis, y_axis),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_title, "middle"),
        f'<g transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2:.1f})">'
        + _text(16, (TOP + HEIGHT - BOTTOM) / 2, y_title, "middle")
        + "</g>",
    ]
    for number, line in enumerate(lines):
        parts += _draw(line, x_axis, y_axis, COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)], number)
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """Values to places on the page, and round numbers to mark."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        self.step = _round_step((high - low) / 5)
        self.low = math.floor(low / self.step) * self.step
        self.high = math.ceil(high / self.step) * self.step
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        return self._start + (value - self.low) / (self.high - self.low) * (self._end - self._start)

    def marks(self) -> list[float]:
        return [self.low + n * self.step for n in range(round((self.high - self.low) / self.step) + 1)]


def _round_step(wish: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `wish`."""
    power = 10.0 ** math.floor(math.log10(wish))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wish * (1 - 1e-9))


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    parts = []
    for value in y_axis.marks():
        y = y_axis.place(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", "end"))
    for value in x_axis.marks():
        x = x_axis.place(value)
        parts.append(f'<path d="M{x:.1f} {HEIGHT - BOTTOM}v5" stroke="#444444"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 20, f"{value:g}", "middle"))
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#444444"/>')
    return parts


def _draw(line: Line, x_axis: _Axis, y_axis: _Axis, colour: str, mark: str, number: int) -> list[str]:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(line.x, line.y, strict=True)]
    parts = []
    if any(line.spread):
        edges = [
            [
                f"{x_axis.place(x):.1f} {y_axis.place(y + sign * s):.1f}"
                for x, y, s in zip(line.x, line.y, line.spread, strict=True)
            ]
            for sign in (1, -1)
        ]
        parts.append(
            f'<path d="M{"L".join([*edges[0], *reversed(edges[1])])}Z" fill="{colour}" opacity="0.15"/>'
            if len(places) > 1
            else f'<path d="M{edges[0][0]}L{edges[1][0]}" stroke="{colour}" stroke-width="2" opacity="0.4"/>'
        )
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>')
    parts += [_mark(mark, x, y, colour) for x, y in places]
    legend_y = TOP + 10 + 20 * number
    parts.append(_mark(mark, WIDTH - RIGHT + 20, legend_y, colour))
    parts.append(_text(WIDTH - RIGHT + 32, legend_y + 4, line.name, "start"))
    return parts


def _mark(mark: str, x: float, y: float, colour: str) -> str:
    if mark == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if mark == "diamond" else ""
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"{turn}/>'


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222" {more}>{escape(words)}</text>'
