"""The chart of a simulation."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from recolabel_worker.curve_svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, draw_chart

SVG = "{http://www.w3.org/2000/svg}"


def parsed(*lines: Line) -> ET.Element:
    return ET.fromstring(draw_chart(lines, title="a & b", x_title="clicks", y_title="mean IoU, %"))  # noqa: S314


def test_a_line_goes_up_where_its_values_do() -> None:
    drawing = parsed(Line("margin", [1, 2, 3], [10.0, 20.0, 40.0], [0, 0, 0]))

    marks = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in drawing.iter(f"{SVG}circle")][:3]
    assert [x for x, _ in marks] == sorted(x for x, _ in marks)
    assert [y for _, y in marks] == sorted((y for _, y in marks), reverse=True)
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in marks)


def test_the_spread_is_a_band_of_the_lines_colour() -> None:
    drawing = parsed(Line("margin", [1, 2], [10.0, 20.0], [1.0, 2.0]))

    [band] = [path for path in drawing.iter(f"{SVG}path") if path.get("opacity")]
    assert band.get("fill") == "#0072b2"


def test_names_are_text_whatever_they_hold() -> None:
    drawing = parsed(Line("<script>", [1], [0.0], [0.0]))

    words = [text.text for text in drawing.iter(f"{SVG}text")]
    assert "<script>" in words
    assert drawing.get("aria-label") == "a & b"


@pytest.mark.parametrize(
    ("x", "y", "spread"),
    [
        ([5], [30.0], [0.0]),  # one point, no spread
        ([5], [30.0], [2.0]),  # one point with a spread
        ([1, 2], [0.0, 0.0], [0.0, 0.0]),  # a flat line at zero
        ([1, 100], [0.001, 100.0], [0.0, 5.0]),  # a wide range
    ],
)
def test_every_number_of_a_drawing_is_finite(x: list[float], y: list[float], spread: list[float]) -> None:
    text = draw_chart([Line("random", x, y, spread)], title="t", x_title="x", y_title="y")

    assert "nan" not in text
    assert "inf" not in text
    ET.fromstring(text)  # noqa: S314
