"""Which pixels a label covers. Integers only, so that the browser, working from the same golden files, agrees.

Positions are in sixteenths of a pixel (`SUBPIXEL`). Between two points A and B of a stroke lie samples, at most half
a pixel apart. A pixel belongs to the stroke if its centre is within the radius of a sample, or if it contains one:
so a stroke of radius 0 is a thin line without gaps. Pixels outside the image are dropped.

Pixels are given as flat indices y * width + x, int64, sorted, each once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recolabel.contract.labels import SUBPIXEL, ClickEvent, FixedPoint, MaskEvent, StrokeEvent

Pixels = NDArray[np.int64]

SAMPLE_STEP = 8
"""Largest distance of two samples along one axis, in sixteenths of a pixel."""
CHUNK_SAMPLES = 65_536
BLOCK_SAMPLES = 128


def stroke_pixels(points: Sequence[FixedPoint], radius: int, *, height: int, width: int) -> Pixels:
    """Return the pixels under a stroke.

    Args:
        points: at least one, in sixteenths of a pixel.
        radius: >= 0, in sixteenths of a pixel.
    """
    corners = np.array([(point.x, point.y) for point in points], dtype=np.int64).reshape(-1, 2)
    reach = radius + SUBPIXEL
    upper_left = np.maximum((corners.min(axis=0) - reach) // SUBPIXEL, 0)
    lower_right = np.minimum((corners.max(axis=0) + reach) // SUBPIXEL, (width - 1, height - 1))
    if (lower_right < upper_left).any():
        return np.empty(0, dtype=np.int64)
    left, top = (int(value) for value in upper_left)
    right, bottom = (int(value) for value in lower_right)
    window = _Window(left=left, top=top, width=right - left + 1, height=bottom - top + 1)
    for samples in _sample_chunks(corners):
        window.cover(samples, radius)
    rows, columns = np.nonzero(window.covered())
    pixels: Pixels = (rows.astype(np.int64) + top) * width + columns + left
    return pixels


def stroke_work(points: Sequence[FixedPoint], radius: int, *, height: int) -> int:
    """Return how many runs of pixels the samples of a stroke have at most: what drawing it costs.

    Args:
        points: at least one, in sixteenths of a pixel.
        radius: >= 0, in sixteenths of a pixel.
        height: of the image, in pixels.
    """
    corners = np.array([(point.x, point.y) for point in points], dtype=np.int64).reshape(-1, 2)
    longest = np.abs(np.diff(corners, axis=0)).max(axis=1, initial=0)
    samples = len(corners) + int((-(-longest // SAMPLE_STEP)).sum())
    return samples * min(2 * (radius // SUBPIXEL) + 2, height)


def click_pixels(event: ClickEvent, *, height: int, width: int) -> Pixels:
    """Return the one pixel of a click, or none if it lies outside."""
    if event.pixel.x >= width or event.pixel.y >= height:
        return np.empty(0, dtype=np.int64)
    return np.array([event.pixel.y * width + event.pixel.x], dtype=np.int64)


def span_pixels(spans: Sequence[int], *, height: int, width: int) -> Pixels:
    """Return the pixels of flattened runs (y, x, length). What lies outside is dropped."""
    runs = np.asarray(spans, dtype=np.int64).reshape(-1, 3)
    y, x, length = runs[:, 0], runs[:, 1], runs[:, 2]
    begin = np.clip(x, 0, width)
    end = np.clip(x + length, 0, width)
    keep = (y >= 0) & (y < height) & (end > begin)
    begin, lengths = (y * width + begin)[keep], (end - begin)[keep]
    before = np.cumsum(lengths) - lengths
    pixels: Pixels = np.repeat(begin - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)
    return np.unique(pixels)


def label_pixels(event: ClickEvent | StrokeEvent | MaskEvent, *, height: int, width: int) -> list[tuple[str, Pixels]]:
    """Return what a label says: pairs of class (or void) and pixels. Where pairs overlap, the later one holds."""
    if isinstance(event, ClickEvent):
        return [(event.class_uid, click_pixels(event, height=height, width=width))]
    if isinstance(event, StrokeEvent):
        return [(event.class_uid, stroke_pixels(event.points, event.radius, height=height, width=width))]
    return [(part.class_uid, span_pixels(part.spans, height=height, width=width)) for part in event.classes]


class _Window:
    """The part of the image that a stroke can reach. Each sample's disc is one run of pixels per row."""

    def __init__(self, *, left: int, top: int, width: int, height: int) -> None:
        self._left, self._top, self._width, self._height = left, top, width, height
        # +1 where a run begins, -1 behind its end: the running sum along a row counts the runs over a pixel.
        self._steps = np.zeros(height * (width + 1), dtype=np.int32)

    def cover(self, samples: NDArray[np.int64], radius: int) -> None:
        """Add the discs around samples (N, 2), x before y, in the order of the stroke, and the pixels they lie in."""
        x, y = samples[:, 0], samples[:, 1]
        self._add(y // SUBPIXEL, x // SUBPIXEL, x // SUBPIXEL)
        for start in range(0, len(samples), BLOCK_SAMPLES):
            block = slice(start, start + BLOCK_SAMPLES)
            self._add(*_runs_of_discs(x[block], y[block], radius, self._top, self._top + self._height))

    def covered(self) -> NDArray[np.bool_]:
        """Return which pixels of the window are covered, (height, width)."""
        counts = self._steps.reshape(self._height, self._width + 1).cumsum(axis=1)
        covered: NDArray[np.bool_] = counts[:, :-1] > 0
        return covered

    def _add(self, y: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        y = y - self._top
        first = np.maximum(first - self._left, 0)
        last = np.minimum(last - self._left, self._width - 1)
        inside = (y >= 0) & (y < self._height) & (first <= last)
        row = y[inside] * (self._width + 1)
        np.add.at(self._steps, row + first[inside], 1)
        np.add.at(self._steps, row + last[inside] + 1, -1)


def _runs_of_discs(
    x: NDArray[np.int64], y: NDArray[np.int64], radius: int, top: int, bottom: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return row, first and last pixel of the runs that discs cover in the rows from `top` to before `bottom`.

    Neighbouring samples cover nearly the same, so their runs are joined here: without that, a wide stroke would
    have as many runs as samples times rows.
    """
    half = SUBPIXEL // 2
    rows = np.arange(
        max(top, (int(y.min()) - radius) // SUBPIXEL), min(bottom, (int(y.max()) + radius) // SUBPIXEL + 1)
    )
    rest = radius**2 - (SUBPIXEL * rows[:, None] + half - y[None, :]) ** 2
    # The float root of so small an integer is exact enough for its floor to be right.
    reach = np.sqrt(np.maximum(rest, 0)).astype(np.int64)
    first = (x - reach + half - 1) // SUBPIXEL
    last = (x + reach - half) // SUBPIXEL
    there = (rest >= 0) & (first <= last)
    joins = np.zeros_like(there)
    joins[:, 1:] = there[:, :-1] & (first[:, 1:] <= last[:, :-1] + 1) & (last[:, 1:] >= first[:, :-1] - 1)
    begins = np.flatnonzero(~joins[there])
    row = np.broadcast_to(rows[:, None], there.shape)[there]
    if not begins.size:
        return row, first[there], last[there]
    return row[begins], np.minimum.reduceat(first[there], begins), np.maximum.reduceat(last[there], begins)


def _sample_chunks(corners: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the samples of a polyline in order, (N, 2) each time."""
    waiting = [corners[:1]]
    count = 1
    for start, end in pairwise(corners):
        difference = end - start
        steps = max(1, -(-int(np.abs(difference).max()) // SAMPLE_STEP))
        waiting.append(start + difference * np.arange(steps + 1, dtype=np.int64)[:, None] // steps)
        count += steps + 1
        if count >= CHUNK_SAMPLES:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)
