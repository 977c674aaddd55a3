"""The pixels under a stroke, against hand-drawn cases that the browser's tests read as well."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recolabel.contract.labels import FixedPoint
from recolabel.labels.raster import span_pixels, stroke_pixels, stroke_work

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "golden" / "raster.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_stroke_covers_the_pixels_drawn_by_hand(case: dict[str, Any]) -> None:
    points = [FixedPoint(**point) for point in case["points"]]

    covered = stroke_pixels(points, case["radius"], height=case["height"], width=case["width"])

    assert [list(divmod(int(pixel), case["width"])) for pixel in covered] == case["pixels"]


positions = st.tuples(st.integers(-80, 240), st.integers(-80, 240))


@settings(max_examples=150, deadline=None)
@given(
    points=st.lists(positions, min_size=1, max_size=4),
    radius=st.integers(0, 80),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_a_stroke_covers_what_a_plain_loop_over_all_pixels_finds(
    points: list[tuple[int, int]], radius: int, height: int, width: int
) -> None:
    samples = [points[0]]
    for (ax, ay), (bx, by) in pairwise(points):
        n = max(1, -(-max(abs(bx - ax), abs(by - ay)) // 8))
        samples += [(ax + (bx - ax) * i // n, ay + (by - ay) * i // n) for i in range(n + 1)]
    expected = [
        y * width + x
        for y in range(height)
        for x in range(width)
        if any(
            (16 * x + 8 - sx) ** 2 + (16 * y + 8 - sy) ** 2 <= radius**2 or (sx // 16, sy // 16) == (x, y)
            for sx, sy in samples
        )
    ]

    covered = stroke_pixels([FixedPoint(x=x, y=y) for x, y in points], radius, height=height, width=width)

    assert covered.tolist() == expected


def test_a_long_wide_stroke_does_not_depend_on_how_it_is_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [FixedPoint(x=x, y=y) for x, y in ((0, 0), (1_500, 700), (300, 1_400), (1_500, 1_500))]
    whole = stroke_pixels(points, 90, height=100, width=100).tolist()

    monkeypatch.setattr("recolabel.labels.raster.CHUNK_SAMPLES", 7)
    monkeypatch.setattr("recolabel.labels.raster.BLOCK_SAMPLES", 3)

    assert stroke_pixels(points, 90, height=100, width=100).tolist() == whole


@pytest.mark.parametrize(
    ("points", "radius", "work", "remark"),
    [
        ([(0, 0)], 0, 2, "a dot: one sample, in the row that it lies in or at its border"),
        ([(0, 0), (160, 40)], 32, (2 + 20) * 6, "10 pixels of way at two samples a pixel"),
        ([(0, 0), (160, 40), (160, 0)], 4_096, (3 + 20 + 5) * 100, "a brush wider than the image is high"),
    ],
)
def test_what_a_stroke_costs_grows_with_its_way_and_its_width(
    points: list[tuple[int, int]], radius: int, work: int, remark: str
) -> None:
    assert stroke_work([FixedPoint(x=x, y=y) for x, y in points], radius, height=100) == work, remark


def test_runs_that_overlap_give_each_pixel_once() -> None:
    assert span_pixels([0, 1, 2, 0, 2, 2, 1, 0, 1], height=2, width=4).tolist() == [1, 2, 3, 4]
